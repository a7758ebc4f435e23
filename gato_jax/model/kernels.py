"""Ways to compute attention over packed rows, by name. Each gives the same numbers; one that cannot run raises.

    out_i = sum_j softmax_j(score(i, j)) v_j        over keys j <= i of the same segment

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
from gato_jax.model.products import product

MASKED = np.float32(-1e9)
_BLOCK = {"cpu": 128}  # queries at a time; elsewhere 256: fewer blocks are less to compile
_PLATFORM = {"cudnn": "gpu", "splash": "tpu"}


class KernelError(RuntimeError):
    """A named kernel that cannot run here; the message says what would."""


class RelativePosition(NamedTuple):
    """What relative attention adds to the scores: position_query_i . r_{i-j}, distances in descending order."""

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
    """Causal attention within segments, of a query that is already scaled.

    Raises:
      KernelError: the kernel is for another platform, or for shapes other than these.
    """
    if kernel == "dense":
        scores = _scores((query, keys, relative), segment_ids, segment_ids, 0)
        return product("BNTS,BNSH->BNTH", jax.nn.softmax(scores), values).astype(values.dtype)
    if kernel == "blockwise":
        return _blockwise((query, keys, relative), values, segment_ids)
    require_platform(kernel)
    return {"cudnn": _cudnn, "splash": _splash}[kernel](query, keys, values, segment_ids)


def require_platform(kernel: str):
    """Refuses a fused kernel on a machine, or for a topology, that is not its own."""
    if (needed := _PLATFORM.get(kernel)) not in (None, platform()):
        raise KernelError(
            f"compute.attention={kernel} runs on {needed} only, this is {platform()}; set it to blockwise"
        )


def _scores(operands, query_segments, key_segments, start: int) -> Float[Array, "B N T S"]:
    """Masked scores in float32 of queries `start`, start + 1, ... of a row, to keys 0, 1, ..."""
    query, keys, relative = operands
    scores = product("BNTH,BNSH->BNTS", query, keys)
    if relative is not None:
        scores += shift_to_keys(product("BNTH,NRH->BNTR", relative.query, relative.keys))
    queries, positions = (jnp.arange(scores.shape[axis]) for axis in (-2, -1))
    causal = start + queries[:, None] >= positions[None]
    allowed = (query_segments[:, :, None] == key_segments[:, None, :]) & causal[None]
    return jnp.where(allowed[:, None], scores, MASKED)


def shift_to_keys(by_distance: Float[Array, "B N T S"]) -> Float[Array, "B N T S"]:
    """From columns by descending distance S-1, ..., 0 to columns by key, for the last T of S positions.

    The pad-and-reshape of Transformer-XL: query i = S-T+t finds key j at distance i-j, in column j+T-1-t. What lands
    where j > i is void.
    """
    *lead, queries, keys = by_distance.shape
    padded = jnp.pad(by_distance, [(0, 0)] * (len(lead) + 1) + [(1, 0)])
    return padded.reshape(*lead, keys + 1, queries)[..., 1:, :].reshape(by_distance.shape)


@jax.custom_vjp
def _blockwise(operands, values, segment_ids):
    """Block by block of queries, each with the keys up to its end: half of the work, and never all scores at once.

    The backward pass computes each block's scores again, from which and the kept normaliser all gradients follow
    (FlashAttention, arXiv 2205.14135, written for a compiler instead of one chip).
    """
    return _blockwise_forward(operands, values, segment_ids)[0]


def _blockwise_forward(operands, values, segment_ids):
    mixed, normalisers = [], []
    for block in _blocks(values.shape[2]):
        scores = _block_scores(operands, segment_ids, block)
        largest = scores.max(axis=-1, keepdims=True)
        weights = jnp.exp(scores - largest)
        total = weights.sum(axis=-1, keepdims=True)
        sums = product("BNTS,BNSH->BNTH", weights, values[:, :, : block.stop])
        mixed.append((sums / total).astype(values.dtype))
        normalisers.append(largest + jnp.log(total))
    out = _joined(mixed)
    return out, (operands, values, segment_ids, out, _joined(normalisers))


def _blockwise_backward(saved, out_gradient):
    operands, values, segment_ids, out, normaliser = saved
    along = (out_gradient * out).astype(jnp.float32).sum(axis=-1, keepdims=True)
    query, keys, relative = operands
    length, dtype = values.shape[2], values.dtype
    query_gradient, position_gradient = [], []
    # Summed up with positions last: a CPU makes these products three times as fast as with positions before H.
    key_gradient, value_gradient, distance_gradient = jnp.float32(0), jnp.float32(0), jnp.float32(0)
    for block in _blocks(length):
        rows, seen, later = slice(block.start, block.stop), slice(0, block.stop), length - block.stop
        arrived = out_gradient[:, :, rows]
        weights = jnp.exp(_block_scores(operands, segment_ids, block) - normaliser[:, :, rows])
        of_values = product("BNTH,BNTS->BNHS", arrived, weights.astype(dtype))
        value_gradient += _padded(of_values, after=later)
        to_weights = product("BNTH,BNSH->BNTS", arrived, values[:, :, seen])
        to_scores = (weights * (to_weights - along[:, :, rows])).astype(dtype)
        query_gradient.append(product("BNTS,BNSH->BNTH", to_scores, keys[:, :, seen]))
        of_keys = product("BNTH,BNTS->BNHS", query[:, :, rows], to_scores)
        key_gradient += _padded(of_keys, after=later)
        if relative is not None:  # the nearest distances are the last
            (to_distance,) = jax.linear_transpose(shift_to_keys, to_scores)(to_scores)
            position_gradient.append(product("BNTR,NRH->BNTH", to_distance, relative.keys[:, -block.stop :]))
            at_distance = product("BNTH,BNTR->NHR", relative.query[:, :, rows], to_distance)
            distance_gradient += _padded(at_distance, before=later)
    to_relative = None
    if relative is not None:
        to_relative = RelativePosition(_joined(position_gradient), jnp.swapaxes(distance_gradient, -1, -2))
    to_keys, to_values = (jnp.swapaxes(gradient, -1, -2) for gradient in (key_gradient, value_gradient))
    gradients = (_joined(query_gradient), to_keys, to_relative), to_values
    return *jax.tree.map(lambda g, x: g.astype(x.dtype), gradients, (operands, values)), None


def _padded(x, *, before: int = 0, after: int = 0):
    """With zeros at the other positions, or distances, of the last axis."""
    return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(before, after)])


def _joined(blocks):
    return jnp.concatenate(blocks, axis=2)


_blockwise.defvjp(_blockwise_forward, _blockwise_backward)


def _blocks(length: int) -> list[range]:
    queries = _BLOCK.get(platform(), 256)
    return [range(start, min(start + queries, length)) for start in range(0, length, queries)]


def _block_scores(operands, segment_ids, block: range):
    """Scores of the queries of a block to the keys up to its end."""
    query, keys, relative = operands
    rows, seen = slice(block.start, block.stop), slice(0, block.stop)
    if relative is not None:  # the nearest distances are the last
        relative = RelativePosition(relative.query[:, :, rows], relative.keys[:, -block.stop :])
    operands = query[:, :, rows], keys[:, :, seen], relative
    return _scores(operands, segment_ids[:, rows], segment_ids[:, seen], block.start)


def _cudnn(query, keys, values, segment_ids):
    """CuDNN's flash attention, by way of JAX; segments are a mask, causality is known to the kernel."""
    same_segment = segment_ids[:, None, :, None] == segment_ids[:, None, None, :]
    operands = (jnp.moveaxis(x, 1, 2) for x in (query, keys, values))
    mixed = jax.nn.dot_product_attention(
        *operands, mask=same_segment, is_causal=True, scale=1.0, implementation="cudnn"
    )
    return jnp.moveaxis(mixed, 2, 1)


def _splash(query, keys, values, segment_ids, interpret: bool = False):
    """The TPU's own flash attention in Pallas, each device with its rows and heads."""
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernel
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

    length, size = query.shape[2:]
    if length % 128 or size % 64:
        raise KernelError(
            f"compute.attention=splash wants a context in multiples of 128 and heads of 64, got {length} and {size}; "
            "set it to blockwise"
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
    spread = jax.shard_map(on_one_device, in_specs=(heads, heads, heads, rows), out_specs=heads, check_vma=False)
    return spread(query, keys, values, segment_ids)
