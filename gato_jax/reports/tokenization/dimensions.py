"""From sums to what is said of one dimension, of one image, and whether a dimension says anything at all."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from gato_jax.episodes import Continuous
from gato_jax.reports.tokenization.accumulators import CodecErrors, Moments
from gato_jax.reports.tokenization.findings import Dimension
from gato_jax.tokenization import ImageCodec
from gato_jax.tokenization.columns import Column

NARROWEST = 1e-3  # of the limits, or without limits of the largest magnitude


def dimensions(column: Column, errors: CodecErrors, moments: Moments) -> Iterator[Dimension]:
    """Every element of a continuous column; at least one step was added.

    A dimension is degenerate if it is constant, if it varies by at most a thousandth of its limits (of its largest
    magnitude where it has none), or if it varies by less than one bin.
    """
    used = errors.seen.sum(axis=1)
    for element in range(len(used)):
        low, high = float(moments.low[element]), float(moments.high[element])
        reason = hardly_varies(errors.codec.modality, element, low, high) or _within_a_bin(errors, element, high - low)
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


def hardly_varies(modality: Continuous, element: int, low: float, high: float) -> str:
    """Why an element that lies in [low, high] says next to nothing, whatever the bins; empty where it varies."""
    if low == high:
        return f"constant, always {low:.4g}"
    limits = [float(limit[element]) for limit in modality.limits]
    bounded = all(map(math.isfinite, limits))
    scale = limits[1] - limits[0] if bounded else max(abs(low), abs(high))
    if high - low <= NARROWEST * scale:
        return f"varies by {high - low:.2g}, at most {NARROWEST} of its {'limits' if bounded else 'magnitude'}"
    return ""


def _within_a_bin(errors: CodecErrors, element: int, span: float) -> str:
    """Why the tokens of a dimension say next to nothing: an edge between two bins may run through its values."""
    first, last = np.flatnonzero(errors.seen[element])[[0, -1]].tolist()
    if first == last:
        return "all values in one bin"
    centres = errors.codec.centres[min(element, len(errors.codec.centres) - 1)].astype(np.float64)
    if last == first + 1 and span < centres[last] - centres[first]:
        return f"varies by {span:.2g}, less than the bins are wide there"
    return ""


def fit_in_words(codec: ImageCodec) -> str:
    """What happens to an image so that whole patches cover it."""
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
