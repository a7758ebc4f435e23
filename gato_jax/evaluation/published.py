"""Published results of other agents, which are shown beside the scores of an agent where tasks or domains coincide."""

from __future__ import annotations

import functools
import json
import pathlib
from collections.abc import Iterable
from typing import Any

_THIRD_PARTY = pathlib.Path(__file__).parents[2] / "third_party"
GATO_TABLE_8 = _THIRD_PARTY / "gato_paper" / "table_8.json"
JAT_RESULTS = _THIRD_PARTY / "jat" / "results.json"


def published_on_task(task: str) -> dict[str, Any]:
    """Return {agent: its published result} on a task `suite/task`, empty without any.

    A result has the `score`, the episode return of the agent, and `normalised`, a fraction of the scale of its own
    random play and expert, None where its expert does not beat random play.
    """
    entry = _jat().get(task)
    return {} if entry is None else {"jat": {"score": entry["score"], "normalised": entry["normalised"]}}


def published_on_domain(suite: str, tasks: Iterable[str]) -> dict[str, Any]:
    """Return {agent: its published mean normalised score} on the tasks of a suite, empty without any.

    Args:
      suite: name of the suite.
      tasks: names of the tasks over which the agent beside it is averaged. JAT's mean is over those of them that it
        played, and `tasks` is their number.

    Returns:
      `gato` with the `mean` over the paper's own tasks of the domain, which the paper does not list, and the `domain`
      of its Table 8; `jat` with `mean` and `tasks`. Means are fractions.
    """
    published: dict[str, Any] = {}
    if (row := _gato().get(suite)) is not None:
        published["gato"] = {"mean": row["percent"] / 100, "domain": row["domain"], "evidence": row["evidence"]}
    scores = [entry["normalised"] for task in tasks if (entry := _jat().get(task)) is not None]
    if known := [score for score in scores if score is not None]:
        published["jat"] = {"mean": sum(known) / len(known), "tasks": len(known)}
    return published


@functools.cache
def _gato() -> dict[str, Any]:
    return {row["suite"]: row for row in json.loads(GATO_TABLE_8.read_text()) if row["suite"] is not None}


@functools.cache
def _jat() -> dict[str, Any]:
    return json.loads(JAT_RESULTS.read_text())
