"""Ranges that the continuous actions of episodes reach, compared with the limits of their task.

Actions are scaled from their limits to bins. An action outside of its limits is clipped, and limits that are far wider
than the data leave few bins to it, so that decoded actions are coarse.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np

from gato_jax.episodes.episode import Episode
from gato_jax.episodes.modalities import Continuous
from gato_jax.episodes.specs import TaskSpec

NO_LIMIT = 1e30  # magnitudes from which on a limit says that there is none, as the largest float32 does
BINS = 1024  # bins between the limits, as in the paper
MIN_BINS = 8  # bins that limits must leave to the data
_ROUNDING = 1e-6  # part of the range by which a value may exceed a limit, from rounding to float32
_NOISE = 1e-7  # an element that varies by less does not vary
_ABSURD = 1e6  # times the largest value, or 1: a range beyond that is no limit of the data


@dataclasses.dataclass(frozen=True, kw_only=True)
class ActionExtent:
    """The range of one continuous action over some steps at which it was taken.

    Attributes:
      key: Key of the action.
      steps: Number of steps, at least 1.
      minimum, maximum: Extreme values of each element, row-major.
      outside: Number of steps at which each element lies outside of its limits.
    """

    key: str
    steps: int
    minimum: tuple[float, ...]
    maximum: tuple[float, ...]
    outside: tuple[int, ...]


def episode_extents(spec: TaskSpec, episode: Episode) -> list[ActionExtent]:
    """Return the extents of the continuous actions of an episode of the task; none if it has no step with an action."""
    extents = []
    for key, modality in spec.action.items():
        steps = episode.acting_steps
        if not isinstance(modality, Continuous) or not modality.size or not steps:
            continue
        values = np.asarray(episode.action[key][:steps], np.float64).reshape(steps, -1)
        low, high = modality.limits
        with np.errstate(over="ignore", invalid="ignore"):
            slack = _ROUNDING * (high - low)
            outside = (values < low - slack) | (values > high + slack)
        extremes = (tuple(values.min(0).tolist()), tuple(values.max(0).tolist()))
        counts = tuple(outside.sum(0).tolist())
        extents.append(ActionExtent(key=key, steps=steps, minimum=extremes[0], maximum=extremes[1], outside=counts))
    return extents


def merge_extents(extents: Iterable[ActionExtent]) -> tuple[ActionExtent, ...]:
    """Return one extent for each key, over all steps of the given ones, in the order in which keys appear."""
    by_key: dict[str, list[ActionExtent]] = {}
    for extent in extents:
        by_key.setdefault(extent.key, []).append(extent)
    return tuple(
        ActionExtent(
            key=key,
            steps=sum(one.steps for one in parts),
            minimum=tuple(map(min, zip(*(one.minimum for one in parts), strict=True))),
            maximum=tuple(map(max, zip(*(one.maximum for one in parts), strict=True))),
            outside=tuple(map(sum, zip(*(one.outside for one in parts), strict=True))),
        )
        for key, parts in by_key.items()
    )


def clipped_actions(spec: TaskSpec, extents: Iterable[ActionExtent]) -> list[dict[str, Any]]:
    """Return one JSON object for each element of an action that lies outside of its limits at some step.

    The keys are `action`, `element` (row-major), `low`, `high` (its limits), `minimum`, `maximum` (of the data),
    `outside` (number of steps) and `steps` (of all).
    """
    listed = []
    for extent in extents:
        low, high = spec.action[extent.key].limits
        listed += [
            {
                "action": extent.key, "element": at, "low": float(low[at]), "high": float(high[at]),
                "minimum": extent.minimum[at], "maximum": extent.maximum[at], "outside": count, "steps": extent.steps,
            }
            for at, count in enumerate(extent.outside)
            if count
        ]  # fmt: skip
    return listed


def describe_clipped(clipped: dict[str, Any]) -> str:
    """Return a line about an object of `clipped_actions`, for people."""
    share = clipped["outside"] / clipped["steps"]
    return (
        f"action {clipped['action']!r}, element {clipped['element']}: {clipped['outside']} of {clipped['steps']} steps "
        f"({share:.1%}) lie outside of the limits {clipped['low']:g} and {clipped['high']:g} and are clipped; the data "
        f"reach from {clipped['minimum']:g} to {clipped['maximum']:g}"
    )


def coarse_limits(
    spec: TaskSpec, extents: Iterable[ActionExtent], *, bins: int = BINS, min_bins: int = MIN_BINS
) -> list[str]:
    """Return a line for each action whose limits leave less than `min_bins` of `bins` bins to an element that varies.

    An element that does not vary needs no bins, but limits a million times wider than its values are named, too.
    """
    lines = []
    for extent in extents:
        (low, high), minimum, maximum = spec.action[extent.key].limits, *map(np.array, (extent.minimum, extent.maximum))
        with np.errstate(over="ignore", invalid="ignore"):
            span, left = maximum - minimum, (np.minimum(maximum, high) - np.maximum(minimum, low)) / (high - low) * bins
        largest = np.maximum(np.maximum(np.abs(minimum), np.abs(maximum)), 1.0)
        varies = span > _NOISE * np.minimum(np.maximum(np.abs(low), np.abs(high)), 1.0)
        coarse = (varies & (left < min_bins)) | is_absurd(low, high, largest)
        if coarse.any():
            at = int(coarse.argmax())
            lines.append(
                f"{spec.name}: action {extent.key!r}: the limits {low[at]:g} and {high[at]:g} of element {at} leave "
                f"{max(left[at], 0.0):.2g} of {bins} bins to the data, expected {min_bins} or more. The data reach "
                f"from {_numbers(extent.minimum)} to {_numbers(extent.maximum)}: set low and high to that"
            )
    return lines


def is_absurd(low: np.ndarray, high: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """Return True for each element whose limits are a million times wider than its largest magnitude, (size,) bool."""
    return high / 2 - low / 2 > _ABSURD / 2 * largest


def _numbers(values: tuple[float, ...]) -> str:
    shown = ", ".join(f"{value:g}" for value in values[:16])
    return f"[{shown}{', ...' if len(values) > 16 else ''}]"
