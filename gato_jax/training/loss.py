"""The masked cross-entropy (paper, section 2.3): L = - sum_b sum_l m(b, l) log p(s_l | s_<l).

Only targets reach the head, one chunk of them at a time, so the logits of a whole batch are never in memory.

Axes:
    B rows   T positions   G pools of B/G rows   K targets of a pool   D width   V vocabulary

A pool is the rows of one device in one microbatch.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from gato_jax.batching import Batch
from gato_jax.model import Gato, constrain, einsum_f32
from gato_jax.model.axes import platform

_CPU_CHUNK, _NARROW = 128, 256  # 17 MB of logits with the paper's vocabulary; the width up to which they cost the most


class Targets(NamedTuple):
    """The targets of each of G pools, padded to a budget of K.

    Attributes:
      predictors: Index, in the flattened positions of the pool's rows, whose hidden vector predicts the target.
      ids: Token to predict; any token at padding.
      weights: Weight of the target in the loss; 0 at padding.
      rows: Row of the whole batch, not of the pool, that holds the target.
    """

    predictors: Int[Array, "G K"]
    ids: Int[Array, "G K"]
    weights: Float[Array, "G K"]
    rows: Int[Array, "G K"]


def target_mask(batch: Batch) -> Bool[Array, "B T"]:
    """Return the mask of the targets that are predicted: `loss_mask`, without the first token of each segment.

    That token has no predecessor in its own segment to predict it from.
    """
    follows = batch.segment_ids[:, 1:] == batch.segment_ids[:, :-1]
    return jnp.pad(batch.loss_mask[:, 1:] & follows, ((0, 0), (1, 0)))


def find_targets(batch: Batch, row_weights: Float[Array, " B"], budget: int) -> Targets:
    """Return the targets of each pool, in the order of positions, each with the weight of its row; 0 at padding.

    Args:
      batch: A batch of B rows.
      row_weights: Weight of each row's targets in the loss.
      budget: Number K of targets of a pool; those beyond it are dropped without an error.
    """
    rows, length = batch.token_ids.shape
    pools = batch.patch_slots.shape[0]
    mask = target_mask(batch).reshape(pools, -1)
    (position,) = jax.vmap(lambda pool_mask: jnp.nonzero(pool_mask, size=budget, fill_value=0))(mask)
    real = jnp.arange(budget)[None] < mask.sum(axis=1, keepdims=True)
    row = position // length + jnp.arange(pools)[:, None] * (rows // pools)
    ids = jnp.take_along_axis(batch.target_ids.reshape(pools, -1), position, axis=1)
    weights = jnp.where(real, row_weights[row], jnp.float32(0))
    return Targets(jnp.maximum(position - 1, 0), ids, weights, row)


def cross_entropy(
    model: Gato, hidden: Float[Array, "B T D"], targets: Targets, chunk: int
) -> tuple[Float[Array, ""], Float[Array, "G K"]]:
    """Return the weighted sum of the cross-entropies of all targets, in nats, and the unweighted one of each.

    At padding, the unweighted one is meaningless. Gradients flow through the sum only.

    Args:
      model: The model, whose token table is the head.
      hidden: Output of the transformer.
      targets: The targets of each pool.
      chunk: Number of targets of each pool whose logits are in memory at a time.
    """
    pools, budget = targets.ids.shape
    chunk = min(_fitting_chunk(chunk, hidden.shape[-1]), budget)
    pooled = constrain(hidden.reshape(pools, -1, hidden.shape[-1]), "batch", None, None)
    # Gathered as float32, so that the gradient is scattered in float32: padding shares an index.
    predictors = jax.vmap(lambda vectors, index: vectors[index])(pooled.astype(jnp.float32), targets.predictors)
    predictors = predictors.astype(hidden.dtype)

    def split_into_chunks(x):
        """Split (G, K, ...) into (C, G, chunk, ...), with zeros after the last target."""
        padded = jnp.pad(x, ((0, 0), (0, -budget % chunk), *((0, 0),) * (x.ndim - 2)))
        return jnp.moveaxis(padded.reshape(pools, -1, chunk, *x.shape[2:]), 1, 0)

    table = constrain(model.embedding.tokens[...], "vocabulary", None)
    chunks = (split_into_chunks(x) for x in (predictors, targets.ids, targets.weights))
    total, losses = cast(Any, _chunked_cross_entropy)(model.vocabulary_size, table, *chunks)
    return total, jnp.moveaxis(losses, 0, 1).reshape(pools, -1)[:, :budget]


def _fitting_chunk(chunk: int, width: int) -> int:
    """Return the number of targets of a chunk: `chunk`, or on a CPU fewer, so that their logits stay in its cache.

    Each chunk reads and writes the gradient of the token table, which costs more than that in a wide model.
    """
    return min(chunk, _CPU_CHUNK) if platform() == "cpu" and width <= _NARROW else chunk


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _chunked_cross_entropy(vocabulary: int, table, predictors, ids, weights):
    """Return the weighted sum of all losses, a scalar, and the unweighted losses (C, G, K).

    There are C chunks of K targets of each of G pools; K is the size of a chunk here. Gradients flow through the sum
    only.

    `ids` and `weights` are (C, G, K) too. `vocabulary` is the number of rows of `table` (V, D) that are not padding,
    `predictors` (C, G, K, D) are the hidden vectors, to whose dtype the table is rounded.

    The gradient is computed in the forward pass, while the logits of a chunk are in memory.
    """
    rounded = table.astype(predictors.dtype)

    def add_chunk(total, chunk):
        losses, _ = _losses(vocabulary, rounded, *chunk[:2])
        return total + (losses * chunk[2]).sum(), losses

    return jax.lax.scan(add_chunk, jnp.float32(0), (predictors, ids, weights))


def _forward(vocabulary: int, table, predictors, ids, weights):
    rounded = table.astype(predictors.dtype)

    def add_chunk(carry, chunk):
        total, table_gradient = carry
        vectors, chunk_ids, chunk_weights = chunk
        losses, probabilities = _losses(vocabulary, rounded, vectors, chunk_ids)
        hit = jnp.arange(len(table), dtype=jnp.int32)[None, None] == chunk_ids[..., None]
        gradient = (probabilities - hit.astype(jnp.float32)) * chunk_weights[..., None]
        table_gradient += einsum_f32("GKV,GKD->GVD", gradient, vectors)
        to_vectors = einsum_f32("GKV,VD->GKD", gradient, rounded).astype(rounded.dtype)
        return (total + (losses * chunk_weights).sum(), table_gradient), (losses, to_vectors)

    # Each pool has a sum of its own, so sums are added over devices once and not for each chunk.
    zeros = constrain(jnp.zeros((ids.shape[1], *table.shape), jnp.float32), "batch", "vocabulary", None)
    start = (jnp.float32(0), zeros)
    (total, table_gradient), (losses, gradients) = jax.lax.scan(add_chunk, start, (predictors, ids, weights))
    return (total, losses), (table_gradient.sum(axis=0).astype(table.dtype), gradients)


def _backward(vocabulary: int, residuals, cotangents):
    table_gradient, gradients = residuals
    scale = cotangents[0]
    return table_gradient * scale.astype(table_gradient.dtype), gradients * scale.astype(gradients.dtype), None, None


_chunked_cross_entropy.defvjp(_forward, _backward)


def _losses(vocabulary: int, table, vectors, ids) -> tuple[Float[Array, "G K"], Float[Array, "G K V"]]:
    """Return the cross-entropies of one chunk, in nats, and the probabilities of all tokens for their gradients.

    `table` is (V, D), `vectors` (G, K, D), `ids` (G, K). Rows of the table beyond the vocabulary are padding and have
    probability 0.
    """
    logits = einsum_f32("GKD,VD->GKV", vectors, table)
    logits = jnp.where((jnp.arange(len(table)) < vocabulary)[None, None], logits, -jnp.inf)
    largest = logits.max(axis=-1, keepdims=True)
    weights = jnp.exp(logits - largest)
    total = weights.sum(axis=-1, keepdims=True)
    target_logits = jnp.take_along_axis(logits, ids[..., None], axis=-1)
    return (largest + jnp.log(total) - target_logits)[..., 0], weights / total


def by_dataset(
    losses: Float[Array, "G K"], targets: Targets, dataset_ids: Int[Array, " B"], datasets: int
) -> tuple[Float[Array, " datasets"], Float[Array, " datasets"]]:
    """Return the sum of the unweighted losses and the number of targets of each dataset, both float32.

    Args:
      losses: Loss of each target.
      targets: The targets; those of weight 0 are left out.
      dataset_ids: Index of the dataset of each row of the batch.
      datasets: Number of datasets.
    """
    real = (targets.weights > 0).astype(jnp.float32)
    membership = jax.nn.one_hot(dataset_ids[targets.rows], datasets, dtype=jnp.float32) * real[..., None]
    return jnp.einsum("GK,GKd->d", losses, membership), membership.sum(axis=(0, 1))
