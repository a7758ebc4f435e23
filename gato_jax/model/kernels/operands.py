"""Operands that kernels share, the platforms that kernels are for, and the rules of placement and of saving.

Axes:
    B rows   T positions   N heads   H head size   R distances
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from gato_jax.model.axes import mesh_axes, platform

MASKED = np.float32(-1e9)  # score of a key that a query may not attend to
BY_ROW_AND_HEAD = ("batch", None, "heads", None)  # axes of queries, keys, values and outputs, (B, T, N, H)
SAVED = "attention"  # name of what `save_attention` keeps
_PLATFORM = {
    "cudnn": "gpu",
    "cudnn_mask": "gpu",
    "cudnn_bias": "gpu",
    "splash": "tpu",
    "triton": "gpu",
    "mosaic": "tpu",
}


class KernelError(RuntimeError):
    """An attention kernel that cannot run on this platform or for these shapes; the message names one that can."""


class RelativePosition(NamedTuple):
    """Params of relative scores, (query_i + content_bias) . key_j + (query_i + position_bias) . r_{i-j}.

    Attributes:
      content_bias: bias of queries for keys.
      position_bias: bias of queries for distances.
      keys: keys r of the distances R - 1, ..., 0, in this descending order, with R the number of positions of a row.
        They are rounded to the dtype of the queries.

    All three are float32 in training, and so are their gradients, which are sums over all rows.
    """

    content_bias: Float[Array, "N H"]
    position_bias: Float[Array, "N H"]
    keys: Float[Array, "N R H"]


def require_platform(kernel: str):
    """Raise KernelError unless the kernel runs on the platform (see `platform`); `dense` and `blockwise` run on all."""
    if (needed := _PLATFORM.get(kernel)) not in (None, platform()):
        raise KernelError(
            f"compute.attention={kernel} runs on {needed} only, this is {platform()}; set it to blockwise"
        )


def name_saved(x: Array) -> Array:
    """Return `x`, named for `save_attention`."""
    return checkpoint_name(x, SAVED)


def save_attention(primitive, *_, **params) -> bool:
    """Return True for what the backward pass of a kernel needs besides its operands, as a policy of `jax.checkpoint`.

    It keeps outputs and normalisers. cuDNN's are not named; its primitive is recognised instead.
    """
    return params.get("name") == SAVED or primitive.name.startswith("dot_product_attention_fwd")


def on_each_device(kernel: Callable, in_axes, out_axes) -> Callable:
    """Return `kernel`, run on the rows and heads of each device if a mesh is set.

    Args:
      kernel: function of arrays that computes each row and head alone.
      in_axes: logical names of the axes of each argument, as for `mesh_axes`.
      out_axes: logical names of the axes of the result.
    """
    if jax.sharding.get_abstract_mesh().empty:
        return kernel
    is_names = lambda x: isinstance(x, tuple) and all(name is None or isinstance(name, str) for name in x)  # noqa: E731
    in_specs, out_specs = (
        jax.tree.map(lambda names: mesh_axes(*names), axes, is_leaf=is_names) for axes in (in_axes, out_axes)
    )
    return jax.shard_map(kernel, in_specs=in_specs, out_specs=out_specs, check_vma=False)


def operand_axes(relative: RelativePosition | None):
    """Return (logical axes of query, keys, values, segment_ids and relative, those of the output) for a kernel."""
    by_head: Any = ("heads", None)
    by_distance: Any = ("heads", None, None)
    distances = None if relative is None else RelativePosition(by_head, by_head, by_distance)
    return (BY_ROW_AND_HEAD, BY_ROW_AND_HEAD, BY_ROW_AND_HEAD, ("batch", None), distances), BY_ROW_AND_HEAD
