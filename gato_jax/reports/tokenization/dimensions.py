"""Report entries of single dimensions: their errors, and the reason if the bins do not resolve them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gato_jax.reports.continuous import Moments
from gato_jax.reports.tokenization.accumulators import CodecErrors
from gato_jax.reports.tokenization.findings import Dimension
from gato_jax.tokenization import ImageCodec
from gato_jax.tokenization.columns import Column


def dimensions(column: Column, errors: CodecErrors, moments: Moments, reasons: Sequence[str]) -> Iterator[Dimension]:
    """Yield the report entry of each element of a continuous column.

    A dimension that varies is unresolved if its values lie in one bin, or in two neighbouring bins and closer together
    than the centres of these.

    Args:
      column: the column.
      errors: the errors of its codec, over at least one step.
      moments: the moments of its values.
      reasons: for each element why it is degenerate, see `degeneracy_reasons`.
    """
    used = errors.seen.sum(axis=1)
    for element in range(len(used)):
        low, high = float(moments.low[element]), float(moments.high[element])
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
            reason=reasons[element],
            unresolved="" if reasons[element] else _single_bin_reason(errors, element, high - low),
            histogram=tuple(errors.histogram[element].tolist()),
        )


def _single_bin_reason(errors: CodecErrors, element: int, span: float) -> str:
    """Return why the bins do not resolve an element; "" if they do.

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
