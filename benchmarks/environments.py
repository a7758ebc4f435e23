"""Benchmark of the environments beside the packages that they wrap, and of the renderers.

    python -m benchmarks.environments
    python -m benchmarks.environments --tasks=atari/gopher --seconds=2
    python -m benchmarks.environments --tasks= --output=benchmarks/results/renderers.json

One task of each suite is played with the same random actions through `gato_jax.environments` and through the package
itself, in short rounds that take turns, in a process of its own. A step of the package includes what a user of it needs
for the same observation: the frame skip and resizing of Gymnasium's preprocessing for Atari, the frames of dm_control's
own wrapper for pixels. A new episode counts for both. Every renderer draws the frames of a few scenes at 64x64 pixels.

Times are the process's own CPU time, so that other programs on the machine do not count. `ratio` is the median over the
rounds of our time and the package's; 1.1 is 10% slower.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.environments_raw import CASES
from benchmarks.record import write_result

SCENES = (
    "dm_control_pixels/cartpole/swingup",
    "dm_control_pixels/cheetah/run",
    "dm_control_pixels/humanoid/walk",
    "meta_world_pixels/door-open-v3",
)
_ACTIONS = 256  # drawn before the rounds, and repeated


def main():
    """Measure every case and renderer in a process of its own and write the results."""
    parser = argparse.ArgumentParser(description="Benchmark of the environments.")
    parser.add_argument("--tasks", default=",".join(CASES), help="Tasks to measure, comma-separated; may be empty.")
    parser.add_argument("--seconds", type=float, default=0.5, help="Time of each round of a task.")
    parser.add_argument("--rounds", type=int, default=9, help="Number of rounds of each task.")
    parser.add_argument("--tiny", action="store_true", help="Measure a few steps, to see that everything runs.")
    parser.add_argument("--output", type=pathlib.Path, help="File of results. Default: results/environments.json.")
    parser.add_argument("--worker", help="Task or renderer to measure in this process; used by the script itself.")
    given = parser.parse_args()
    if given.tiny:
        given.seconds, given.rounds = 0.02, 1
    if given.worker:
        kind, _, name = given.worker.partition("=")
        print(json.dumps(_WORKERS[kind](name, given.seconds, given.rounds)))
        return
    chosen = [task for task in given.tasks.split(",") if task]
    if unknown := sorted(set(chosen) - set(CASES)):
        parser.error(f"--tasks: no case of {', '.join(unknown)}, expected one of {', '.join(CASES)}")
    tasks = {task: _measure("task", task, given) for task in chosen}
    renderers = {name: _measure("renderer", name, given) for name in _renderers()}
    packages = ["ale-py", "dm-control", "gymnasium", "gymnasium-robotics", "metaworld", "minigrid", "mujoco", "numpy"]
    write_result("environments", {"tasks": tasks, "renderers": renderers}, packages, path=given.output)


def measure_task(task: str, seconds: float, rounds: int) -> dict[str, Any]:
    """Return steps per second of a task, of its package, and the ratio of their times, in this process."""
    from gato_jax.environments import load
    from gato_jax.rollouts import random_action

    case, environment = CASES[task], load(task)
    generator = np.random.default_rng(0)
    actions = [random_action(environment.task_spec, generator) for _ in range(_ACTIONS)]
    environment.reset()
    ours = _stepper(actions, lambda action: environment.step(action).last(), environment.reset)
    result: dict[str, Any] = {"note": case.note} if case.note else {}
    if case.make is None:
        steps, times = _rounds([ours], seconds, rounds)
    else:
        raw = case.make()
        raw.reset()
        plain = [np.array(next(iter(action.values()))) for action in actions]
        steps, times = _rounds([ours, _stepper(plain, raw.step, raw.reset)], seconds, rounds)
        result["package_steps_per_second"] = round(steps / statistics.median(times[1]), 1)
        result["ratio"] = round(statistics.median(a / b for a, b in zip(*times, strict=True)), 3)
    return {"steps_per_second": round(steps / statistics.median(times[0]), 1), **result, "steps_of_a_round": steps}


def measure_renderer(name: str, seconds: float, rounds: int) -> dict[str, Any]:
    """Return frames per second of a renderer in each scene, in this process."""
    from gato_jax.environments import load
    from gato_jax.environments.rendering import describe_renderer, set_renderer

    set_renderer(name)
    result: dict[str, Any] = {"renderer": describe_renderer()}
    for scene in SCENES:
        environment: Any = load(scene)
        environment.reset()

        def draw(frames: int, observe: Callable[[Any], Any] = environment._observe):
            for _ in range(frames):
                observe(None)  # it draws the scene, whatever the state

        frames, [times] = _rounds([draw], seconds, rounds)
        result[scene] = round(frames / statistics.median(times), 1)
        environment.close()
    return result


_WORKERS = {"task": measure_task, "renderer": measure_renderer}


def _stepper(actions: list[Any], step: Callable[[Any], bool], reset: Callable[[], Any]) -> Callable[[int], None]:
    """Return a function that takes a number of steps and starts a new episode after each that ends."""
    taken = 0

    def run(steps: int):
        nonlocal taken
        for _ in range(steps):
            if step(actions[taken % len(actions)]):
                reset()
            taken += 1

    return run


def _rounds(runs: list[Callable[[int], None]], seconds: float, rounds: int) -> tuple[int, list[list[float]]]:
    """Return the number of steps of a round, and the times of the rounds of each function, which take turns."""
    steps = 1
    while (spent := _timed(runs[0], steps)) < seconds / 4:
        steps *= 2
    steps = max(1, round(steps * seconds / max(spent, 1e-6)))
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds + 1):
        for run, measured in zip(runs, times, strict=True):
            measured.append(_timed(run, steps))
    return steps, [measured[1:] for measured in times]  # the first round warms up


def _timed(run: Callable[[int], None], steps: int) -> float:
    start = time.process_time()
    run(steps)
    return time.process_time() - start


def _renderers() -> list[str]:
    from gato_jax.environments.rendering import RENDERERS
    from gato_jax.environments.rendering.choice import works

    return [name for name in RENDERERS if works(name)]


def _measure(kind: str, name: str, given) -> dict[str, Any]:
    words = [f"--worker={kind}={name}", f"--seconds={given.seconds}", f"--rounds={given.rounds}"]
    command = [sys.executable, "-m", "benchmarks.environments", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if kind == "task":
        environment["MUJOCO_GL"] = "egl"  # of the packages
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{kind} {name} could not be measured: {done.stderr[-2000:]}")
    print(name, done.stdout.strip().split("\n")[-1], flush=True)
    return json.loads(done.stdout.strip().split("\n")[-1])


if __name__ == "__main__":
    main()
