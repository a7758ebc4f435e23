"""Loss of a training step in float64, transcribed from the paper's formulas with no code of the package's model.

`tests/model/reference.py` has the same formulas as loops over positions. Here whole arrays are added up, so that
batches of thousands of positions take seconds, and JAX differentiates them. Call it within `jax.enable_x64`.
"""

import jax
import jax.numpy as jnp
import numpy as np


def normalise(p, x):
    centred = x - x.mean(-1, keepdims=True)
    return centred / jnp.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * p["scale"] + p["bias"]


def group_norm(p, x, groups=32):
    grouped = x.reshape(len(x), -1, groups, x.shape[-1] // groups)
    centred = grouped - grouped.mean((1, 3), keepdims=True)
    scaled = centred / jnp.sqrt((centred**2).mean((1, 3), keepdims=True) + 1e-6)
    return scaled.reshape(x.shape) * p["scale"] + p["bias"]


def gelu(x):
    return x / 2 * (1 + jnp.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def conv(p, images, stride=1):
    """Convolve by a sum over the places of the kernel."""
    side = p["kernel"].shape[0]
    pad = (side - stride) // 2
    images = jnp.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    size = (images.shape[1] - side) // stride + 1
    ends = [slice(at, at + (size - 1) * stride + 1, stride) for at in range(side)]
    return p["bias"] + sum(images[:, ends[i], ends[j]] @ p["kernel"][i, j] for i in range(side) for j in range(side))


def patch_block(p, patches, stride):
    x = conv(p["stem"], (patches / 127.5 - 1) / 4, stride)
    y = conv(p["conv_1"], gelu(group_norm(p["norm_1"], x)))
    y = conv(p["conv_2"], gelu(group_norm(p["norm_2"], y)))
    return (x + y).reshape(len(patches), -1) @ p["out"] + p["out_bias"]


def attention(p, x, segments):
    length, width = x.shape[1:]
    size = p["query"].shape[-1]
    q, k, v = (jnp.einsum("btd,dnh->bnth", x, p[name]) for name in ("query", "key", "value"))
    distance = np.arange(length)[:, None] - np.arange(length)
    if "relative" in p:
        angles = np.arange(length)[:, None] / 10_000 ** (np.arange(0, width, 2) / width)
        r = jnp.einsum("rd,dnh->nrh", np.concatenate([np.sin(angles), np.cos(angles)], 1), p["relative"])
        by_distance = jnp.einsum("bnth,nrh->bntr", q + p["position_bias"][:, None], r)
        index = np.broadcast_to(np.maximum(distance, 0), by_distance.shape)
        scores = jnp.einsum("bnth,bnsh->bnts", q + p["content_bias"][:, None], k)
        scores += jnp.take_along_axis(by_distance, index, -1)
    else:
        turn = np.exp(1j * np.arange(length)[:, None] * 10_000.0 ** -(np.arange(size // 2) / (size // 2)))
        q, k = (turn * (z[..., : size // 2] + 1j * z[..., size // 2 :]) for z in (q, k))
        scores = jnp.einsum("bnth,bnsh->bnts", q, k.conj()).real
    allowed = (segments[:, :, None] == segments[:, None, :]) & (distance >= 0)
    weights = jax.nn.softmax(jnp.where(allowed[:, None], scores / np.sqrt(size), -np.inf))
    return jnp.einsum("bnts,bnsh,nhd->btd", weights, v, p["out"]) + p["out_bias"]


def feed_forward(p, x):
    value, gate = (x @ p["hidden"][:, half] + p["hidden_bias"][half] for half in range(2))
    return (value * gelu(gate)) @ p["out"] + p["out_bias"]


def embed(p, batch, stride):
    """Embed a batch of one pool; each patch is at the low end of its intervals."""
    rows, length = batch.token_ids.shape
    vectors = p["tokens"][batch.token_ids].reshape(rows * length, -1)
    intervals, patches = batch.patch_intervals[0], batch.patches[0].astype(np.float64)
    embedded = patch_block(p["patch"], patches, stride) + p["row"][intervals[:, 0]] + p["column"][intervals[:, 2]]
    vectors = vectors.at[batch.patch_slots[0]].set(embedded, mode="drop")  # padding is beyond the last position
    return vectors.reshape(rows, length, -1) + p["local"][batch.local_position]


def loss(p, batch, stride, vocabulary, row_weights):
    """Return the weighted mean of the cross-entropies of the targets, of nested dicts of float64 params."""
    x = embed(p["embedding"], batch, stride)
    for number in sorted(p["blocks"]):
        block = p["blocks"][number]
        x += attention(block["attention"], normalise(block["attention_norm"], x), batch.segment_ids)
        x += feed_forward(block["feed_forward"], normalise(block["feed_forward_norm"], x))
    logits = normalise(p["norm"], x)[:, :-1] @ p["embedding"]["tokens"][:vocabulary].T
    hit = batch.target_ids[:, 1:, None] == np.arange(vocabulary)
    losses = -(jax.nn.log_softmax(logits) * hit).sum(-1)
    counted = batch.loss_mask[:, 1:] & (batch.segment_ids[:, 1:] == batch.segment_ids[:, :-1])
    weights = counted * row_weights[:, None]
    return (losses * weights).sum() / weights.sum()
