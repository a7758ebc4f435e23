"""The list of tasks that `gato tasks` prints: status, expert and reference scores of each task."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gato_jax.environments import package_versions, status
from gato_jax.environments.suite import Suite
from gato_jax.evaluation.reference_table import look_up, read_table
from gato_jax.evaluation.references import References
from gato_jax.experts import description, expert_names

_HEADINGS = ("task", "status", "random", "constant", "expert", "human", "description of the expert")


def describe_tasks(names: Iterable[str]) -> list[dict[str, Any]]:
    """Return one dict for JSON for each task `suite/task`, in the order of the names.

    The keys are `name`, `suite`, `status` and `reason` (see `environments.status`), `expert` (its description or None),
    `random_score`, `constant_score`, `constant_action`, `expert_score`, `human_score`, and the two below.
    Mean scores are those of the committed table, None where it has none. `score_source` is the packages that they were
    measured with, the episodes of random play, and the command, e.g. `minigrid 3.1.0; 20 episodes from seed 2000000;
    gato evaluate ...`; where the scores are those of a task of another suite, it begins with that task.
    `installed_version` is whether exactly these packages are installed, None without scores.
    TaskSpecs are not compared, since that would load every task; `gato evaluate` compares them.

    Raises:
      UnknownTaskError: no task has one of the names.
    """
    table, experts = read_table(), set(expert_names())
    rows = []
    for name in names:
        state, reason = status(name)
        entry = look_up(table, name)
        rows.append(
            {
                "name": name,
                "suite": name.split("/")[0],
                "status": state,
                "reason": reason,
                "expert": description(name) if name in experts else None,
                "random_score": entry.random.mean if entry else None,
                "constant_score": entry.constant.mean if entry else None,
                "constant_action": entry.constant_action if entry else None,
                "expert_score": entry.expert.mean if entry and entry.expert else None,
                "human_score": entry.human if entry else None,
                "score_source": _source(entry) if entry else None,
                "installed_version": _is_installed(entry) if entry else None,
            }
        )
    return rows


def format_tasks(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the lines of a table of the rows of `describe_tasks`: a heading, one line for each task, and footnotes.

    Scores have three significant digits, or no decimals from 1000 on, and are `-` where there is none. Those of
    packages that are not the installed ones end with a star.
    """
    lines: list[tuple[str, ...]] = [_HEADINGS]
    for row in rows:
        star = "*" if row["installed_version"] is False else ""
        scores = [row[f"{kind}_score"] for kind in ("random", "constant", "expert", "human")]
        cells = ["-" if score is None else f"{_number(score)}{star}" for score in scores]
        lines.append((row["name"], row["status"], *cells, row["expert"] or "-"))
    text = [
        f"{task:<44} {state:<12}{''.join(f'{cell:>10}' for cell in cells)}  {expert}"
        for task, state, *cells, expert in lines
    ]
    if any(row["installed_version"] is False for row in rows):
        text.append("* measured with other packages than the installed ones: `gato evaluate` does not use these scores")
    if any(row["human_score"] is not None for row in rows):
        text.append("human: published scores of a tester, of episodes of up to 30 minutes without sticky actions")
    return text


def further_tasks(suites: Iterable[Suite]) -> list[str]:
    """Return a line for each suite that has tasks beside the listed ones, which says how they are named."""
    return [f"further tasks: {suite.further.description}" for suite in suites if suite.further]


def _number(score: float) -> str:
    return f"{score:.0f}" if abs(score) >= 1000 else f"{score:.3g}"


def _source(entry: References) -> str:
    episodes = f"{entry.random.episodes} episodes from seed {entry.first_seed}"
    measured_on = [entry.scores_of] if entry.scores_of else []
    return "; ".join([*measured_on, ", ".join(entry.packages), episodes, entry.command])


def _is_installed(entry: References) -> bool:
    try:
        return tuple(package_versions(entry.scores_of or entry.task)) == entry.packages
    except importlib.metadata.PackageNotFoundError:
        return False
