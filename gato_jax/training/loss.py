"""The masked cross-entropy (paper, section 2.3): L = - sum_b sum_l m(b, l) log p(s_l | s_<l).

Axes:
    B rows   T positions   K targets   D width   V vocabulary
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from gato_jax.batching import Batch
from gato_jax.model import Gato


def target_mask(batch: Batch) -> Bool[Array, "B T"]:
    """Targets that have a predecessor in their own segment; the first token of a segment has nothing to follow from."""
    follows = batch.segment_ids[:, 1:] == batch.segment_ids[:, :-1]
    return jnp.pad(batch.loss_mask[:, 1:] & follows, ((0, 0), (1, 0)))


def cross_entropy(
    model: Gato, hidden: Float[Array, "B T D"], batch: Batch, budget: int
) -> tuple[Float[Array, " K"], Int[Array, " K"]]:
    """Cross-entropy of each target, in nats, and the row it is in.

    Only targets reach the head: K = `budget` of them are gathered, and places beyond the last target count 0.
    """
    rows, length = batch.token_ids.shape
    mask = target_mask(batch)
    (position,) = jnp.nonzero(mask.reshape(-1), size=budget, fill_value=0)
    real = jnp.arange(budget) < mask.sum()
    predictor = jnp.maximum(position - 1, 0)
    logits = model.logits(hidden.reshape(rows * length, -1)[predictor])
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch.target_ids.reshape(-1)[position])
    return jnp.where(real, losses, jnp.float32(0)), jnp.where(real, position // length, rows)


def by_dataset(
    losses: Float[Array, " K"], rows: Int[Array, " K"], dataset_ids: Int[Array, " B"], datasets: int
) -> tuple[Float[Array, " datasets"], Float[Array, " datasets"]]:
    """Sum of losses and number of targets of each dataset."""
    owner = jnp.pad(dataset_ids, (0, 1), constant_values=datasets)[rows]
    count = jax.ops.segment_sum(jnp.ones_like(losses), owner, datasets + 1)[:-1]
    return jax.ops.segment_sum(losses, owner, datasets + 1)[:-1], count
