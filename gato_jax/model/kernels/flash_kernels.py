"""Kernels of flash attention with scores by distance, each for one block of one head of one row; see `flash`.

Axes:
    S positions of a block   H head size
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from gato_jax.model.kernels.operands import MASKED

_LOG2E = math.log2(math.e)


@dataclasses.dataclass(frozen=True)
class Backend:
    """Operations and layouts in which the kernels for GPUs and for TPUs differ.

    Attributes:
      block: positions S of a block.
      heads_first: True for arrays (B, N, T, H) in place of (B, T, N, H).
      sequential: True where the programs of one head run one after the other and may add to the same output.
      shear: function that returns out[t, s] = x[t, (s + S - 1 - t) mod S] of a tile x of (S, S).
      unshear: inverse of `shear`.
      row: function that turns (S, 1) into (1, S).
      column: function that turns (1, S) into (S, 1).
      scalars: function that returns the BlockSpec of a whole array of integers that are read one by one.
      compiler_params: parameters of `pallas_call`, without `dimension_semantics`.
      interpret: True to run the kernels on a CPU.
    """

    block: int
    heads_first: bool
    sequential: bool
    shear: Callable
    unshear: Callable
    row: Callable
    column: Callable
    scalars: Callable
    compiler_params: Any
    interpret: bool = False


class Program(NamedTuple):
    """Constants of a kernel and the steps that kernels share."""

    backend: Backend
    blocks: int
    scale: float
    has_distances: bool

    def slice(self, block):
        """Return the slice of the positions, or distances, of one block."""
        size = self.backend.block
        return pl.ds(pl.multiple_of(block * size, size), size)

    def compare(self, lines_from, columns_from):
        """Return lines_from + line >= columns_from + column for a tile; both are integers."""
        size = self.backend.block
        lines = jax.lax.broadcasted_iota(jnp.int32, (size, 1), 0) + lines_from
        columns = jax.lax.broadcasted_iota(jnp.int32, (1, size), 1) + columns_from
        return jnp.broadcast_to(lines, (size, size)) >= jnp.broadcast_to(columns, (size, size))

    def from_far(self, key_block):
        """Return True where an element of the unsheared tile has its score from `far`, False where from `near`."""
        size = self.backend.block
        lines = jax.lax.broadcasted_iota(jnp.int32, (size, 1), 0) + zero_of(key_block)
        columns = size - 1 - jax.lax.broadcasted_iota(jnp.int32, (1, size), 1)
        return jnp.broadcast_to(lines, (size, size)) >= jnp.broadcast_to(columns, (size, size))

    def scores(self, query, keys, far, near, allowed, key_block):
        """Return the masked scores of a pair of blocks, in units of log 2."""
        scores = _dot(query, keys, 1, 1)
        if self.has_distances:
            scores += self.backend.shear(jnp.where(self.from_far(key_block), far, near), zero_of(key_block))
        return jnp.where(allowed, scores * (self.scale * _LOG2E), MASKED)

    def allowed(self, query_block, key_block, query_segments, key_segments):
        """Return True where a query of one block may attend to a key of another; both segments are (1, S)."""
        size = (self.backend.block,) * 2
        causal = self.compare((query_block - key_block) * self.backend.block, 0)
        same = jnp.broadcast_to(self.backend.column(query_segments), size) == jnp.broadcast_to(key_segments, size)
        return causal & same


def forward_kernel(program, first_ref, segment_ref, segments_ref, query_ref, keys_ref, values_ref, *refs):
    """Compute the output of a block of queries and the logarithm, to base 2, of the sums of its softmax."""
    *relative, out_ref, normaliser_ref = refs
    row, block = pl.program_id(1), pl.program_id(2)
    first = first_ref[row, block]
    query, position_query, far = _read_queries(program, query_ref[...], relative, block, first)

    def attend(key_block, carry):
        sums, largest, total, far = carry
        near = _near(program, position_query, relative, block, key_block)
        allowed = program.allowed(block, key_block, segment_ref[...], segments_ref[key_block])
        scores = program.scores(query, keys_ref[program.slice(key_block), :], far, near, allowed, key_block)
        now = jnp.maximum(largest, scores.max(axis=1, keepdims=True))
        correction = jnp.exp2(largest - now)
        weights = jnp.exp2(scores - now)
        values = values_ref[program.slice(key_block), :]
        sums = sums * correction + _dot(weights.astype(values.dtype), values, 1, 0)
        return sums, now, total * correction + weights.sum(axis=1, keepdims=True), near

    lines = (program.backend.block, 1)
    start = jnp.zeros(query.shape, jnp.float32), jnp.full(lines, MASKED), jnp.zeros(lines, jnp.float32), far
    sums, largest, total, _ = jax.lax.fori_loop(first, block + 1, attend, start)
    out_ref[...] = (sums / total).astype(out_ref.dtype)
    normaliser_ref[...] = program.backend.row(largest + jnp.log2(total))


def queries_kernel(program, first_ref, segment_ref, segments_ref, query_ref, keys_ref, values_ref, *refs):
    """Compute the gradients of a block of queries, their sum, and those of the distances or of their scores."""
    count = 3 if program.has_distances else 0
    relative, (out_grad_ref, normaliser_ref, row_sum_ref, grad_ref, *relative_grads) = refs[:count], refs[count:]
    row, block = pl.program_id(1), pl.program_id(2)
    first, backend = first_ref[row, block], program.backend
    query, position_query, far = _read_queries(program, query_ref[...], relative, block, first)
    out_grad = out_grad_ref[...]
    normaliser, row_sum = backend.column(normaliser_ref[...]), backend.column(row_sum_ref[...])
    if program.has_distances:
        _clear_distances(program, relative_grads[1], first + program.blocks - 1 - block)

    def attend(key_block, carry):
        query_grad, far, near_grad, position_sum = carry
        near = _near(program, position_query, relative, block, key_block)
        allowed = program.allowed(block, key_block, segment_ref[...], segments_ref[key_block])
        keys = keys_ref[program.slice(key_block), :]
        weights = jnp.exp2(program.scores(query, keys, far, near, allowed, key_block) - normaliser)
        weights_grad = _dot(out_grad, values_ref[program.slice(key_block), :], 1, 1)
        scores_grad = weights * (weights_grad - row_sum) * program.scale
        query_grad += _dot(scores_grad.astype(keys.dtype), keys, 1, 0)
        if program.has_distances:
            tile, from_far = backend.unshear(scores_grad, zero_of(key_block)), program.from_far(key_block)
            distance = program.slice(program.blocks - 1 - block + key_block)
            far_grad = (near_grad + jnp.where(from_far, tile, 0.0)).astype(keys.dtype)
            position_grad = _dot(far_grad, relative[2][distance, :], 1, 0)
            query_grad += position_grad
            if backend.sequential:
                position_sum += position_grad.sum(axis=0, keepdims=True)
                relative_grads[1][distance, :] += _dot(far_grad, position_query, 0, 0)
            else:
                relative_grads[1][:, distance] = far_grad
            near_grad = jnp.where(from_far, 0.0, tile)
        return query_grad, near, near_grad, position_sum

    position_sum = jnp.zeros((1, query.shape[1]), jnp.float32)
    start = jnp.zeros(query.shape, jnp.float32), far, jnp.zeros_like(far), position_sum
    query_grad, *_, position_sum = jax.lax.fori_loop(first, block + 1, attend, start)
    grad_ref[...] = query_grad.astype(grad_ref.dtype)
    if program.has_distances:
        relative_grads[0][...] = query_grad.sum(axis=0, keepdims=True)
        if backend.sequential:
            relative_grads[2][...] = position_sum


def keys_kernel(program, last_ref, segment_ref, segments_ref, query_ref, keys_ref, values_ref, *refs):
    """Compute the gradients of a block of keys and of values."""
    count = 3 if program.has_distances else 0
    relative, (out_grad_ref, normaliser_ref, row_sum_ref, keys_grad_ref, values_grad_ref) = refs[:count], refs[count:]
    row, block = pl.program_id(1), pl.program_id(2)
    keys, values, backend = keys_ref[...], values_ref[...], program.backend

    def attend(query_block, carry):
        keys_grad, values_grad = carry
        queries = program.slice(query_block)
        query, position_query, far = _read_queries(program, query_ref[queries, :], relative, query_block, block)
        near = _near(program, position_query, relative, query_block, block)
        allowed = program.allowed(query_block, block, segments_ref[query_block], segment_ref[...])
        scores = program.scores(query, keys, far, near, allowed, query_block)
        weights = jnp.exp2(scores - backend.column(normaliser_ref[query_block]))
        out_grad = out_grad_ref[queries, :]
        values_grad += _dot(weights.astype(values.dtype), out_grad, 0, 0)
        weights_grad = _dot(out_grad, values, 1, 1)
        scores_grad = weights * (weights_grad - backend.column(row_sum_ref[query_block])) * program.scale
        return keys_grad + _dot(scores_grad.astype(keys.dtype), query, 0, 0), values_grad

    zeros = jnp.zeros(keys.shape, jnp.float32)
    keys_grad, values_grad = jax.lax.fori_loop(block, last_ref[row, block] + 1, attend, (zeros, zeros))
    keys_grad_ref[...] = keys_grad.astype(keys.dtype)
    values_grad_ref[...] = values_grad.astype(values.dtype)


def _read_queries(program, query, relative, query_block, key_block):
    """Return queries with the content bias and with the position bias, and `far` of a pair of blocks.

    Without distances, these are the queries, themselves again, and zeros.
    """
    if not program.has_distances:
        return query, query, jnp.zeros((1, 1), jnp.float32)
    content_bias_ref, position_bias_ref, distances_ref = relative
    position_query = add_bias(query, position_bias_ref[...])
    far = distances_ref[program.slice(program.blocks - 1 - query_block + key_block), :]
    return add_bias(query, content_bias_ref[...]), position_query, _dot(position_query, far, 1, 1)


def _near(program, position_query, relative, query_block, key_block):
    """Return `near` of a pair of blocks; on the diagonal it is never used, and any block will do."""
    if not program.has_distances:
        return jnp.zeros((1, 1), jnp.float32)
    distance = jnp.minimum(program.blocks - query_block + key_block, program.blocks - 1)
    return _dot(position_query, relative[2][program.slice(distance), :], 1, 1)


def _clear_distances(program, ref, used):
    """Write zeros where the loop over keys writes nothing: in the blocks before `used`, or on the first visit."""
    if program.backend.sequential:

        @pl.when((pl.program_id(1) == 0) & (pl.program_id(2) == 0))
        def _():
            ref[...] = jnp.zeros_like(ref)

        return
    zeros = jnp.zeros((program.backend.block,) * 2, ref.dtype)

    def clear(distance, _):
        ref[:, program.slice(distance)] = zeros
        return ()

    jax.lax.fori_loop(0, used, clear, ())


def zero_of(block):
    """Return zero in a form that the compiler takes for a new number in each iteration.

    Tiles of indices and of booleans that depend on it are made where they are used. Otherwise they would be made before
    the loop and fill the registers.
    """
    return jax.lax.shift_right_arithmetic(block, jnp.int32(31))


def add_bias(query, bias):
    """Return the sum of queries and a bias, computed in float32 and rounded once."""
    bias = jnp.broadcast_to(bias.astype(jnp.float32), query.shape)
    return (query.astype(jnp.float32) + bias).astype(query.dtype)


def _dot(a, b, a_axis: int, b_axis: int):
    """Return the product of two matrices over these axes, summed in float32; float32 operands are not rounded."""
    precision = jax.lax.Precision.HIGHEST if a.dtype == jnp.float32 else None
    return jax.lax.dot_general(
        a, b, (((a_axis,), (b_axis,)), ((), ())), precision=precision, preferred_element_type=jnp.float32
    )
