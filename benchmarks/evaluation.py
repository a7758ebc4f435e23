"""Episodes an hour of an evaluation of several tasks: one by one, side by side in one process, and in groups.

    python -m benchmarks.evaluation --tasks=babyai/GoToLocal-v0,dm_control/cheetah/run,meta_world/reach-v3,pusht/push
    python -m benchmarks.evaluation --workdir=runs/mine

Without --workdir, random play takes no time to act, so that the environments dominate; with it, the agent of the run
plays its tasks, and the network dominates. Time is counted from the first step, without the start of processes and
the first compilation of each way. The three ways play the same episodes.
"""

from __future__ import annotations

import argparse
import functools
import os
import pathlib
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any

from benchmarks.record import write_result
from gato_jax.environments import EVALUATION_SEEDS, load
from gato_jax.episodes import Episode
from gato_jax.evaluation.agent_results import playable_tasks
from gato_jax.policy import Agent, AgentActor
from gato_jax.rollouts import Actor, RandomActor
from gato_jax.rollouts.groups import play_in_groups
from gato_jax.rollouts.job_queue import Job
from gato_jax.rollouts.loop import Result, play_side_by_side

NAME = "evaluation"


def main():
    """Measure the ways of playing and write the results."""
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description="Benchmark of evaluations of several tasks.")
    parser.add_argument("--tasks", default="", help="Names of the tasks, comma-separated. Default: all of the agent.")
    parser.add_argument("--workdir", type=pathlib.Path, help="Run whose agent plays. Default: random play.")
    parser.add_argument("--episodes", type=int, default=8, help="Number of episodes of each task.")
    parser.add_argument("--environments", type=int, default=16, help="Number of episodes that are played at once.")
    parser.add_argument("--workers", type=int, default=cores, help="Number of processes of the groups.")
    parser.add_argument("--output", type=pathlib.Path, help="File of results. Default: results/evaluation.json.")
    given = parser.parse_args()
    tasks = [task for task in given.tasks.split(",") if task]
    make_actor: Callable[[], Actor] = RandomActor
    if given.workdir is not None:
        agent = Agent.restore(given.workdir)
        tasks, make_actor = playable_tasks(agent, tasks), functools.partial(AgentActor, agent)
    if not tasks:
        parser.error("--tasks is empty, expected names of tasks where random play acts. Name some.")
    count = min(given.environments, len(tasks) * given.episodes)
    ways: dict[str, Callable[..., Generator[tuple[Job, Result], None, None]]] = {
        "one_by_one": lambda jobs, on_step: play_side_by_side(make_actor, jobs, 1, load, on_step),
        "side_by_side": lambda jobs, on_step: play_side_by_side(make_actor, jobs, count, load, on_step),
        "groups": lambda jobs, on_step: play_in_groups(
            make_actor, jobs, environments=count, workers=given.workers, load=load, on_step=on_step
        ),
    }
    measured = {name: measure(way, tasks, given.episodes) for name, way in ways.items()}
    settings = {
        "tasks": tasks,
        "actor": make_actor().describe(tasks[0]),
        "cores": cores,
        "environments": count,
        "workers": given.workers,
    }
    write_result(NAME, {"settings": settings, "ways": measured}, ["jax", "numpy"], path=given.output)


def measure(
    way: Callable[..., Generator[tuple[Job, Result], None, None]], tasks: Sequence[str], episodes: int
) -> dict[str, Any]:
    """Return the speed of one way of playing, and the sum of the scores, which is the same for all ways."""
    starts = [(task, seed) for task in tasks for seed in EVALUATION_SEEDS[:episodes]]
    jobs = (Job(position, task, seed, False) for position, (task, seed) in enumerate(starts))
    begun: list[float] = []

    def on_step():
        if not begun:
            begun.append(time.perf_counter())

    played = []
    for job, result in way(jobs, on_step):
        if not isinstance(result, Episode):
            raise RuntimeError(f"{job.task}, seed {job.seed}: {result}, expected an episode")
        played.append(result)
    seconds, steps = time.perf_counter() - begun[0], sum(episode.acting_steps for episode in played)
    return {
        "episodes": len(played),
        "seconds": round(seconds, 2),
        "steps_per_second": round(steps / seconds, 1),
        "episodes_per_hour": round(len(played) / seconds * 3600, 1),
        "score": float(f"{sum(episode.score or 0.0 for episode in sorted(played, key=_order)):.6g}"),
    }


def _order(episode: Episode) -> tuple[str, int]:
    return episode.task, episode.seed or 0


if __name__ == "__main__":
    main()
