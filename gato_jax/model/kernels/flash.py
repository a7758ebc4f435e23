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

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jaxtyping import Array, Float, Int

from gato_jax.model.einsum import einsum_f32
from gato_jax.model.kernels.flash_kernels import (
    Backend,
    Program,
    add_bias,
    forward_kernel,
    keys_kernel,
    queries_kernel,
)
from gato_jax.model.kernels.operands import RelativePosition, name_saved


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
        forward_kernel,
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
        keys_kernel,
        [rows.last, rows.segments, rows.segments, *given],
        [specs.scalars(rows.last), specs.segments, specs.all_segments, specs.all, specs.block, specs.block]
        + specs.relative
        + [specs.all, specs.all_lines, specs.all_lines],
        [(keys.shape, keys.dtype), (values.shape, values.dtype)],
        [specs.block, specs.block],
    )
    query_grad, *rest = specs.call(
        queries_kernel,
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
            position_query = add_bias(query, relative.position_bias[:, 0][None, None])
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
        """Return shapes and dtypes of what `queries_kernel` returns for the gradients of `RelativePosition`.

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
        kernel = functools.partial(kernel, Program(self.backend, self.blocks, self.size**-0.5, self.has_distances))
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
