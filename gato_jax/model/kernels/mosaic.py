"""Flash attention with scores by distance on TPUs, by Pallas's Mosaic backend.

Axes:
    B rows   T positions   N heads   H head size   S positions of a block
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu
from jaxtyping import Array, Float, Int

from gato_jax.model.kernels.flash import flash
from gato_jax.model.kernels.flash_kernels import Backend
from gato_jax.model.kernels.operands import KernelError, RelativePosition, on_each_device, operand_axes

_BLOCK = 128


def mosaic_flash(
    query: Float[Array, "B T N H"],
    keys: Float[Array, "B T N H"],
    values: Float[Array, "B T N H"],
    segment_ids: Int[Array, "B T"],
    relative: RelativePosition | None,
    interpret: bool = False,
    block: int = _BLOCK,
) -> Float[Array, "B T N H"]:
    """Compute attention block by block; `interpret` runs the kernels on a CPU, `block` is the number of positions.

    Raises:
      KernelError: the head size is no multiple of 128.
    """
    size = query.shape[-1]
    if size % 128 and not interpret:
        raise KernelError(
            f"compute.attention=mosaic: head_size is {size}, expected a multiple of 128. "
            "Set compute.attention=blockwise."
        )
    kernel = functools.partial(flash, _backend(block, interpret))
    in_axes, out_axes = operand_axes(relative)
    return on_each_device(kernel, in_axes, out_axes)(query, keys, values, segment_ids, relative)


@functools.cache
def _backend(block: int, interpret: bool) -> Backend:
    return Backend(
        block=block,
        heads_first=True,
        sequential=True,
        shear=lambda x, zero: tpu.roll(x, 1, 1, stride=1, stride_axis=0),
        unshear=_unshear,
        row=lambda x: jnp.broadcast_to(x, (block, block)).T[:1],
        column=lambda x: jnp.broadcast_to(x, (block, block)).T[:, :1],
        scalars=lambda x: pl.BlockSpec(memory_space=tpu.SMEM),
        compiler_params=tpu.CompilerParams(dimension_semantics=("parallel", "arbitrary", "arbitrary")),
        interpret=interpret,
    )


def _unshear(x, _):
    """Rotate line t of a tile of (S, S) by t + 1 columns to the left, by powers of two: strides are never negative."""
    size = x.shape[0]
    turns = jax.lax.broadcasted_iota(jnp.int32, x.shape, 0) + 1
    for power in range(size.bit_length()):
        turned = tpu.roll(x, (size - 2**power) % size, 1)
        x = jnp.where((turns >> power) & 1 == 1, turned, x)
    return x
