"""cuDNN's flash attention for packed rows, on NVIDIA GPUs, without scores by distance.

Axes:
    B rows   T positions   N heads   H head size   M segments of a row
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax._src.cudnn import fused_attention_stablehlo as fused  # sequence offsets have no public name
from jaxtyping import Array, Float, Int

from gato_jax.model.config import ComputeConfig
from gato_jax.model.kernels.operands import BY_ROW_AND_HEAD, KernelError, on_each_device


class RowSegments(NamedTuple):
    """Segments of packed rows in the form that cuDNN reads; entries beyond the segments of a row are -1.

    Attributes:
      starts: first position of each segment; the last entry is never a segment.
      lengths: number of positions of each segment.
      fits: False for a row with more than M segments.
    """

    starts: Int[Array, "B M+1"]
    lengths: Int[Array, "B M"]
    fits: Array


def cudnn(
    query: Float[Array, "B T N H"],
    keys: Float[Array, "B T N H"],
    values: Float[Array, "B T N H"],
    segment_ids: Int[Array, "B T"],
    row_segments: int,
) -> Float[Array, "B T N H"]:
    """Compute attention from the offsets of the segments of each row; no array of (T, T) exists.

    Padding, of segment 0, that follows a segment attends to it too, which has no effect on other positions. The result
    of a row with more segments than `row_segments` is NaN. With `row_segments` of 1, rows are not packed, and plain
    causal attention is computed.

    Raises:
      KernelError: the GPU is older than Hopper and rows are packed.
    """

    def on_one_device(query, keys, values, segment_ids):
        segments = find_segments(segment_ids, row_segments)
        query = jnp.where(segments.fits[:, None, None, None], query, jnp.nan)
        packing = {}
        if row_segments > 1:
            starts, lengths = segments.starts, segments.lengths
            packing = {"q_offsets": starts, "kv_offsets": starts, "q_seqlen": lengths, "kv_seqlen": lengths}
        mask = fused.MaskType.PADDING_CAUSAL if packing else fused.MaskType.CAUSAL
        scale = query.shape[-1] ** -0.5
        try:
            return fused.dot_product_attention(query, keys, values, scale=scale, mask_type=mask, **packing)
        except NotImplementedError as error:
            raise KernelError(f"compute.attention=cudnn: {error} Set it to cudnn_mask.") from error

    arrays = (BY_ROW_AND_HEAD,) * 3
    return on_each_device(on_one_device, (*arrays, ("batch", None)), BY_ROW_AND_HEAD)(query, keys, values, segment_ids)


def require_room(compute: ComputeConfig, segment_ids: Int[np.ndarray, "B T"]):
    """Raise KernelError if `compute.attention` is `cudnn` and a row has more segments than `compute.row_segments`."""
    if compute.attention != "cudnn" or compute.row_segments >= segment_ids.shape[1]:
        return
    begins = (segment_ids[:, 1:] != segment_ids[:, :-1]) & (segment_ids[:, 1:] != 0)
    if (most := 1 + int(begins.sum(axis=1).max())) > compute.row_segments:
        raise KernelError(
            f"compute.attention=cudnn: a row has {most} segments, compute.row_segments is {compute.row_segments}. "
            f"Set compute.row_segments={most} or more, or compute.attention=cudnn_mask."
        )


def find_segments(segment_ids: Int[Array, "B T"], row_segments: int) -> RowSegments:
    """Return the first `row_segments` segments of each row; padding, of segment 0, belongs to the segment before it."""
    length = segment_ids.shape[1]
    changes = (segment_ids[:, 1:] != segment_ids[:, :-1]) & (segment_ids[:, 1:] != 0)
    begins = jnp.pad(changes, [(0, 0), (1, 0)], constant_values=True)
    position = jnp.sort(jnp.where(begins, jnp.arange(length), length), axis=1)
    position = jnp.pad(position, [(0, 0), (0, row_segments + 1)], constant_values=length)[:, : row_segments + 1]
    starts, stops = position[:, :-1], position[:, 1:]
    lengths = jnp.where(starts < length, stops - starts, -1)
    starts = jnp.pad(jnp.where(starts < length, starts, -1), [(0, 0), (0, 1)], constant_values=-1)
    return RowSegments(starts.astype(jnp.int32), lengths.astype(jnp.int32), stops[:, -1] == length)


def cudnn_mask(
    query: Float[Array, "B T N H"],
    keys: Float[Array, "B T N H"],
    values: Float[Array, "B T N H"],
    segment_ids: Int[Array, "B T"],
) -> Float[Array, "B T N H"]:
    """Compute attention with a mask of (T, T) for each row, for any number of segments and for GPUs before Hopper."""
    same_segment = segment_ids[:, None, :, None] == segment_ids[:, None, None, :]
    return jax.nn.dot_product_attention(query, keys, values, mask=same_segment, is_causal=True, implementation="cudnn")
