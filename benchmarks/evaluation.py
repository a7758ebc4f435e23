"""Episodes an hour of an evaluation of several tasks: one by one, side by side in one process, and in groups.

    python -m benchmarks.evaluation                         # random play, where the environments dominate
    python -m benchmarks.evaluation --workdir=runs/mine     # beside it, the agent of a run, whose network dominates

The three ways play the same episodes in turn, in each of several rounds, so that ratios hold on a machine that others
use too. Time is counted from the moment when all environments of the first episodes are loaded, without the start of
processes and the compilation.
"""

from __future__ import annotations

import argparse
import functools
import os
import pathlib
import statistics
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, NamedTuple

from benchmarks.record import write_result
from gato_jax.environments import EVALUATION_SEEDS, load
from gato_jax.episodes import Episode
from gato_jax.evaluation.agent_results import playable_tasks
from gato_jax.policy import Agent, AgentActor
from gato_jax.rollouts import Actor, RandomActor
from gato_jax.rollouts.groups import play_in_groups
from gato_jax.rollouts.job_queue import BucketOf, Job
from gato_jax.rollouts.loop import Result, play_side_by_side

NAME = "evaluation"
TASKS = "fetch_state/reach,kitchen/kettle,manipulation/stack_2_bricks_features,meta_world/push-v3"
GROUPS = 2

Way = Callable[[Iterator[Job], Callable[[], None]], Generator[tuple[Job, Result], None, None]]


class Case(NamedTuple):
    """An actor with the tasks that it plays, and the number of episodes of each."""

    make_actor: Callable[[], Actor]
    tasks: list[str]
    episodes: int
    bucket_of: BucketOf = lambda _: None


def main():
    """Measure the ways of playing and write the results."""
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description="Benchmark of evaluations of several tasks.")
    parser.add_argument("--tasks", default=TASKS, help="Names of the tasks of random play, comma-separated.")
    parser.add_argument("--workdir", type=pathlib.Path, help="Run whose agent plays, too. Default: random play alone.")
    parser.add_argument("--agent_tasks", default="", help="Names of the agent's tasks. Default: all that it can play.")
    parser.add_argument("--episodes", type=int, default=8, help="Number of episodes of each task.")
    parser.add_argument("--environments", type=int, default=16, help="Number of episodes that are played at once.")
    parser.add_argument("--workers", type=int, default=cores, help="Number of processes of the groups.")
    parser.add_argument("--rounds", type=int, default=3, help="Number of times to play each way.")
    parser.add_argument("--output", type=pathlib.Path, help="File of results. Default: results/evaluation.json.")
    given = parser.parse_args()
    cases = {"environments": Case(RandomActor, given.tasks.split(","), given.episodes)}
    if given.workdir is not None:
        agent = Agent.restore(given.workdir)
        tasks = playable_tasks(agent, [task for task in given.agent_tasks.split(",") if task])
        cases["policy"] = Case(functools.partial(AgentActor, agent), tasks, given.episodes, agent.bucket)
    measured: dict[str, Any] = {}
    for name, case in cases.items():
        environments = min(given.environments, len(case.tasks) * case.episodes)
        ways = make_ways(case, environments, given.workers)
        for rows in {1, environments, -(-environments // GROUPS)}:
            warm_up(case, rows)
        rounds = [
            {way: measure(play, case, GROUPS if way == "groups" else 1) for way, play in ways.items()}
            for _ in range(given.rounds)
        ]
        settings = {
            "tasks": case.tasks,
            "actor": case.make_actor().describe(case.tasks[0]),
            "cores": cores,
            "environments": environments,
            "workers": given.workers,
            "groups": GROUPS,
        }
        measured[name] = {"settings": settings, **summarise(rounds), "rounds": rounds}
        print(name, measured[name]["ratios"], flush=True)
        write_result(NAME, {"cases": measured}, ["jax", "numpy"], path=given.output)


def make_ways(case: Case, environments: int, workers: int) -> dict[str, Way]:
    """Return the ways to play the episodes of a case, by their names."""
    make_actor, bucket_of = case.make_actor, case.bucket_of
    return {
        "one_by_one": lambda jobs, on_step: play_side_by_side(make_actor, jobs, 1, load, on_step),
        "side_by_side": lambda jobs, on_step: play_side_by_side(
            make_actor, jobs, environments, load, on_step, bucket_of=bucket_of
        ),
        "groups": lambda jobs, on_step: play_in_groups(
            make_actor, jobs, environments=environments, workers=workers, load=load, groups=GROUPS, on_step=on_step,
            bucket_of=bucket_of,
        ),
    }  # fmt: skip


def warm_up(case: Case, rows: int):
    """Compile the programs of an actor that plays `rows` episodes side by side, for each task."""
    actor = case.make_actor()
    for task in case.tasks:
        environment = load(task)
        environment.seed(0)
        timestep = environment.reset()
        actor.reset([environment] * rows, [0] * rows)
        actor.act([timestep] * rows)
        environment.close()


def measure(way: Way, case: Case, calls: int) -> dict[str, Any]:
    """Return the speed of one way of playing, and the sum of the scores, which is the same for all ways.

    Time is counted from call number `calls` of an actor: when the second of two groups can act, or the first one a
    second time, the processes have loaded all environments.
    """
    starts = [(task, seed) for task in case.tasks for seed in EVALUATION_SEEDS[: case.episodes]]
    jobs = (Job(position, task, seed, False) for position, (task, seed) in enumerate(starts))
    times: list[float] = []

    def on_step():
        if len(times) < calls:
            times.append(time.perf_counter())

    played = []
    for job, result in way(jobs, on_step):
        if not isinstance(result, Episode):
            raise RuntimeError(f"{job.task}, seed {job.seed}: {result}, expected an episode")
        played.append(result)
    seconds, steps = time.perf_counter() - times[-1], sum(episode.acting_steps for episode in played)
    return {
        "episodes": len(played),
        "seconds": round(seconds, 2),
        "steps_per_second": round(steps / seconds, 1),
        "episodes_per_hour": round(len(played) / seconds * 3600, 1),
        "score": float(f"{sum(episode.score or 0.0 for episode in sorted(played, key=_order)):.6g}"),
    }


def summarise(rounds: Sequence[dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """Return the median speed of each way, and the median over rounds of its ratio to that of one by one."""
    speeds = {way: [one[way]["episodes_per_hour"] for one in rounds] for way in rounds[0]}
    ratios = {way: [a / b for a, b in zip(listed, speeds["one_by_one"], strict=True)] for way, listed in speeds.items()}
    return {
        "episodes_per_hour": {way: statistics.median(listed) for way, listed in speeds.items()},
        "ratios": {way: round(statistics.median(listed), 2) for way, listed in ratios.items()},
    }


def _order(episode: Episode) -> tuple[str, int]:
    return episode.task, episode.seed or 0


if __name__ == "__main__":
    main()
