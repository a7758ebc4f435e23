"""Attention by XLA alone: on whole rows, or one block of queries after the other; both run on any platform.

Axes:
    B rows   T queries   S keys   N heads   H head size   R distances
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gato_jax.model.axes import platform
from gato_jax.model.einsum import add_bias, einsum_f32
from gato_jax.model.kernels.operands import MASKED, RelativePosition, name_saved

_BLOCK_SIZE = {"cpu": 128}  # queries of a block; 256 elsewhere, as fewer blocks compile sooner


class _Distances(NamedTuple):
    """Queries and keys of the scores by distance, query_i . keys_{i-j}.

    Attributes:
      query: scaled queries for distances, with their own bias added.
      keys: keys of the distances R - 1, ..., 0, in this descending order, which are rounded to the dtype of `query`.
    """

    query: Float[Array, "B N T H"]
    keys: Float[Array, "N R H"]


def dense(
    query: Float[Array, "B T N H"],
    keys: Float[Array, "B T N H"],
    values: Float[Array, "B T N H"],
    segment_ids: Int[Array, "B T"],
    relative: RelativePosition | None,
) -> Float[Array, "B T N H"]:
    """Compute attention with all scores in memory, the definition that other kernels are compared with."""
    *operands, values = _heads_first(query, keys, values, relative)
    scores = _scores(operands, segment_ids, segment_ids, 0)
    out = einsum_f32("BNTS,BNSH->BNTH", jax.nn.softmax(scores), values).astype(values.dtype)
    return name_saved(jnp.moveaxis(out, 1, 2))


def blockwise(
    query: Float[Array, "B T N H"],
    keys: Float[Array, "B T N H"],
    values: Float[Array, "B T N H"],
    segment_ids: Int[Array, "B T"],
    relative: RelativePosition | None,
) -> Float[Array, "B T N H"]:
    """Compute attention one block of queries at a time (see `_blockwise`)."""
    *operands, values = _heads_first(query, keys, values, relative)
    return jnp.moveaxis(_blockwise(tuple(operands), values, segment_ids), 1, 2)


def _heads_first(query, keys, values, relative: RelativePosition | None):
    """Return scaled queries, keys, queries and keys of distances (None without them), and values, as (B, N, T, H)."""
    query, keys, values = (jnp.moveaxis(x, 2, 1) for x in (query, keys, values))
    scale = jnp.asarray(query.shape[-1] ** -0.5, query.dtype)
    if relative is None:
        return query * scale, keys, None, values
    for_keys, for_distances = (add_bias(query, bias[:, None]) * scale for bias in relative[:2])
    return for_keys, keys, _Distances(for_distances, relative.keys), values


def _scores(operands, query_segments, key_segments, start: int) -> Float[Array, "B N T S"]:
    """Return the masked float32 scores of queries start, start + 1, ... of each row to its keys 0, 1, ...

    Scores of keys that are later or in another segment are -1e9. `operands` are queries, keys and distances, as
    `_heads_first` returns them; `query_segments` (B, T) and `key_segments` (B, S) are their segments.
    """
    query, keys, distances = operands
    scores = einsum_f32("BNTH,BNSH->BNTS", query, keys)
    if distances is not None:
        rounded = distances.keys.astype(query.dtype)
        scores += shift_to_keys(_times_keys("BNTH,NRH->BNTR", distances.query, rounded))
    queries, positions = (jnp.arange(scores.shape[axis]) for axis in (-2, -1))
    causal = start + queries[:, None] >= positions[None]
    allowed = (query_segments[:, :, None] == key_segments[:, None, :]) & causal[None]
    return jnp.where(allowed[:, None], scores, MASKED)


def _times_keys(axes: str, a: Float[Array, "B N T _"], keys: Float[Array, "N R H"]) -> Float[Array, "B N T _"]:
    """Return `einsum_f32` of an array and keys of distances, which the rows share.

    On a CPU, each row has a copy of the keys: of a product in which rows are no batch, XLA transposes the result.
    """
    if platform() == "cpu":
        axes, keys = axes.replace(",N", ",BN"), jnp.broadcast_to(keys[None], (len(a), *keys.shape))
    return einsum_f32(axes, a, keys)


def shift_to_keys(by_distance: Float[Array, "B N T S"]) -> Float[Array, "B N T S"]:
    """Move scores from columns by descending distance, S-1, ..., 0, to columns by key, for the last T of S positions.

    This is the pad-and-reshape of Transformer-XL (arXiv 1901.02860, appendix B): query i = S-T+t finds key j at
    distance i-j, in column j+T-1-t. Entries with j > i are meaningless and must be masked.
    """
    *lead, queries, keys = by_distance.shape
    padded = jnp.pad(by_distance, [(0, 0)] * (len(lead) + 1) + [(1, 0)])
    return padded.reshape(*lead, keys + 1, queries)[..., 1:, :].reshape(by_distance.shape)


@jax.custom_vjp
def _blockwise(operands, values, segment_ids):
    """Compute attention one block of queries at a time, each with the keys up to the block's end.

    That is half of the work of `dense`, and the scores of one block are all that is held. The backward pass computes
    the scores of each block again and derives all gradients from them and from the normalisers that the forward pass
    kept, as in FlashAttention (arXiv 2205.14135). `operands` are queries, keys and distances, as `_heads_first` returns
    them.
    """
    return _blockwise_forward(operands, values, segment_ids)[0]


def _blockwise_forward(operands, values, segment_ids):
    outputs, normalisers = [], []
    for block in _blocks(values.shape[2]):
        scores = _block_scores(operands, segment_ids, block)
        largest = scores.max(axis=-1, keepdims=True)
        weights = jnp.exp(scores - largest)
        total = weights.sum(axis=-1, keepdims=True)
        sums = einsum_f32("BNTS,BNSH->BNTH", weights, values[:, :, : block.stop])
        outputs.append((sums / total).astype(values.dtype))
        normalisers.append(largest + jnp.log(total))
    out = _concatenate_blocks(outputs)
    out, normaliser = name_saved(out), name_saved(_concatenate_blocks(normalisers))
    return out, (operands, values, segment_ids, out, normaliser)


def _blockwise_backward(residuals, out_grad):
    operands, values, segment_ids, out, normaliser = residuals
    query, keys, distances = operands
    length, dtype = values.shape[2], values.dtype
    # The softmax's gradient is weights * (weights_grad - row_sum), with row_sum = sum_j weights_j weights_grad_j, which
    # is also sum_h out_grad_h out_h. With `out` rounded to 16 bits, that is too rough: the gradients of a row no longer
    # add up to 0, and those of position_bias and relative, small differences of large terms, are a tenth off.
    row_sum = (out_grad * out).sum(axis=-1, keepdims=True) if dtype == jnp.float32 else None
    query_grads, position_query_grads = [], []
    # These are summed with positions last, (..., H, S): a CPU makes these products three times as fast as (..., S, H).
    keys_grad, values_grad, distances_grad = jnp.float32(0), jnp.float32(0), jnp.float32(0)
    for block in _blocks(length):
        rows, seen, later = slice(block.start, block.stop), slice(0, block.stop), length - block.stop
        block_grad = out_grad[:, :, rows]
        weights = jnp.exp(_block_scores(operands, segment_ids, block) - normaliser[:, :, rows])
        block_values_grad = einsum_f32("BNTH,BNTS->BNHS", block_grad, weights.astype(dtype))
        values_grad += _pad_last_axis(block_values_grad, after=later)
        weights_grad = einsum_f32("BNTH,BNSH->BNTS", block_grad, values[:, :, seen])
        if row_sum is None:
            block_row_sum = (weights * weights_grad).sum(axis=-1, keepdims=True)
        else:
            block_row_sum = row_sum[:, :, rows]
        scores_grad = (weights * (weights_grad - block_row_sum)).astype(dtype)
        query_grads.append(einsum_f32("BNTS,BNSH->BNTH", scores_grad, keys[:, :, seen]))
        block_keys_grad = einsum_f32("BNTH,BNTS->BNHS", query[:, :, rows], scores_grad)
        keys_grad += _pad_last_axis(block_keys_grad, after=later)
        if distances is not None:  # The nearest distances are the last keys of `distances`.
            (by_distance_grad,) = jax.linear_transpose(shift_to_keys, scores_grad)(scores_grad)
            near_keys = distances.keys[:, -block.stop :].astype(dtype)
            position_query_grads.append(_times_keys("BNTR,NRH->BNTH", by_distance_grad, near_keys))
            block_distances_grad = einsum_f32("BNTH,BNTR->NHR", distances.query[:, :, rows], by_distance_grad)
            distances_grad += _pad_last_axis(block_distances_grad, before=later)
    distances_grads = None
    if distances is not None:
        distances_grads = _Distances(_concatenate_blocks(position_query_grads), jnp.swapaxes(distances_grad, -1, -2))
    keys_grad, values_grad = (jnp.swapaxes(grad, -1, -2) for grad in (keys_grad, values_grad))
    grads = (_concatenate_blocks(query_grads), keys_grad, distances_grads), values_grad
    return *jax.tree.map(lambda grad, x: grad.astype(x.dtype), grads, (operands, values)), None


def _pad_last_axis(x, *, before: int = 0, after: int = 0):
    return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(before, after)])


def _concatenate_blocks(blocks):
    return jnp.concatenate(blocks, axis=2)


_blockwise.defvjp(_blockwise_forward, _blockwise_backward)


def _blocks(length: int) -> list[range]:
    size = _BLOCK_SIZE.get(platform(), 256)
    return [range(start, min(start + size, length)) for start in range(0, length, size)]


def _block_scores(operands, segment_ids, block: range):
    """Return the masked float32 scores (B, N, T, S) of the T queries of a block to the S keys up to its end.

    `operands` are those of whole rows, as `_heads_first` returns them; `block` is the range of query positions.
    """
    query, keys, distances = operands
    rows, seen = slice(block.start, block.stop), slice(0, block.stop)
    if distances is not None:  # The nearest distances are the last keys of `distances`.
        distances = _Distances(distances.query[:, :, rows], distances.keys[:, -block.stop :])
    operands = query[:, :, rows], keys[:, :, seen], distances
    return _scores(operands, segment_ids[:, rows], segment_ids[:, seen], block.start)
