"""The statistics and differences as plain text, for the terminal."""

from __future__ import annotations

from gato_jax.reports.recordings.comparison import Comparison
from gato_jax.reports.recordings.findings import DataStatistics
from gato_jax.reports.summary import aligned, number
from gato_jax.reports.tokenization.table import percent


def counted(count: int, thing: str) -> str:
    """As `1 episode` and `2 episodes`."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def table(data: DataStatistics) -> str:
    """A line for each dimension, at most 100 columns, and one of facts."""
    rows: list[tuple[str, ...]] = [("dimension", "mean", "spread", "1%", "99%", "minimum", "maximum", "clipped", "")]
    for d in (*data.dimensions, *(measure for camera in data.cameras for measure in camera.measures)):
        said = d.mean, d.standard_deviation, d.quantile_1, d.quantile_99, d.minimum, d.maximum
        rows.append((f"{d.side} {d.name}", *map(number, said), percent(d.clip_rate), "degenerate" * d.degenerate))
    returns = f"return {number(data.returns.mean)}" if data.rewarded else "no rewards"
    facts = [f"{data.dataset}: {counted(data.episodes, 'episode')}, {counted(data.steps, 'step')}, {returns}"]
    facts += [f"success {percent(data.success_rate)}"] if data.success_rate is not None else []
    facts += [f"{len(data.rejected)} rejected"] if data.rejected else []
    return "\n".join([*(aligned(rows) if len(rows) > 1 else []), ", ".join(facts)])


def comparison_table(comparison: Comparison, most: int = 20) -> str:
    """A line for each warning, and for each of the largest differences."""
    rows: list[tuple[str, ...]] = [("most different", "distance", "of the means", "first mean", "second mean", "kind")]
    for d in comparison.differences[:most]:
        said = d.mean_difference, d.first_mean, d.second_mean
        rows.append((f"{d.side} {d.name}".strip(), f"{d.distance:.3f}", *map(number, said), d.kind))
    lines = [*(f"warning: {warning}" for warning in comparison.warnings), *aligned(rows)]
    if (left := len(comparison.differences) - most) > 0:
        lines.append(f"and {left} more, in the page")
    return "\n".join(lines)
