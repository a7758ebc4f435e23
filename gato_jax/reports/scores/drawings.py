"""Inline SVG drawings of scores: the share of tasks over thresholds, and the distribution of a task's episodes."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from gato_jax.reports.plots import curve_path
from gato_jax.reports.run import TaskScore
from gato_jax.reports.scores.records import ThresholdCurve
from gato_jax.reports.summary import score

_UNITS = 1000  # width of a stretched viewBox
_BINS = 24  # of the histogram of a task's episodes
_HIGH = 24  # height of that histogram in pixels


def threshold_chart(curve: ThresholdCurve, *, label: str, height: int = 240) -> Markup:
    """Draw the share of tasks over thresholds (the paper's figure 5) as a line, with its interval as a band.

    Both axes go from 0% to 100%. The line is drawn straight between the thresholds.

    Args:
      curve: the shares.
      label: a description of the chart for screen readers.
      height: height of the plot in pixels, without the labels of the horizontal axis.
    """
    parts = [f'<svg class="chart thresholds" height="{height + 22}" role="img" aria-label="{Markup.escape(label)}">']
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        y, anchor = height * (1 - tick), {0.0: "start", 1.0: "end"}.get(tick, "middle")
        parts.append(f'<line class="grid" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="-8" y="{y + 4:.1f}" text-anchor="end">{tick:.0%}</text>')
        parts.append(f'<text class="tick" x="{tick:.0%}" y="{height + 18}" text-anchor="{anchor}">{tick:.0%}</text>')
    parts.append(f'<line class="axis" x1="0" x2="100%" y1="{height}" y2="{height}"/>')
    x = np.array(curve.thresholds) * _UNITS
    share, low, high = (height * (1 - np.array(values)) for values in (curve.share, curve.low, curve.high))
    band = curve_path(np.concatenate([x, x[::-1]]), np.concatenate([low, high[::-1]]))
    parts.append(f'<svg viewBox="0 0 {_UNITS} {height}" preserveAspectRatio="none" width="100%" height="{height}">')
    parts.append(f'<path class="band" d="{band}Z"/><path class="curve strong" d="{curve_path(x, share)}"/></svg></svg>')
    return Markup("".join(parts))


def episode_histogram(task: TaskScore) -> Markup:
    """Draw the distribution of the scores of a task's episodes, between random play and the expert.

    The axis goes from the lowest to the highest of all episodes, random play and the expert, which thin lines mark; its
    ends are written below. A thick line marks the mean. Heights grow with the square root of the number of episodes, so
    that a single one is visible. A task whose episodes are not known gives an empty text.
    """
    scores = np.array([value for value in task.scores if np.isfinite(value)])
    if not len(scores):
        return Markup("")
    marks = [value for value in (task.random, task.expert) if value is not None]
    low, high = min([*scores, *marks]), max([*scores, *marks])
    if low == high:
        low, high = low - 0.5, high + 0.5
    counts, _ = np.histogram(scores, _BINS, (low, high))

    def at(value: float) -> str:
        return f"{100 * (value - low) / (high - low):.2f}%"

    tall = np.sqrt(counts / counts.max()) * (_HIGH - 2)
    bars = "".join(f"M{i + 0.1:.1f} {_HIGH}v-{t:.1f}h.8V{_HIGH}z" for i, t in enumerate(tall) if t)
    title = f"{len(scores)} episodes from {score(scores.min(), task.metric)} to {score(scores.max(), task.metric)}"
    lines = "".join(f'<line class="limit" x1="{at(v)}" x2="{at(v)}" y1="2" y2="{_HIGH}"/>' for v in marks)
    mean = at(float(scores.mean()))
    return Markup(
        f'<svg class="spread" height="{_HIGH + 14}" role="img" aria-label="{title}"><title>{title}</title>'
        f'<svg viewBox="0 0 {_BINS} {_HIGH}" preserveAspectRatio="none" width="100%" height="{_HIGH}">'
        f'<path d="{bars}"/></svg>{lines}<line class="axis" x1="0" x2="100%" y1="{_HIGH}" y2="{_HIGH}"/>'
        f'<line class="mean" x1="{mean}" x2="{mean}" y1="0" y2="{_HIGH}"/>'
        f'<text x="0" y="{_HIGH + 12}">{score(low, task.metric)}</text>'
        f'<text x="100%" y="{_HIGH + 12}" text-anchor="end">{score(high, task.metric)}</text></svg>'
    )
