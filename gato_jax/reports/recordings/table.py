"""Plain-text tables of a dataset's statistics and of the differences between two datasets."""

from __future__ import annotations

from gato_jax.reports.recordings.comparison import Comparison
from gato_jax.reports.recordings.findings import DataStatistics
from gato_jax.reports.summary import align_columns, number, percent, pluralize


def table(data: DataStatistics) -> str:
    """Return a text table with a line for each continuous dimension and image measure, and a last line of totals.

    Discrete and text keys have no lines; without any line there are the totals only.
    """
    rows: list[tuple[str, ...]] = [("dimension", "mean", "spread", "1%", "99%", "minimum", "maximum", "clipped", "")]
    for d in (*data.dimensions, *(measure for camera in data.cameras for measure in camera.measures)):
        values = d.mean, d.standard_deviation, d.quantile_1, d.quantile_99, d.minimum, d.maximum
        rows.append((f"{d.side} {d.name}", *map(number, values), percent(d.clip_rate), "degenerate" * d.degenerate))
    returns = f"return {number(data.returns.mean)}" if data.rewarded else "no rewards"
    facts = [f"{data.dataset}: {pluralize(data.episodes, 'episode')}, {pluralize(data.steps, 'step')}, {returns}"]
    facts += [f"success {percent(data.success_rate)}"] if data.success_rate is not None else []
    facts += [f"{len(data.rejected)} rejected"] if data.rejected else []
    return "\n".join([*(align_columns(rows) if len(rows) > 1 else []), ", ".join(facts)])


def comparison_table(comparison: Comparison, most: int = 20) -> str:
    """Return text with a line for each warning and a table of the `most` largest differences, the largest first.

    A last line says how many more differences there are, if any.
    """
    rows: list[tuple[str, ...]] = [("most different", "distance", "of the means", "first mean", "second mean", "kind")]
    for d in comparison.differences[:most]:
        values = d.mean_difference, d.first_mean, d.second_mean
        rows.append((f"{d.side} {d.name}".strip(), f"{d.distance:.3f}", *map(number, values), d.kind))
    lines = [*(f"warning: {warning}" for warning in comparison.warnings), *align_columns(rows)]
    if (omitted := len(comparison.differences) - most) > 0:
        lines.append(f"{omitted} more in the page")
    return "\n".join(lines)
