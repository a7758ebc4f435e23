"""Implementations of attention over packed rows, by name.

    out_i = sum_j softmax_j(score(i, j)) v_j        over keys j <= i of the same segment

All of them return the same numbers up to rounding. One that cannot run on a platform raises an error.

Axes:
    B rows   T queries   S keys   N heads   H head size   R distances
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gato_jax.model.axes import mesh_axes, platform
from gato_jax.model.einsum import einsum_f32

MASKED = np.float32(-1e9)  # score of a key that a query may not attend to
_BLOCK_SIZE = {"cpu": 128}  # queries of a block; 256 elsewhere, as fewer blocks compile sooner
_PLATFORM = {"cudnn": "gpu", "splash": "tpu"}


class KernelError(RuntimeError):
    """An attention kernel that cannot run on this platform or for these shapes; the message names one that can."""


class RelativePosition(NamedTuple):
    """Queries and keys of the scores that relative attention adds, query_i . keys_{i-j}.

    Attributes:
      query: scaled queries for distances, with their own bias added.
      keys: keys of the distances R - 1, ..., 0, in this descending order, the reverse of `Attention.relative_keys`.
        They are rounded to the dtype of `query`. Their gradient, a sum over all rows, has their own dtype.
    """

    query: Float[Array, "B N T H"]
    keys: Float[Array, "N R H"]


def attend(
    kernel: str,
    query: Float[Array, "B N T H"],
    keys: Float[Array, "B N T H"],
    values: Float[Array, "B N T H"],
    segment_ids: Int[Array, "B T"],
    relative: RelativePosition | None = None,
) -> Float[Array, "B N T H"]:
    """Compute causal attention within segments.

    Args:
      kernel: `dense`, `blockwise`, `cudnn` or `splash`; see `ComputeConfig.attention`.
      query: queries, already scaled by 1 / sqrt(H).
      keys: keys of the same positions.
      values: values of the same positions.
      segment_ids: segment of each position.
      relative: scores by distance to add; `cudnn` and `splash` ignore it. None to add none.

    Raises:
      KernelError: the kernel is for another platform or for other shapes.
      KeyError: there is no such kernel.
    """
    if kernel == "dense":
        scores = _scores(_round_relative_keys((query, keys, relative)), segment_ids, segment_ids, 0)
        return einsum_f32("BNTS,BNSH->BNTH", jax.nn.softmax(scores), values).astype(values.dtype)
    if kernel == "blockwise":
        return _blockwise((query, keys, relative), values, segment_ids)
    require_platform(kernel)
    return {"cudnn": _cudnn, "splash": _splash}[kernel](query, keys, values, segment_ids)


def _round_relative_keys(operands):
    query, keys, relative = operands
    if relative is not None:
        relative = relative._replace(keys=relative.keys.astype(query.dtype))
    return query, keys, relative


def require_platform(kernel: str):
    """Raise KernelError unless the kernel runs on the platform (see `platform`); `dense` and `blockwise` run on all."""
    if (needed := _PLATFORM.get(kernel)) not in (None, platform()):
        raise KernelError(
            f"compute.attention={kernel} runs on {needed} only, this is {platform()}; set it to blockwise"
        )


def _scores(operands, query_segments, key_segments, start: int) -> Float[Array, "B N T S"]:
    """Return the masked float32 scores of queries start, start + 1, ... of each row to its keys 0, 1, ...

    Scores of keys that are later or in another segment are -1e9. `operands` are query, keys and relative, as in
    `attend`; `query_segments` (B, T) and `key_segments` (B, S) are the segments of queries and keys.
    """
    query, keys, relative = operands
    scores = einsum_f32("BNTH,BNSH->BNTS", query, keys)
    if relative is not None:
        scores += shift_to_keys(einsum_f32("BNTH,NRH->BNTR", relative.query, relative.keys))
    queries, positions = (jnp.arange(scores.shape[axis]) for axis in (-2, -1))
    causal = start + queries[:, None] >= positions[None]
    allowed = (query_segments[:, :, None] == key_segments[:, None, :]) & causal[None]
    return jnp.where(allowed[:, None], scores, MASKED)


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
    kept, as in FlashAttention (arXiv 2205.14135). `operands` are query, keys and relative, as in `attend`, whose result
    this returns.
    """
    return _blockwise_forward(operands, values, segment_ids)[0]


def _blockwise_forward(operands, values, segment_ids):
    outputs, normalisers = [], []
    for block in _blocks(values.shape[2]):
        scores = _block_scores(_round_relative_keys(operands), segment_ids, block)
        largest = scores.max(axis=-1, keepdims=True)
        weights = jnp.exp(scores - largest)
        total = weights.sum(axis=-1, keepdims=True)
        sums = einsum_f32("BNTS,BNSH->BNTH", weights, values[:, :, : block.stop])
        outputs.append((sums / total).astype(values.dtype))
        normalisers.append(largest + jnp.log(total))
    out = _concatenate_blocks(outputs)
    return out, (operands, values, segment_ids, out, _concatenate_blocks(normalisers))


def _blockwise_backward(residuals, out_grad):
    operands, values, segment_ids, out, normaliser = residuals
    given, operands = operands, _round_relative_keys(operands)
    query, keys, relative = operands
    length, dtype = values.shape[2], values.dtype
    # The softmax's gradient is weights * (weights_grad - row_sum), with row_sum = sum_j weights_j weights_grad_j, which
    # is also sum_h out_grad_h out_h. With `out` rounded to 16 bits, that is too rough: the gradients of a row no longer
    # add up to 0, and those of position_bias and relative, small differences of large terms, are a tenth off.
    row_sum = None
    if dtype == jnp.float32:
        row_sum = (out_grad * out).sum(axis=-1, keepdims=True)
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
        if relative is not None:  # The nearest distances are the last keys of `relative`.
            (by_distance_grad,) = jax.linear_transpose(shift_to_keys, scores_grad)(scores_grad)
            position_query_grads.append(einsum_f32("BNTR,NRH->BNTH", by_distance_grad, relative.keys[:, -block.stop :]))
            block_distances_grad = einsum_f32("BNTH,BNTR->NHR", relative.query[:, :, rows], by_distance_grad)
            distances_grad += _pad_last_axis(block_distances_grad, before=later)
    relative_grad = None
    if relative is not None:
        relative_grad = RelativePosition(
            _concatenate_blocks(position_query_grads), jnp.swapaxes(distances_grad, -1, -2)
        )
    keys_grad, values_grad = (jnp.swapaxes(grad, -1, -2) for grad in (keys_grad, values_grad))
    grads = (_concatenate_blocks(query_grads), keys_grad, relative_grad), values_grad
    return *jax.tree.map(lambda grad, x: grad.astype(x.dtype), grads, (given, values)), None


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

    `operands` are query, keys and relative of whole rows, as in `attend`; `block` is the range of query positions.
    """
    query, keys, relative = operands
    rows, seen = slice(block.start, block.stop), slice(0, block.stop)
    if relative is not None:  # The nearest distances are the last keys of `relative`.
        relative = RelativePosition(relative.query[:, :, rows], relative.keys[:, -block.stop :])
    operands = query[:, :, rows], keys[:, :, seen], relative
    return _scores(operands, segment_ids[:, rows], segment_ids[:, seen], block.start)


def _cudnn(query, keys, values, segment_ids):
    """Call cuDNN's flash attention through JAX, with the arrays of `attend`; operands must be of 16 bits."""
    same_segment = segment_ids[:, None, :, None] == segment_ids[:, None, None, :]
    operands = (jnp.moveaxis(x, 1, 2) for x in (query, keys, values))
    out = jax.nn.dot_product_attention(*operands, mask=same_segment, is_causal=True, scale=1.0, implementation="cudnn")
    return jnp.moveaxis(out, 2, 1)


def _splash(query, keys, values, segment_ids, interpret: bool = False):
    """Call the Pallas flash attention of TPUs on each device's rows and heads, with the arrays of `attend`.

    `interpret` runs it on a CPU.

    Raises:
      KernelError: the context is no multiple of 128, or the head size no multiple of 64.
    """
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernel
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

    length, size = query.shape[2:]
    if length % 128 or size % 64:
        raise KernelError(
            f"compute.attention=splash: context is {length} and head_size {size}, expected multiples of 128 and of 64. "
            "Set compute.attention=blockwise."
        )

    def on_one_device(query, keys, values, segment_ids):
        causal = masks.MultiHeadMask([masks.CausalMask((length, length))] * query.shape[1])
        attention = kernel.make_splash_mha(causal, head_shards=1, q_seq_shards=1, interpret=interpret)
        return jax.vmap(lambda q, k, v, s: attention(q, k, v, kernel.SegmentIds(s, s)))(
            query, keys, values, segment_ids
        )

    if jax.sharding.get_abstract_mesh().empty:
        return on_one_device(query, keys, values, segment_ids)
    heads, rows = mesh_axes("batch", "heads", None, None), mesh_axes("batch", None)
    sharded = jax.shard_map(on_one_device, in_specs=(heads, heads, heads, rows), out_specs=heads, check_vma=False)
    return sharded(query, keys, values, segment_ids)
