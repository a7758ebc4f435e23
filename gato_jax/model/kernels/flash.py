"""Flash attention in Pallas with scores by distance, for GPUs (Triton) and TPUs (Mosaic).

A row is cut into n blocks of S positions. For queries of block a and keys of block b, element (t, s) of the scores has
the distance d = (a - b) S + t - s, which lies in the blocks a - b and a - b - 1 of distances. The keys of distances
are in descending order, so with x = n - 1 - (a - b) these are the blocks x and x + 1 of them, and

    far = position_query . keys[x]     near = position_query . keys[x + 1]     score(t, s) += far(t, S - 1 - t + s) if
                                                                               s <= t else near(t, s - 1 - t)

Both cases are one rotation of each line t by S - 1 - t columns (`Backend.shear`) of a tile that is `far` where
t + column >= S - 1 and `near` elsewhere. The next block of keys has `near` as its `far`, so that each pair of blocks
costs one product of positions, and no score ever leaves the chip. The backward pass computes the scores again, as in
FlashAttention-2 (arXiv 2307.08691), once for the gradients of queries and distances and once for those of keys and
values. Blocks of other segments are skipped.

Axes:
    B rows   T positions   N heads   H head size   R distances   S positions of a block   n blocks
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jaxtyping import Array, Float, Int

from gato_jax.model.einsum import einsum_f32
from gato_jax.model.kernels.operands import MASKED, RelativePosition, name_saved

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


class _Rows(NamedTuple):
    """Packed rows, padded to whole blocks.

    Attributes:
      segments: segment of each position.
      first: for each block of queries, the first block of keys with a segment of it.
      last: for each block of keys, the last block of queries with a segment of it.
    """

    segments: Int[Array, "B n 1 S"]
    first: Int[Array, "B n"]
    last: Int[Array, "B n"]


def flash(
    backend: Backend,
    query: Float[Array, "B T N H"],
    keys: Float[Array, "B T N H"],
    values: Float[Array, "B T N H"],
    segment_ids: Int[Array, "B T"],
    relative: RelativePosition | None,
) -> Float[Array, "B T N H"]:
    """Compute attention on one device; arguments are those of `attend`."""
    length = query.shape[1]
    missing = -length % backend.block

    def pad(x):
        return jnp.pad(x, [(0, 0), (0, missing), (0, 0), (0, 0)]) if missing else x

    def order(x):
        return jnp.moveaxis(x, 2, 1) if backend.heads_first else x

    if relative is not None:
        padded = jnp.pad(relative.keys, [(0, 0), (missing, 0), (0, 0)]) if missing else relative.keys
        relative = RelativePosition(relative.content_bias[:, None], relative.position_bias[:, None], padded)
    operands = tuple(order(pad(x)) for x in (query, keys, values))
    out: Any = _flash(backend, *operands, _split_rows(segment_ids, missing, backend.block), relative)
    return order(out)[:, :length]


def _split_rows(segment_ids: Int[Array, "B T"], missing: int, block: int) -> _Rows:
    """Return the rows in blocks; `missing` positions are added as a segment of their own, -1."""
    segments = jnp.pad(segment_ids.astype(jnp.int32), [(0, 0), (0, missing)], constant_values=-1)
    rows, length = segments.shape
    position = jnp.arange(length, dtype=jnp.int32)[None]
    changes = segments[:, 1:] != segments[:, :-1]
    begins = jnp.pad(changes, [(0, 0), (1, 0)], constant_values=True)
    ends = jnp.pad(changes, [(0, 0), (0, 1)], constant_values=True)
    starts = jax.lax.cummax(jnp.where(begins, position, 0), axis=1)
    stops = jax.lax.cummin(jnp.where(ends, position, length), axis=1, reverse=True)
    first, last = starts[:, ::block] // block, stops[:, block - 1 :: block] // block
    return _Rows(segments.reshape(rows, length // block, 1, block), first, last)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _flash(backend, query, keys, values, rows, relative):
    return _forward(backend, query, keys, values, rows, relative)[0]


def _forward(backend, query, keys, values, rows, relative):
    specs = _Specs(backend, query.shape, relative)
    out, normaliser = specs.call(
        _forward_kernel,
        [rows.first, rows.segments, rows.segments, query, keys, values, *(relative or ())],
        [specs.scalars(rows.first), specs.segments, specs.all_segments, specs.block, specs.all, specs.all]
        + specs.relative,
        [(query.shape, query.dtype), (specs.lines_shape, jnp.float32)],
        [specs.block, specs.lines],
    )
    out, normaliser = name_saved(out), name_saved(normaliser)
    return out, (query, keys, values, rows, relative, out, normaliser)


def _backward(backend, residuals, out_grad):
    query, keys, values, rows, relative, out, normaliser = residuals
    specs = _Specs(backend, query.shape, relative)
    out_grad = out_grad.astype(query.dtype)
    # The softmax's gradient is weights * (weights_grad - row_sum), with row_sum = sum_j weights_j weights_grad_j.
    row_sum = (out_grad.astype(jnp.float32) * out.astype(jnp.float32)).sum(axis=-1)
    row_sum = (row_sum if backend.heads_first else jnp.swapaxes(row_sum, 1, 2)).reshape(specs.lines_shape)
    given = [query, keys, values, *(relative or ()), out_grad, normaliser, row_sum]
    keys_grad, values_grad = specs.call(
        _keys_kernel,
        [rows.last, rows.segments, rows.segments, *given],
        [specs.scalars(rows.last), specs.segments, specs.all_segments, specs.all, specs.block, specs.block]
        + specs.relative
        + [specs.all, specs.all_lines, specs.all_lines],
        [(keys.shape, keys.dtype), (values.shape, values.dtype)],
        [specs.block, specs.block],
    )
    query_grad, *rest = specs.call(
        _queries_kernel,
        [rows.first, rows.segments, rows.segments, *given],
        [specs.scalars(rows.first), specs.segments, specs.all_segments, specs.block, specs.all, specs.all]
        + specs.relative
        + [specs.block, specs.lines, specs.lines],
        [(query.shape, query.dtype), *specs.distances_shapes(query.dtype)],
        [specs.block, *specs.distances],
    )
    relative_grad = None
    if relative is not None:
        # A query's gradient is the sum of that for keys and that for distances, which are those of the two biases.
        both, distances_grad, *position_bias_grad = rest
        if backend.sequential:
            position_bias_grad = position_bias_grad[0].sum(axis=(0, 2))
        else:  # The kernel returned the gradients of the scores by distance.
            scores_grad = distances_grad
            position_query = _add_bias(query, relative.position_bias[:, 0][None, None])
            distances_grad = einsum_f32("BNTR,BTNH->NRH", scores_grad, position_query)
            sums = scores_grad.sum(axis=(0, 2), dtype=jnp.float32)[:, None]
            position_bias_grad = jnp.einsum("NTR,NRH->NTH", sums, relative.keys.astype(jnp.float32))
        grads = RelativePosition(both.sum(axis=(0, 2)) - position_bias_grad, position_bias_grad, distances_grad)
        relative_grad = jax.tree.map(lambda grad, x: grad.astype(x.dtype), grads, relative)
    return query_grad, keys_grad, values_grad, None, relative_grad


_flash.defvjp(_forward, _backward)


class _Specs:
    """Grid and BlockSpecs of the kernels; a program has one block of one head of one row."""

    def __init__(self, backend: Backend, shape, relative: RelativePosition | None):
        self.backend = backend
        if backend.heads_first:
            self.rows, self.heads, self.length, self.size = shape
        else:
            self.rows, self.length, self.heads, self.size = shape
        self.blocks = self.length // backend.block
        self.has_distances = relative is not None
        self.scalars = backend.scalars
        block = backend.block
        self.block = self._operand(block, lambda b, n, a: (b, n, a))
        self.all = self._operand(self.length, lambda b, n, a: (b, n, 0))
        self.segments = self._spec((None, None, 1, block), lambda b, n, a: (b, a, 0, 0))
        self.all_segments = self._spec((None, self.blocks, 1, block), lambda b, n, a: (b, 0, 0, 0))
        self.lines_shape = (self.rows, self.heads, self.blocks, 1, block)
        self.lines = self._spec((None, None, None, 1, block), lambda b, n, a: (b, n, a, 0, 0))
        self.all_lines = self._spec((None, None, self.blocks, 1, block), lambda b, n, a: (b, n, 0, 0, 0))
        self.bias_shape = (self.rows, self.heads, self.blocks, 1, self.size)
        self.bias = self._spec((None, None, None, 1, self.size), lambda b, n, a: (b, n, a, 0, 0))
        by_head = self._spec((None, 1, self.size), lambda b, n, a: (n, 0, 0))
        self._keys = self._spec((None, self.length, self.size), lambda b, n, a: (n, 0, 0))
        self.relative = [by_head, by_head, self._keys] if self.has_distances else []
        self.distances = []
        if self.has_distances:
            scores = self._spec((None, None, block, self.length), lambda b, n, a: (b, n, a, 0))
            self.distances = [self.bias, self._keys, self.bias] if backend.sequential else [self.bias, scores]

    def distances_shapes(self, dtype):
        """Return shapes and dtypes of what `_queries_kernel` returns for the gradients of `RelativePosition`.

        These are the sum of a block's gradients of queries, then with a sequential backend the gradients of the keys
        of distances and of the position bias, otherwise those of the scores by distance.
        """
        if not self.has_distances:
            return []
        bias = self.bias_shape, jnp.float32
        if self.backend.sequential:
            return [bias, ((self.heads, self.length, self.size), jnp.float32), bias]
        return [bias, ((self.rows, self.heads, self.length, self.length), dtype)]

    def call(self, kernel, arrays, in_specs, shapes, out_specs):
        """Run a kernel on all blocks and return its outputs."""
        kernel = functools.partial(kernel, _Program(self.backend, self.blocks, self.size**-0.5, self.has_distances))
        return pl.pallas_call(
            kernel,
            grid=(self.heads, self.rows, self.blocks),
            in_specs=in_specs,
            out_specs=out_specs,
            out_shape=[jax.ShapeDtypeStruct(*shape) for shape in shapes],
            compiler_params=self.backend.compiler_params,
            interpret=self.backend.interpret,
        )(*arrays)

    def _operand(self, positions: int, index):
        if self.backend.heads_first:
            return self._spec((None, None, positions, self.size), lambda b, n, a: (*index(b, n, a), 0))
        order = lambda b, n, a: (b, a, n, 0)  # noqa: E731
        return self._spec((None, positions, None, self.size), lambda b, n, a: order(*index(b, n, a)))

    def _spec(self, shape, index):
        return pl.BlockSpec(shape, lambda n, b, a: index(b, n, a))


class _Program(NamedTuple):
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


def _forward_kernel(program, first_ref, segment_ref, segments_ref, query_ref, keys_ref, values_ref, *refs):
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


def _queries_kernel(program, first_ref, segment_ref, segments_ref, query_ref, keys_ref, values_ref, *refs):
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


def _keys_kernel(program, last_ref, segment_ref, segments_ref, query_ref, keys_ref, values_ref, *refs):
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
    position_query = _add_bias(query, position_bias_ref[...])
    far = distances_ref[program.slice(program.blocks - 1 - query_block + key_block), :]
    return _add_bias(query, content_bias_ref[...]), position_query, _dot(position_query, far, 1, 1)


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


def _add_bias(query, bias):
    """Return the sum of queries and a bias, computed in float32 and rounded once."""
    bias = jnp.broadcast_to(bias.astype(jnp.float32), query.shape)
    return (query.astype(jnp.float32) + bias).astype(query.dtype)


def _dot(a, b, a_axis: int, b_axis: int):
    """Return the product of two matrices over these axes, summed in float32; float32 operands are not rounded."""
    precision = jax.lax.Precision.HIGHEST if a.dtype == jnp.float32 else None
    return jax.lax.dot_general(
        a, b, (((a_axis,), (b_axis,)), ((), ())), precision=precision, preferred_element_type=jnp.float32
    )
