"""Flash attention with scores by distance on NVIDIA GPUs, by Pallas's Triton backend.

Axes:
    B rows   T positions   N heads   H head size   S positions of a block
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton
from jax.extend.core import Primitive
from jax.interpreters import mlir
from jaxtyping import Array, Float, Int

from gato_jax.model.config import ComputeConfig
from gato_jax.model.kernels.flash import flash
from gato_jax.model.kernels.flash_kernels import Backend
from gato_jax.model.kernels.operands import KernelError, RelativePosition, on_each_device, operand_axes


def triton_flash(
    query: Float[Array, "B T N H"],
    keys: Float[Array, "B T N H"],
    values: Float[Array, "B T N H"],
    segment_ids: Int[Array, "B T"],
    relative: RelativePosition | None,
    compute: ComputeConfig,
    interpret: bool = False,
) -> Float[Array, "B T N H"]:
    """Compute attention in blocks of `compute.triton_block` positions; `interpret` runs the kernels on a CPU.

    Raises:
      KernelError: the head size is no power of two from 16 to 256.
    """
    size = query.shape[-1]
    if size not in (16, 32, 64, 128, 256):
        raise KernelError(
            f"compute.attention=triton: head_size is {size}, expected a power of two from 16 to 256. "
            "Set compute.attention=blockwise."
        )
    tile = compute.triton_block, compute.triton_warps, compute.triton_stages
    kernel = functools.partial(flash, _backend(*tile, interpret))
    in_axes, out_axes = operand_axes(relative)
    return on_each_device(kernel, in_axes, out_axes)(query, keys, values, segment_ids, relative)


@functools.cache
def _backend(block: int, warps: int, stages: int, interpret: bool) -> Backend:
    return Backend(
        block=block,
        heads_first=False,
        sequential=False,
        shear=functools.partial(_rotate, forward=True),
        unshear=functools.partial(_rotate, forward=False),
        row=lambda x: x.reshape(1, -1),
        column=lambda x: x.reshape(-1, 1),
        scalars=lambda x: pl.BlockSpec(x.shape, lambda *_: (0,) * x.ndim),
        compiler_params=triton.CompilerParams(num_warps=warps, num_stages=stages),
        interpret=interpret,
    )


def _rotate(x, zero, forward: bool):
    """Rotate line t of a tile of (S, S) by S - 1 - t columns to the left, or back."""
    size = x.shape[0]
    lines = jax.lax.broadcasted_iota(jnp.int32, (size, 1), 0) + zero
    columns = jax.lax.broadcasted_iota(jnp.int32, (1, size), 1)
    shift = size - 1 - lines if forward else lines + 1
    return _gather_p.bind(x, (jnp.broadcast_to(shift, x.shape) + jnp.broadcast_to(columns, x.shape)) & (size - 1))


# Pallas has no name for Triton's gather, which moves elements within the lines of a tile through shared memory.
_gather_p = Primitive("gather_in_lines")
_gather = functools.partial(jnp.take_along_axis, axis=1)
_gather_p.def_impl(_gather)
_gather_p.def_abstract_eval(lambda x, index: x)
mlir.register_lowering(_gather_p, mlir.lower_fun(_gather, multiple_results=False))


def _register_gather():
    from jax._src.lib.triton import dialect
    from jax._src.pallas.triton import lowering

    @lowering.register_lowering(_gather_p)
    def _(ctx, x, index):
        return dialect.gather(x, index, 1)


_register_gather()
