"""Processor time of the planners of DM Control: that of an episode, from the first plans of one.

    python -m benchmarks.planner
    python -m benchmarks.planner --tasks=dog/run,humanoid_CMU/run --steps=40

An expert plays the first steps of an episode on one thread. Times are of the processor, so that other programs on the
machine do not count. The time of an episode is that of these steps, extrapolated to all of them; that of the
construction is left out. A plan simulates samples x horizon x iterations actions, each for several simulator steps.
"""

from __future__ import annotations

import argparse
import pathlib
import time
from typing import Any

from benchmarks.record import write_result
from gato_jax.environments import REFERENCE_SEEDS, load
from gato_jax.experts.dm_control import PLANS, DMControlPlanner


def main():
    """Measure every task and write the results."""
    parser = argparse.ArgumentParser(description="Benchmark of the planners of DM Control.")
    parser.add_argument(
        "--tasks", default=",".join(PLANS), help="Tasks to measure without their suite, comma-separated."
    )
    parser.add_argument("--steps", type=int, default=20, help="Number of steps that are played of each task.")
    parser.add_argument("--output", type=pathlib.Path, help="File of results. Default: results/planner.json.")
    given = parser.parse_args()
    tasks = {task: measure_task(task, given.steps) for task in given.tasks.split(",")}
    write_result(
        "planner", {"steps": given.steps, "tasks": tasks}, ["mujoco", "dm-control", "numpy"], path=given.output
    )


def measure_task(task: str, steps: int) -> dict[str, Any]:
    """Return the size of a task's plans and the processor time of an episode in seconds, from its first `steps`."""
    environment: Any = load(f"dm_control/{task}")
    environment.seed(REFERENCE_SEEDS[0])
    timestep = environment.reset()
    planner = DMControlPlanner(task, threads=1)
    planner.reset(environment.unwrapped, REFERENCE_SEEDS[0])
    plan = planner.plan
    begun = time.process_time()
    for _ in range(steps):
        timestep = environment.step(planner.act(environment.unwrapped, timestep))
    seconds = time.process_time() - begun
    length = plan.hold * plan.replan_every  # steps of the task that a plan lasts
    whole = -(-steps // length) * length  # those that the plans so far would last
    environment.close()
    return {
        "samples": plan.budget.samples,
        "horizon": plan.budget.horizon,
        "iterations": plan.budget.iterations,
        "simulator_steps_of_a_plan": plan.budget.samples
        * plan.budget.horizon
        * plan.budget.iterations
        * (planner.control_substeps(environment.unwrapped) * plan.hold // plan.coarsening),
        "plans_of_an_episode": -(-environment.max_steps // length),
        "cpu_seconds_of_an_episode": float(f"{seconds / whole * environment.max_steps:.3g}"),
    }


if __name__ == "__main__":
    main()
