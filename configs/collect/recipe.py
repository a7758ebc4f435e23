"""Recipes of `gato collect` for the domains of the paper's Table 1, and the hours that they take.

    python -m configs.collect.recipe

prints the hours of every recipe on two cores and on 64. They follow from the processor time of an expert's episode in
the committed table of reference scores; docs/experts.md shows the same table.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import NamedTuple

from ml_collections import ConfigDict

from gato_jax.environments import paper, spelled_task
from gato_jax.evaluation import References, read_table
from gato_jax.evaluation.reference_table import look_up
from gato_jax.experts import expert_names

PAPER_EPISODES = {
    "dm_lab": 16_400_000, "ale_atari": 63_400, "ale_atari_extended": 28_400, "sokoban": 27_200, "babyai": 4_610_000,
    "dm_control": 395_000, "dm_control_pixels": 485_000, "dm_control_random_small": 10_600_000,
    "dm_control_random_large": 26_100_000, "meta_world": 94_600, "procgen": 1_600_000,
    "rgb_stacking_simulator": 387_000, "modular_rl": 843_000, "manipulation_playground": 286_000,
}  # fmt: skip
"""{domain with a recipe: number of episodes of the paper (Table 1)}; the file of a recipe is named after its domain."""

CORES = 2, 64


def recipe(domain: str, *, episodes: int, **settings: object) -> ConfigDict:
    """Return the config of a recipe: the section `recording` for `gato collect`.

    Its tasks are those of the domain, or the registered ones that stand for them, that an expert plays. Tasks that the
    paper holds out are left out in any spelling.

    Args:
      domain: key of the domain in `paper.DOMAINS`.
      episodes: number of episodes to play of each task.
      **settings: further flags of `gato collect`, such as `successes_only`.
    """
    row, played = paper.DOMAINS[domain], set(expert_names())
    names = (row.substitutes.get(task, task) for task in row.tasks)
    tasks = tuple(name for name in names if name in played and not spelled_task(name, paper.HELD_OUT))
    return ConfigDict({"recording": {"tasks": tasks, "episodes": episodes, **settings}})


class Hours(NamedTuple):
    """Time that a recipe takes.

    Attributes:
      domain: key of the domain.
      tasks: number of tasks of the paper.
      timed: number of the recipe's tasks whose expert has a time in the table; the hours are of them alone.
      episodes: number of episodes of each task.
      on_cores: {number of cores: hours}.
      of_paper: hours on 64 cores for as many episodes as the paper's, in equal parts of all timed tasks.
    """

    domain: str
    tasks: int
    timed: int
    episodes: int
    on_cores: Mapping[int, float]
    of_paper: float


def hours(domain: str, table: Mapping[str, References]) -> Hours:
    """Return the hours that the recipe of a domain takes, by a table of reference scores.

    On n cores, n episodes are played side by side, so that the hours are processor time divided by n. A variant whose
    scores are those of another suite has the time of that one, without that of its images. A time of episodes that were
    cut off does not count.
    """
    config = importlib.import_module(f"configs.collect.{domain}").get_config().recording
    entries = [look_up(table, task) for task in config.tasks]
    seconds = [
        entry.expert_time.cpu_seconds for entry in entries if entry and entry.expert_time and not entry.expert_cut
    ]
    total = sum(seconds) * config.episodes / 3600
    mean = sum(seconds) / max(len(seconds), 1)
    return Hours(
        domain=domain,
        tasks=len(paper.DOMAINS[domain].tasks),
        timed=len(seconds),
        episodes=config.episodes,
        on_cores={cores: total / cores for cores in CORES},
        of_paper=PAPER_EPISODES[domain] * mean / 3600 / max(CORES),
    )


def hours_table() -> list[str]:
    """Return the lines of a Markdown table of the hours of all recipes, by the committed table of reference scores."""
    table = read_table()
    columns = (
        "recipe", "tasks", "timed", "episodes a task", *(f"hours on {cores} cores" for cores in CORES),
        f"hours for the paper's episodes on {max(CORES)} cores",
    )  # fmt: skip
    lines = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    for domain in PAPER_EPISODES:
        row = hours(domain, table)
        cells = [_hours(value, row.timed) for value in (*row.on_cores.values(), row.of_paper)]
        lines.append(f"| `{domain}` | {row.tasks} | {row.timed} | {row.episodes:,} | {' | '.join(cells)} |")
    return lines


def _hours(value: float, timed: int) -> str:
    if not timed:
        return "-"
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}"


if __name__ == "__main__":
    print("\n".join(hours_table()))
