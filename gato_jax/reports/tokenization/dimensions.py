"""Report entries of single dimensions: their errors, and the reason if they are degenerate (hardly vary)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from gato_jax.episodes import Continuous
from gato_jax.reports.tokenization.accumulators import CodecErrors, Moments
from gato_jax.reports.tokenization.findings import Dimension
from gato_jax.tokenization import ImageCodec
from gato_jax.tokenization.columns import Column

NARROWEST = 1e-3  # range of a degenerate dimension, as a share of its limits or of its largest magnitude


def dimensions(column: Column, errors: CodecErrors, moments: Moments) -> Iterator[Dimension]:
    """Yield the report entry of each element of a continuous column.

    A dimension is degenerate if it is constant, if its range is at most a thousandth of the distance of its limits (of
    its largest magnitude if a limit is missing), or if its values lie within one bin or no further apart than one.

    Args:
      column: the column.
      errors: the errors of its codec, over at least one step.
      moments: the moments of its values.
    """
    used = errors.seen.sum(axis=1)
    for element in range(len(used)):
        low, high = float(moments.low[element]), float(moments.high[element])
        reason = constancy_reason(errors.codec.modality, element, low, high) or _single_bin_reason(
            errors, element, high - low
        )
        yield Dimension(
            side=column.side,
            key=column.key,
            element=element,
            mean_abs_error=float(errors.error_sum[element] / errors.count),
            max_abs_error=float(errors.error_max[element]),
            clip_rate=float(errors.clipped[element] / errors.count),
            bins_used=int(used[element]),
            bins_used_share=float(used[element] / errors.codec.bins),
            minimum=low,
            maximum=high,
            standard_deviation=float(moments.standard_deviation[element]),
            degenerate=bool(reason),
            reason=reason,
            histogram=tuple(errors.histogram[element].tolist()),
        )


def constancy_reason(modality: Continuous, element: int, low: float, high: float) -> str:
    """Return why an element with values in [low, high] is degenerate whatever the bins; "" if it is not.

    It is degenerate if it is constant ("constant, always 0.5"), or if high - low is at most a thousandth of the
    distance of its limits, or of its largest magnitude if a limit is missing.

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


def _single_bin_reason(errors: CodecErrors, element: int, span: float) -> str:
    """Return why an element is degenerate for lack of resolution; "" if it is not.

    Its values lie in one bin, or in two neighbouring bins with a span (maximum less minimum) that is smaller than the
    distance between the centres of these bins.
    """
    first, last = np.flatnonzero(errors.seen[element])[[0, -1]].tolist()
    if first == last:
        return "all values in one bin"
    centres = errors.codec.centres[min(element, len(errors.codec.centres) - 1)].astype(np.float64)
    if last == first + 1 and span < centres[last] - centres[first]:
        return f"varies by {span:.2g}, less than the bins are wide there"
    return ""


def describe_fit(codec: ImageCodec) -> str:
    """Return a sentence on how an image is resized, padded or cropped so that whole patches cover it.

    Sizes are height x width: "84 x 84 is padded by 12 rows below and 12 columns on the right, 6 x 6 patches".
    """
    (rows, columns), (height, width, _) = codec.grid, codec.modality.shape
    wanted = rows * codec.patch, columns * codec.patch
    into = f"{rows} x {columns} patches"
    if wanted == (height, width):
        return f"{height} x {width} is {into} as it is"
    match codec.modality.fit:
        case "resize":
            return f"{height} x {width} is resized to {wanted[0]} x {wanted[1]}, {into}"
        case "pad":
            below, right = wanted[0] - height, wanted[1] - width
            return f"{height} x {width} is padded by {below} rows below and {right} columns on the right, {into}"
    return f"{height} x {width} is cropped at the centre to {wanted[0]} x {wanted[1]}, {into}"
