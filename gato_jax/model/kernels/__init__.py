"""Implementations of attention over packed rows, by name.

    out_i = sum_j softmax_j(score(i, j)) v_j        over keys j <= i of the same segment

All of them return the same numbers up to rounding. One that cannot run on a platform raises an error.

Axes:
    B rows   T queries   S keys   N heads   H head size   R distances
"""

from __future__ import annotations

from jaxtyping import Array, Float, Int

from gato_jax.model.config import ComputeConfig
from gato_jax.model.kernels.blockwise import blockwise, dense
from gato_jax.model.kernels.cudnn import cudnn, cudnn_mask, require_room
from gato_jax.model.kernels.operands import MASKED, KernelError, RelativePosition, require_platform, save_attention
from gato_jax.model.kernels.splash import splash

__all__ = ["MASKED", "KernelError", "RelativePosition", "attend", "require_platform", "require_room", "save_attention"]


def attend(
    compute: ComputeConfig,
    query: Float[Array, "B T N H"],
    keys: Float[Array, "B T N H"],
    values: Float[Array, "B T N H"],
    segment_ids: Int[Array, "B T"],
    relative: RelativePosition | None = None,
) -> Float[Array, "B T N H"]:
    """Compute causal attention within segments, with scores divided by sqrt(H).

    Args:
      compute: settings of the computation: `attention` names the kernel, `row_segments` limits `cudnn`.
      query: queries, not scaled.
      keys: keys of the same positions.
      values: values of the same positions.
      segment_ids: segment of each position; equal numbers are next to each other.
      relative: scores by distance to add; kernels that are for rope ignore it. None to add none.

    Raises:
      KernelError: the kernel is for another platform or for other shapes.
    """
    require_platform(compute.attention)
    match compute.attention:
        case "dense":
            return dense(query, keys, values, segment_ids, relative)
        case "blockwise":
            return blockwise(query, keys, values, segment_ids, relative)
        case "cudnn":
            return cudnn(query, keys, values, segment_ids, compute.row_segments)
        case "cudnn_mask":
            return cudnn_mask(query, keys, values, segment_ids)
        case "splash":
            return splash(query, keys, values, segment_ids)
