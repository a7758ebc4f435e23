"""Lines of text that show the scores of results.json: one task as it is finished, and the domains at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_HEADINGS = ("domain", "tasks", "episodes", "mean [95%]", "IQM [95%]", "tasks at 50%", "noise", "1-NN", "Gato", "JAT")
_SHOWN_THRESHOLDS = (0.25, 0.5, 0.75, 1.0)
_NAMED = 5


def describe_task(result: Mapping[str, Any]) -> str:
    """Return the score in one task's entry, e.g. `0.873, 91% of expert [84%, 97%]; 50 episodes, noise floor 4%`.

    Published results of other agents on the task follow. Without a scale it is e.g. `0.873 (no expert); 50 episodes`.
    """
    if result["normalised"] is None:
        score = f"{result['agent']:.3g} ({result['unscaled']}); {result['episodes']} episodes"
    else:
        score = (
            f"{result['agent']:.3g}, {_percent(result['normalised'])} of expert {_interval(result['normalised_ci'])}; "
            f"{result['episodes']} episodes, noise floor {_percent(result['noise_floor'])}"
        )
    if result["human_normalised"] is not None:
        score += f"; {_percent(result['human_normalised'])} of human"
    if (jat := result.get("published", {}).get("jat")) is not None:
        score += f"; JAT {_percent(jat['normalised'])}"
    return score + ("; prompted by demonstrations" if result.get("prompt") else "")


def summary_lines(results: Mapping[str, Any]) -> list[str]:
    """Return a table of the domains in the contents of results.json, with all of them in its last row, and notes.

    Scores are percent of the expert. The column of the 1-nearest-neighbour baseline is its mean over those of the tasks
    that it has played. The columns of other agents are their published means, on scales of their own.
    """
    lines = []
    if results["aggregate"]["tasks"]:
        played = results.get("baselines", {}).get("nearest_neighbour", {}).get("tasks", {})
        neighbour = baseline_means(_normalised(results["tasks"]), _normalised(played))
        rows = [
            _row(suite, domain, neighbour.get(suite)) for suite, domain in results["domains"].items() if domain["tasks"]
        ]
        lines += align([_HEADINGS, *rows, _row("all tasks", results["aggregate"], neighbour.get("all tasks"))])
        lines += ["", _curve_line(results["aggregate"]["curve"])]
    if (human := results.get("human")) is not None:
        lines.append(
            f"on the scale of human scores: mean {_percent(human['mean'])}, median {_percent(human['median'])}, "
            f"{human['at_human']} of {human['tasks']} at 100% or above, {human['at_twice_human']} at 200%"
        )
    reasons: dict[str, list[str]] = {}
    for task, reason in results["unscaled"].items():
        reasons.setdefault(reason.split(" (")[0], []).append(task)
    for reason, tasks in reasons.items():
        more = f" and {len(tasks) - _NAMED} more" if len(tasks) > _NAMED else ""
        lines.append(f"not averaged, {reason}: {', '.join(tasks[:_NAMED])}{more}")
    return lines


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table, the first column aligned to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]


def baseline_means(scores: Mapping[str, float | None], baseline: Mapping[str, float | None]) -> dict[str, float]:
    """Return {suite: mean normalised score of a baseline on tasks of the agent}, and of `all tasks`.

    Args:
      scores: {task: normalised score of the agent}. Tasks without one are left out.
      baseline: {task: normalised score of the baseline}, of some of the tasks.
    """
    found: dict[str, list[float]] = {}
    for task, own in scores.items():
        score = baseline.get(task)
        if own is not None and score is not None:
            for name in (task.split("/")[0], "all tasks"):
                found.setdefault(name, []).append(score)
    return {name: sum(listed) / len(listed) for name, listed in found.items()}


def _normalised(tasks: Mapping[str, Any]) -> dict[str, float | None]:
    return {task: entry.get("normalised") for task, entry in tasks.items()}


def _row(name: str, domain: Mapping[str, Any], neighbour: float | None) -> tuple[str, ...]:
    published = domain.get("published", {})
    others = [_percent(published[agent]["mean"]) if agent in published else "-" for agent in ("gato", "jat")]
    return (
        name, str(domain["tasks"]), str(domain["episodes"]),
        *(f"{_percent(domain[key])} {_interval(domain[f'{key}_ci'])}" for key in ("mean", "iqm", "share_at_50")),
        _percent(domain["noise_floor"]), _percent(neighbour), *others,
    )  # fmt: skip


def _curve_line(curve: Mapping[str, Any]) -> str:
    shares = dict(zip(curve["thresholds"], curve["share"], strict=True))
    return "share of tasks at or above " + ", ".join(
        f"{_percent(threshold)} of expert: {_percent(shares[threshold])}" for threshold in _SHOWN_THRESHOLDS
    )


def _interval(bounds: Sequence[float]) -> str:
    return f"[{', '.join(_percent(bound) for bound in bounds)}]"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"
