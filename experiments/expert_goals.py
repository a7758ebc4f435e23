"""Counts of the tasks whose expert reaches a goal, from the committed table of reference scores.

    python -m experiments.expert_goals

prints the two tables at the top of docs/experts.md. A score counts if the task's present expert has reached it: the
table of scores may still hold that of an earlier one.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from experiments.reference_scores import PUBLISHED
from gato_jax.environments import paper, suites
from gato_jax.environments.suites import dm_control
from gato_jax.evaluation import References, Score, read_table
from gato_jax.experts import description, expert_names

RANGES = pathlib.Path(__file__).parents[1] / "third_party" / "procgen" / "score_ranges.json"
_MANIPULATION_LIMIT = 250.0  # return of an episode of 250 steps with the highest reward, 1, in each


class Goal(NamedTuple):
    """A goal for the experts of some tasks.

    Attributes:
      title: Title of the tasks.
      tasks: Names of the tasks.
      text: The condition on the score of a task.
      is_reached: Function that returns True if an entry and its expert's score meet the condition.
    """

    title: str
    tasks: tuple[str, ...]
    text: str
    is_reached: Callable[[References, Score], bool]


def goals() -> list[Goal]:
    """Return all goals, in the order of the table."""
    human = tuple(f"atari/{game}" for game in json.loads(PUBLISHED.read_text()))
    benchmarks = tuple(f"dm_control/{task}" for task in dm_control.BENCHMARKING)
    levels = tuple(task for task in _tasks_of("miniworld") if task != "miniworld/CollectHealth-v0")
    manipulation = paper.DOMAINS["manipulation_playground"].tasks
    return [
        Goal("Atari, games with a human score", human, "the human score", _share_of_human(1.0)),
        Goal("Atari, games with a human score", human, "half of the human score", _share_of_human(0.5)),
        Goal("BabyAI, levels of the paper", paper.DOMAINS["babyai"].tasks, "success in 95%", _success(0.95)),
        Goal("DM Control, tasks for benchmarks", benchmarks, "return of 800", _return(800.0)),
        Goal("DM Control, tasks for benchmarks", benchmarks, "return of 500", _return(500.0)),
        Goal("Fetch", _tasks_of("fetch_state"), "success in 95%", _success(0.95)),
        Goal("Manipulation", manipulation, "half of the highest return", _return(_MANIPULATION_LIMIT / 2)),
        Goal("Meta-World", _tasks_of("meta_world"), "success in 90%", _success(0.9)),
        Goal("MiniWorld, levels with an end", levels, "success in 95%", _success(0.95)),
        Goal("Modular RL", _tasks_of("modular_rl"), "5 times as far as the best constant action", _times_as_far(5.0)),
        Goal("Modular RL", _tasks_of("modular_rl"), "10 times as far", _times_as_far(10.0)),
        Goal("Procgen", _tasks_of("procgen"), "half of the range of scores", _is_in_upper_half),
        Goal("PushT", _tasks_of("pusht"), "success in 80%", _success(0.8)),
        Goal("RGB stacking", paper.DOMAINS["rgb_stacking_simulator"].tasks, "success in 80%", _success(0.8)),
        Goal("Sokoban", _tasks_of("sokoban"), "success in 100%", _success(1.0)),
    ]


def goals_table(table: Mapping[str, References]) -> list[str]:
    """Return the lines of a Markdown table of the goals, by a table of reference scores."""
    lines = ["| tasks | goal | reached by | of measured | of all |", "| --- | --- | --- | --- | --- |"]
    for goal in goals():
        measured = measured_experts(table, goal.tasks)
        reached = sum(goal.is_reached(entry, score) for entry, score in measured)
        lines.append(f"| {goal.title} | {goal.text} | {reached} | {len(measured)} | {len(goal.tasks)} |")
    return lines


def suites_table(table: Mapping[str, References]) -> list[str]:
    """Return the lines of a Markdown table of the suites, by a table of reference scores."""
    columns = (
        "suite",
        "tasks",
        "random play",
        "experts",
        "measured",
        "mean success",
        "lowest",
        "CPU seconds an episode",
    )
    lines = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    experts = set(expert_names())
    for name, suite in sorted(suites().items()):
        tasks = [f"{name}/{task}" for task in suite.tasks]
        if not tasks or suite.scores_of is not None:
            continue
        measured = measured_experts(table, tasks)
        shares = [share for entry, score in measured if (share := success_share(entry, score)) is not None]
        times = [entry.expert_time.cpu_seconds for entry, _ in measured if entry.expert_time and not entry.expert_cut]
        numbers = len(tasks), sum(task in table for task in tasks), len(experts.intersection(tasks)), len(measured)
        success = (f"{np.mean(shares):.1%}", f"{min(shares):.0%}") if shares else ("-", "-")
        cells = (f"`{name}`", *map(str, numbers), *success, f"{np.mean(times):.2g}" if times else "-")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def measured_experts(table: Mapping[str, References], tasks: Iterable[str]) -> list[tuple[References, Score]]:
    """Return the entries of the tasks that have a score of their present expert, each with this score."""
    experts = set(expert_names())
    entries = [table[task] for task in tasks if task in table and task in experts]
    return [
        (entry, entry.expert) for entry in entries if entry.expert and entry.expert_agent == description(entry.task)
    ]


def success_share(entry: References, score: Score) -> float | None:
    """Return the share of successful episodes of a score of an entry; None if it was not measured."""
    return score.mean if entry.metric == "success" else score.measures.get("success")


def _tasks_of(suite: str) -> tuple[str, ...]:
    return tuple(f"{suite}/{task}" for task in suites()[suite].tasks)


def _return(least: float) -> Callable[[References, Score], bool]:
    return lambda _, score: score.mean >= least


def _success(least: float) -> Callable[[References, Score], bool]:
    return lambda entry, score: (success_share(entry, score) or 0.0) >= least


def _share_of_human(least: float) -> Callable[[References, Score], bool]:
    """Return the condition on a score to be a share of the way from random play to the human score.

    Scores of some games are negative, so that a share of the human score itself has no meaning there.
    """

    def is_reached(entry: References, score: Score) -> bool:
        if entry.human is None or entry.published_random is None:
            return False
        return score.mean >= entry.published_random + least * (entry.human - entry.published_random)

    return is_reached


def _times_as_far(times: float) -> Callable[[References, Score], bool]:
    """Return the condition on the mean distance of a score: a multiple of that of the best constant action.

    A body that the constant action moves backwards must move forwards.
    """

    def is_reached(entry: References, score: Score) -> bool:
        constant, distance = entry.constant.measures.get("distance"), score.measures.get("distance")
        return constant is not None and distance is not None and distance > 0 and distance >= times * constant

    return is_reached


def _is_in_upper_half(entry: References, score: Score) -> bool:
    """Return True if a score of a game of Procgen is in the upper half of the published range of its mode."""
    game = entry.task.partition("/")[2]
    ends = json.loads(RANGES.read_text())[game]["easy" if game in ("heist", "maze") else "hard"]
    return score.mean >= (ends["min"] + ends["max"]) / 2


if __name__ == "__main__":
    print("\n".join([*suites_table(read_table()), "", *goals_table(read_table())]))
