"""The one definition of a degenerate dimension, which the data report and the tokenization report share.

A dimension is degenerate if it hardly varies. The definition depends on the data alone, not on the bins of a codec.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from gato_jax.episodes import Continuous, TaskSpec
from gato_jax.reports.continuous import FEW, ContinuousSums
from gato_jax.reports.summary import pluralize

NARROWEST = 1e-3  # range of a degenerate dimension, as a share of its limits or of its largest magnitude
_STEPS_PER_VALUE = 25  # an element with few values is degenerate only if it has this many steps for each value

# The definition in words, for the pages.
DEFINITION = (
    "A dimension is degenerate if it is constant, if its range is at most a thousandth of its limits (of its largest "
    "magnitude if it has no limits), if its spread or the width that holds 98% of its values is less than a thousandth "
    "of its range, or if it takes a few values only (which is right for a binary gripper)."
)


def degeneracy_reasons(spec: TaskSpec, side: str, key: str, sums: ContinuousSums) -> list[str]:
    """Return for each element of a continuous key why it is degenerate, "" if it is not.

    Args:
      spec: the task.
      side: "observation" or "action".
      key: the key.
      sums: the statistics of its values, over at least one step.
    """
    binary = set(binary_grippers(spec))
    sample = sums.sample.rows
    return [
        _reason(sums, sample[:, element], element, few_are_right=(side, key, element) in binary)
        for element in range(sums.modality.size)
    ]


def constancy_reason(modality: Continuous, element: int, low: float, high: float) -> str:
    """Return why an element with values in [low, high] is constant or nearly so; "" if it is not.

    It is constant ("constant, always 0.5"), or nearly so if high - low is at most a thousandth of the distance of its
    limits, or of its largest magnitude if a limit is missing.

    Args:
      modality: the modality of its key.
      element: its index in the flattened value.
      low: its smallest value.
      high: its largest value.
    """
    if low == high:
        return f"constant, always {low:.4g}"
    limits = [float(limit[element]) for limit in modality.limits]
    bounded = all(map(math.isfinite, limits))
    scale = limits[1] - limits[0] if bounded else max(abs(low), abs(high))
    if high - low <= NARROWEST * scale:
        return f"varies by {high - low:.2g}, at most {NARROWEST} of its {'limits' if bounded else 'magnitude'}"
    return ""


def binary_grippers(spec: TaskSpec) -> Iterator[tuple[str, str, int]]:
    """Yield (side, key, element) of the actions of a binary gripper, which rightly take two values."""
    gripper = None if spec.embodiment is None else spec.embodiment.gripper
    if gripper is None or gripper.kind != "binary" or gripper.action is None:
        return
    for element in gripper.elements or range(spec.action[gripper.action].size):
        yield "action", gripper.action, element


def describe_count(count: int, total: int, noun: str) -> str:
    """Return how many parts of one kind are degenerate, such as "17 of 43 continuous dimensions"."""
    return f"{count} of {pluralize(total, noun)}"


def _reason(sums: ContinuousSums, sample: np.ndarray, element: int, *, few_are_right: bool) -> str:
    """Return why an element is degenerate by DEFINITION, such as "constant, always 0", or "" if it is not.

    Args:
      sums: the statistics of its key.
      sample: (N,) sampled values of the element.
      element: its index in the flattened value.
      few_are_right: whether it may take few values, as a binary gripper does; then only `constancy_reason` applies.
    """
    low, high = float(sums.moments.low[element]), float(sums.moments.high[element])
    if reason := constancy_reason(sums.modality, element, low, high):
        return reason
    if few_are_right:
        return ""
    values = sums.values[element]
    if len(values) <= FEW and sums.moments.count >= _STEPS_PER_VALUE * len(values):
        return f"takes {len(values)} values only: {', '.join(f'{value:.4g}' for value in sorted(values))}"
    middle = float(np.subtract(*np.quantile(sample, (0.99, 0.01))))
    spread = float(sums.moments.standard_deviation[element])
    if min(spread, middle) < NARROWEST * (high - low):
        return f"nearly constant: 98% of its values lie within {middle:.2g}, all within {high - low:.2g}"
    return ""
