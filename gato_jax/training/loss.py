"""The masked cross-entropy (paper, section 2.3): L = - sum_b sum_l m(b, l) log p(s_l | s_<l).

Only targets reach the head, and of them no more than a chunk at a time: the logits of a whole batch are never held.

Axes:
    B rows   T positions   G pools of B/G rows   K targets of a pool   D width   V vocabulary
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from gato_jax.batching import Batch
from gato_jax.model import Gato, constrain, einsum_f32


class Targets(NamedTuple):
    """The targets of each pool. `rows` are those of the batch; places beyond a pool's last target have weight 0."""

    predictors: Int[Array, "G K"]
    ids: Int[Array, "G K"]
    weights: Float[Array, "G K"]
    rows: Int[Array, "G K"]


def target_mask(batch: Batch) -> Bool[Array, "B T"]:
    """Targets that have a predecessor in their own segment; the first token of a segment has nothing to follow from."""
    follows = batch.segment_ids[:, 1:] == batch.segment_ids[:, :-1]
    return jnp.pad(batch.loss_mask[:, 1:] & follows, ((0, 0), (1, 0)))


def find_targets(batch: Batch, row_weights: Float[Array, " B"], budget: int) -> Targets:
    """At most `budget` targets of each pool, with the weight of their row."""
    rows, length = batch.token_ids.shape
    pools = batch.patch_slots.shape[0]
    mask = target_mask(batch).reshape(pools, -1)
    (position,) = jax.vmap(lambda found: jnp.nonzero(found, size=budget, fill_value=0))(mask)
    real = jnp.arange(budget)[None] < mask.sum(axis=1, keepdims=True)
    row = position // length + jnp.arange(pools)[:, None] * (rows // pools)
    ids = jnp.take_along_axis(batch.target_ids.reshape(pools, -1), position, axis=1)
    weights = jnp.where(real, row_weights[row], jnp.float32(0))
    return Targets(jnp.maximum(position - 1, 0), ids, weights, row)


def cross_entropy(
    model: Gato, hidden: Float[Array, "B T D"], targets: Targets, chunk: int
) -> tuple[Float[Array, ""], Float[Array, "G K"]]:
    """The weighted sum of the targets' cross-entropies, in nats, and each of them; gradients are of the sum alone."""
    pools, budget = targets.ids.shape
    chunk = min(chunk, budget)
    pooled = constrain(hidden.reshape(pools, -1, hidden.shape[-1]), "batch", None, None)
    predictors = jax.vmap(lambda vectors, index: vectors[index])(pooled, targets.predictors)

    def chunked(x):
        padded = jnp.pad(x, ((0, 0), (0, -budget % chunk), *((0, 0),) * (x.ndim - 2)))
        return jnp.moveaxis(padded.reshape(pools, -1, chunk, *x.shape[2:]), 1, 0)

    table = constrain(model.embedding.tokens[...], "vocabulary", None)
    chunks = (chunked(x) for x in (predictors, targets.ids, targets.weights))
    total, losses = cast(Any, _chunked_cross_entropy)(model.vocabulary_size, table, *chunks)
    return total, jnp.moveaxis(losses, 0, 1).reshape(pools, -1)[:, :budget]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _chunked_cross_entropy(vocabulary: int, table, predictors, ids, weights):
    """Over (C, G, K) chunks, pools and targets. Its gradient is made on the way, while a chunk's logits are at hand."""

    def one(total, chunk):
        losses, _ = _losses(vocabulary, table, *chunk[:2])
        return total + (losses * chunk[2]).sum(), losses

    return jax.lax.scan(one, jnp.float32(0), (predictors, ids, weights))


def _forward(vocabulary: int, table, predictors, ids, weights):
    def one(carry, chunk):
        total, table_gradient = carry
        vectors, chunk_ids, chunk_weights = chunk
        losses, probabilities = _losses(vocabulary, table, vectors, chunk_ids)
        hit = jnp.arange(len(table), dtype=jnp.int32)[None, None] == chunk_ids[..., None]
        gradient = (probabilities - hit.astype(jnp.float32)) * chunk_weights[..., None]
        table_gradient += einsum_f32("GKV,GKD->GVD", gradient, vectors)
        to_vectors = einsum_f32("GKV,VD->GKD", gradient, table).astype(table.dtype)
        return (total + (losses * chunk_weights).sum(), table_gradient), (losses, to_vectors)

    # Each pool sums up its own: they are added over devices once, not once a chunk.
    none_yet = constrain(jnp.zeros((ids.shape[1], *table.shape), jnp.float32), "batch", "vocabulary", None)
    start = (jnp.float32(0), none_yet)
    (total, table_gradient), (losses, gradients) = jax.lax.scan(one, start, (predictors, ids, weights))
    return (total, losses), (table_gradient.sum(axis=0).astype(table.dtype), gradients)


def _backward(vocabulary: int, saved, arrived):
    table_gradient, gradients = saved
    scale = arrived[0].astype(table_gradient.dtype)
    return table_gradient * scale, gradients * scale, None, None


_chunked_cross_entropy.defvjp(_forward, _backward)


def _losses(vocabulary: int, table, vectors, ids) -> tuple[Float[Array, "G K"], Float[Array, "G K V"]]:
    """Cross-entropies and, for their gradients, probabilities; ids beyond the vocabulary only fill the table."""
    logits = einsum_f32("GKD,VD->GKV", vectors, table)
    logits = jnp.where((jnp.arange(len(table)) < vocabulary)[None, None], logits, -jnp.inf)
    largest = logits.max(axis=-1, keepdims=True)
    weights = jnp.exp(logits - largest)
    total = weights.sum(axis=-1, keepdims=True)
    of_target = jnp.take_along_axis(logits, ids[..., None], axis=-1)
    return (largest + jnp.log(total) - of_target)[..., 0], weights / total


def by_dataset(
    losses: Float[Array, "G K"], targets: Targets, dataset_ids: Int[Array, " B"], datasets: int
) -> tuple[Float[Array, " datasets"], Float[Array, " datasets"]]:
    """Sum of losses and number of targets of each dataset."""
    real = (targets.weights > 0).astype(jnp.float32)
    member = jax.nn.one_hot(dataset_ids[targets.rows], datasets, dtype=jnp.float32) * real[..., None]
    return jnp.einsum("GK,GKd->d", losses, member), member.sum(axis=(0, 1))
