"""The run in words: the headline of the page, and the plain-text table that ends the quickstart."""

from __future__ import annotations

import math

from gato_jax.reports.run import Results, TaskScore

_WIDTH = 100
_NONE = "-"


def headline(results: Results) -> str:
    """What the scores say, in one sentence."""
    scored = [task.normalised for task in results.tasks if task.normalised is not None]
    above = sum(normalised >= 0.5 for normalised in scored)
    count = len(results.tasks)
    subject = f"One set of weights, {count} task{'s' * (count != 1)}"
    if not scored:
        return f"{subject}, and no expert to compare with"
    if count == 1:
        return f"{subject}: {max(0.0, scored[0]):.0%} of the way from random play to the expert"
    among = "" if len(scored) == count else f" of {len(scored)} with an expert"
    number = {0: "none", len(scored): "all"}.get(above, str(above))
    return f"{subject}: {number}{among} above half of the expert\N{RIGHT SINGLE QUOTATION MARK}s score"


def score(value: float | None, metric: str) -> str:
    """A score in its task's own metric: a success rate as a percentage, a return as it is."""
    if value is None:
        return _NONE
    return f"{value:.0%}" if metric == "success" else number(value)


def number(value: float | int | None) -> str:
    """About three significant digits, thousands apart."""
    if value is None:
        return _NONE
    if not math.isfinite(value):
        return str(value)
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def short(value: float | int) -> str:
    """For axes and headings: 4900000 as 4.9M."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def duration(seconds: float | int) -> str:
    """Seconds below two minutes, minutes below two hours, then hours."""
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def interval(task: TaskScore) -> str:
    """The interval of the agent's score."""
    return _NONE if task.agent_ci is None else " to ".join(score(end, task.metric) for end in task.agent_ci)


def summary_table(results: Results) -> str:
    """The scores as plain ASCII text, at most 100 columns: what the quickstart prints at its end."""
    rows: list[tuple[str, ...]] = [("task", "random", "constant", "agent", "interval", "expert", "normalised")]
    for task in results.tasks:
        own = [score(value, task.metric) for value in (task.random, task.constant, task.agent)]
        rows.append((task.task, *own, interval(task), score(task.expert, task.metric), _meter(task.normalised)))
    lines = aligned(rows)
    if results.held_out:
        held = [("held out (lower is better)", "value", "baseline", "measure")]
        held += [(h.name, number(h.value), number(h.baseline), h.metric) for h in results.held_out]
        lines += ["", *aligned(held)]
    aggregate = results.aggregate
    named = (("mean", "mean"), ("iqm", "interquartile mean"), ("share_at_50", "share at half of the expert or above"))
    facts = [f"{name} {aggregate[key]:.2f}" for key, name in named if aggregate.get(key) is not None]
    lines += ["", ", ".join(facts)] if facts else []
    cost = [f"{results.minutes:.1f} minutes"] if results.minutes is not None else []
    if results.peak_memory_bytes is not None:
        cost.append(f"peak memory {results.peak_memory_bytes / 1e9:.1f} GB")
    if results.making.parameters is not None:
        cost.append(f"{short(results.making.parameters)} parameters")
    return "\n".join(lines + ([", ".join(cost)] if cost else []))


def _meter(normalised: float | None, width: int = 10) -> str:
    if normalised is None:
        return _NONE
    filled = round(width * min(1.0, max(0.0, normalised)))
    return f"{normalised:5.2f} {'#' * filled}{'.' * (width - filled)}"


def aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """Columns two spaces apart, numbers flush right. The first column gives way where a line would be too long."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    widths[0] = max(12, min(widths[0], _WIDTH - sum(widths[1:]) - 2 * (len(widths) - 1)))
    lines = []
    for row in rows:
        name = row[0] if len(row[0]) <= widths[0] else row[0][: widths[0] - 11] + "..." + row[0][-8:]
        cells = [cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:-1], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *cells, row[-1]]).rstrip())
    return [lines[0], "-" * min(_WIDTH, max(map(len, lines))), *lines[1:]]
