"""Inline SVG drawings of action errors by dimension and horizon, and of predicted beside recorded actions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from gato_jax.reports.held_out.records import ActionErrors, HorizonError
from gato_jax.reports.plots import curve_path
from gato_jax.reports.summary import number

_UNITS = 1000  # width of a stretched viewBox


def error_bar(errors: ActionErrors, highest: float) -> Markup:
    """Draw the agent's error as a bar from 0, with a diamond at the mean action and a line at the repeated action.

    Args:
      errors: errors of one dimension.
      highest: right end of the axis.
    """

    def at(value: float) -> str:
        return f"{100 * min(value / highest, 1.0) if highest else 0.0:.2f}%"

    parts = [f'<svg class="bar" height="20" role="img" aria-label="error {number(errors.value)}">']
    parts.append('<line class="limit" x1="0" x2="0" y1="1" y2="19"/>')
    parts.append(f'<rect class="agent" x="0" width="{at(errors.value)}" y="5" height="10" rx="1.5"/>')
    if errors.repeat_baseline is not None:
        x = at(errors.repeat_baseline)
        parts.append(f'<line class="whisker" x1="{x}" x2="{x}" y1="3" y2="17"/>')
    if errors.baseline is not None:
        diamond = '<path class="constant" d="M0 -5L4.5 0L0 5L-4.5 0Z"/>'
        parts.append(f'<svg x="{at(errors.baseline)}" y="10" width="1" height="1" overflow="visible">{diamond}</svg>')
    return Markup("".join(parts) + "</svg>")


def horizon_chart(ranges: Sequence[HorizonError], baseline: float | None, *, height: int = 110) -> Markup:
    """Draw the agent's error in each range of steps since the episode began as bars, with a line at the mean action.

    Args:
      ranges: the errors, at least one range.
      baseline: error of the mean action over all steps; None for no line.
      height: height of the bars in pixels.
    """
    highest = max([one.value for one in ranges] + ([] if baseline is None else [baseline])) or 1.0
    width = 100 / len(ranges)
    parts = [
        f'<svg class="chart horizon" height="{height + 36}" role="img" aria-label="error by steps since the start">'
    ]
    for place, one in enumerate(ranges):
        tall, left = (height - 16) * one.value / highest, place * width
        steps = f"{one.first_step}" if one.first_step == one.last_step else f"{one.first_step}-{one.last_step}"
        middle = f'x="{left + width / 2:.2f}%" text-anchor="middle"'
        parts.append(
            f'<rect class="agent" x="{left + 0.15 * width:.2f}%" width="{0.7 * width:.2f}%" y="{height - tall:.1f}" '
            f'height="{tall:.1f}"><title>{one.steps} steps of all episodes</title></rect>'
            f'<text class="tick" {middle} y="{height - tall - 4:.1f}">{number(float(f"{one.value:.2g}"))}</text>'
            f'<text class="tick" {middle} y="{height + 16}">{steps}</text>'
        )
    if baseline is not None:
        y = height - (height - 16) * baseline / highest
        parts.append(f'<line class="mean" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>')
    parts.append(f'<line class="axis" x1="0" x2="100%" y1="{height}" y2="{height}"/>')
    return Markup("".join(parts) + "</svg>")


def compared_strip(
    name: str, recorded: np.ndarray, predicted: np.ndarray, low: float, high: float, error: float, *, height: int = 34
) -> Markup:
    """Draw the recorded and the predicted values of one dimension over time, as wide as the animation above.

    Args:
      name: name of the dimension.
      recorded: recorded values, (T,).
      predicted: predicted values, (T,).
      low: lower limit of the dimension. The axis holds both limits and all values.
      high: upper limit.
      error: mean error of the dimension, which stands beside its name.
      height: height in pixels.
    """
    values = np.concatenate([recorded, predicted])
    values = values[np.isfinite(values)]
    low, high = min([low, *values]), max([high, *values])
    x = (np.arange(len(recorded)) + 0.5) * _UNITS / len(recorded)
    span = (high - low) or 1.0
    paths = "".join(
        f'<path class="{kind}" d="{curve_path(x, height - 2 - (height - 4) * (line - low) / span)}"/>'
        for kind, line in (("recorded", recorded), ("predicted", predicted))
    )
    return Markup(
        f'<div class="strip compared"><p>{Markup.escape(name)}<b>{number(float(f"{error:.2g}"))}</b></p>'
        f'<svg viewBox="0 0 {_UNITS} {height}" preserveAspectRatio="none" height="{height}" aria-hidden="true">'
        f"{paths}</svg></div>"
    )
