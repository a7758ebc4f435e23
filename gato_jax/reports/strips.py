"""Inline SVG drawings: the bar of a normalised score, and the actions and rewards of a rollout over time."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from PIL import Image

from gato_jax.reports.plots import PALETTE, curve_path
from gato_jax.reports.run import Rollout, TaskScore
from gato_jax.reports.summary import number

_LINES = 6  # the most action dimensions that are drawn as lines; a rollout with more gets a heat map
_UNITS = 1000  # width of a drawing in units of its viewBox
_COLUMNS = 600  # the most steps that lanes show one by one; longer episodes are subsampled evenly
_PLUS, _MINUS = (224, 122, 60), (58, 132, 176)  # visible on a light and on a dark page


def bar_range(tasks: Sequence[TaskScore]) -> tuple[float, float]:
    """Return the ends (low, high) of the normalised score axis that the bars of all tasks share.

    The axis holds 0 (random), 1 (expert) and the normalised scores of the agent and of the best constant action, with a
    margin of 0.06, within [-0.56, 1.56]; bars of scores beyond it are cut off.
    """
    marks = [mark for task in tasks for mark in (task.normalised, task.normalise(task.constant)) if mark is not None]
    return max(-0.5, min([0.0, *marks])) - 0.06, min(1.5, max([1.0, *marks])) + 0.06


def score_bar(task: TaskScore, low: float, high: float) -> Markup:
    """Draw the normalised score of a task as a bar that starts at random play (0).

    A whisker shows the confidence interval of the agent, a diamond the best constant action. `low` and `high` are the
    ends of the axis, from `bar_range`. A task without an expert gives a short text instead.
    """
    if task.normalised is None:
        return Markup('<span class="absent">no expert measured</span>')

    def at(value: float) -> float:
        return 100 * (min(max(value, low), high) - low) / (high - low)

    start, end = sorted((at(0.0), at(task.normalised)))
    parts = [f'<svg class="bar" height="26" role="img" aria-label="normalised score {task.normalised:.2f}">']
    parts.append(f'<line class="track" x1="{at(0.0):.2f}%" x2="{at(1.0):.2f}%" y1="13" y2="13"/>')
    parts += [f'<line class="limit" x1="{at(v):.2f}%" x2="{at(v):.2f}%" y1="3" y2="23"/>' for v in (0.0, 1.0)]
    parts.append(
        f'<rect class="agent" x="{start:.2f}%" width="{max(end - start, 0.4):.2f}%" y="8" height="10" rx="1.5"/>'
    )
    ends = [end for end in map(task.normalise, task.agent_ci or ()) if end is not None]
    if ends:
        left, right = (at(value) for value in sorted(ends))
        parts.append(f'<line class="whisker" x1="{left:.2f}%" x2="{right:.2f}%" y1="13" y2="13"/>')
        parts += [f'<line class="whisker" x1="{x:.2f}%" x2="{x:.2f}%" y1="10" y2="16"/>' for x in (left, right)]
    constant = task.normalise(task.constant)
    if constant is not None:
        diamond = '<path class="constant" d="M0 -5L4.5 0L0 5L-4.5 0Z"/>'
        parts.append(f'<svg x="{at(constant):.2f}%" y="13" width="1" height="1" overflow="visible">{diamond}</svg>')
    return Markup("".join(parts) + "</svg>")


def action_strip(rollout: Rollout) -> Markup:
    """Draw the actions of a rollout over time, as wide as its animation so that both share one time axis.

    Discrete actions become lanes, up to six continuous dimensions with names lines, and others a heat map.
    """
    if rollout.discrete:
        return _lanes(rollout)
    if rollout.actions.shape[1] <= _LINES and len(rollout.action_names) == rollout.actions.shape[1]:
        lines = zip(rollout.action_names, rollout.actions.T, strict=True)
        return Markup("").join(_line(name, values.astype(float)) for name, values in lines)
    return _heat(rollout)


def reward_strip(rollout: Rollout) -> Markup:
    """Draw the cumulative reward of a rollout over time as a line, with the total in figures."""
    return _line("rewards so far", np.cumsum(rollout.rewards, dtype=float), kind="reward")


def action_shares(rollout: Rollout) -> list[tuple[str, float, str]]:
    """Return (name, share of the steps in [0, 1], CSS colour) of each discrete action taken.

    They are in the order of the actions' numbers. An action without a name is called "action 7"; a colour is e.g.
    "var(--s7)".
    """
    used, counts = np.unique(rollout.actions, return_counts=True)
    names = rollout.action_names
    shares = zip(used.tolist(), counts / counts.sum(), strict=True)
    return [(names[a] if 0 <= a < len(names) else f"action {a}", float(n), f"var(--s{a % PALETTE})") for a, n in shares]


def _line(name: str, values: np.ndarray, kind: str = "action", height: int = 24) -> Markup:
    """Draw one quantity over time as a line, headed by its name and, for rewards, by the last value.

    Args:
      name: name of the quantity.
      values: (T,) floats; those that are not finite are gaps.
      kind: "action", whose vertical axis holds at least [-1, 1], or "reward", whose axis fits the values.
      height: height in pixels.
    """
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 1.0)
    if kind == "action":  # All dimensions share one scale, so that large movements look large.
        low, high = min(low, -1.0), max(high, 1.0)
    span = (high - low) or 1.0
    x = (np.arange(len(values)) + 0.5) * _UNITS / len(values)
    y = height - 2 - (height - 4) * (values - low) / span
    total = f"<b>{number(values[-1])}</b>" if kind == "reward" else ""
    middle = height - 2 - (height - 4) * (min(max(0.0, low), high) - low) / span
    return Markup(
        f'<div class="strip {kind}"><p>{Markup.escape(name)}{total}</p>'
        f'<svg viewBox="0 0 {_UNITS} {height}" preserveAspectRatio="none" height="{height}" aria-hidden="true">'
        f'<line class="grid" x1="0" x2="{_UNITS}" y1="{middle:.1f}" y2="{middle:.1f}"/>'
        f'<path d="{curve_path(x, y)}"/></svg></div>'
    )


def _heat(rollout: Rollout, row: int = 8) -> Markup:
    """Draw a PNG heat map with a line `row` pixels tall for each dimension, over time.

    Hue shows the sign of an action, opacity its magnitude relative to the largest one; values that are not finite are
    drawn as 0 or as the largest.
    """
    actions = np.nan_to_num(rollout.actions.astype(float)).T
    strength = np.abs(actions) / (np.abs(actions).max() or 1.0)
    cells = np.where((actions > 0)[..., None], np.array(_PLUS), np.array(_MINUS))
    cells = np.concatenate([cells, (255 * strength)[..., None]], axis=-1).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(cells).save(buffer, "PNG", optimize=True)
    source = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    return Markup(
        f'<div class="strip heat"><p><span>{len(actions)} dimensions</span>'
        '<span><i class="minus">below</i> and <i class="plus">above</i> zero</span></p>'
        f'<img src="{source}" alt="" style="--height:{row * len(actions)}px"></div>'
    )


def _lanes(rollout: Rollout, lane: int = 8) -> Markup:
    """Draw one lane, `lane` pixels tall, for each discrete action taken, with marks at the steps at which it was taken.

    Of more than 600 steps, every second, third and so on is drawn.

    Actions differ in position as well as in colour, so that the drawing can be read without colour vision.
    """
    actions = rollout.actions[:: -(-len(rollout.actions) // _COLUMNS), 0]
    used = np.unique(rollout.actions)
    marks = []
    for index, action in enumerate(used.tolist()):
        taken = np.diff(np.concatenate([[0], actions == action, [0]]).astype(int))
        for start, stop in zip(np.flatnonzero(taken == 1), np.flatnonzero(taken == -1), strict=True):
            box = f'x="{start}" width="{stop - start}" y="{index * lane + 1}" height="{lane - 2}"'
            marks.append(f'<rect style="fill:var(--s{action % PALETTE})" {box}/>')
    height = len(used) * lane
    return Markup(
        f'<div class="strip lanes"><svg viewBox="0 0 {len(actions)} {height}" preserveAspectRatio="none" '
        f'height="{height}" aria-hidden="true">{"".join(marks)}</svg></div>'
    )
