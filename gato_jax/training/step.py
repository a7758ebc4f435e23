"""One training step, of the whole batch or of one microbatch after the other.

Axes:
    B rows   T positions   G pools, one of each device and microbatch   A microbatches   K targets of a pool
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Int, Key, Shaped

from gato_jax.batching import Batch
from gato_jax.model import ComputeConfig, cast_params
from gato_jax.training.loss import Targets, by_dataset, cross_entropy, find_targets, target_mask


class TrainState(NamedTuple):
    """Everything that a step changes; `average` is the moving average of params, where the run keeps one."""

    params: nnx.State
    optimizer: optax.OptState
    step: Int[Array, ""]
    average: nnx.State | None = None


def make_train_step(
    graph: nnx.GraphDef,
    optimizer: optax.GradientTransformation,
    *,
    compute: ComputeConfig,
    target_budget: int,
    loss_weights: Sequence[float],
    ema_decay: float | None = None,
):
    """`train_step(state, batch, key) -> (state, metrics)`, pure; jit it with the state donated.

    `target_budget` is that of a pool. `loss_weights` are those of each dataset's targets; all ones is the paper's loss.
    """
    weight_of = np.asarray(loss_weights, np.float32)

    def loss_fn(params, batch: Batch, targets: Targets, keys: Key[Array, " B"]):
        model = nnx.merge(graph, cast_params(params, compute.dtype))
        hidden = model(batch, keys, compute)
        loss, losses = cross_entropy(model, hidden, targets, compute.loss_chunk)
        return loss, by_dataset(losses, targets, jnp.asarray(batch.dataset_ids), len(weight_of))

    def train_step(state: TrainState, batch: Batch, key: Key[Array, ""]) -> tuple[TrainState, dict[str, Array]]:
        keys = jax.vmap(lambda row: jax.random.fold_in(key, row))(batch.row_ids)
        row_weights = jnp.asarray(weight_of)[batch.dataset_ids]
        total = (row_weights[:, None] * target_mask(batch).astype(jnp.float32)).sum()
        row_weights = row_weights / jnp.maximum(total, jnp.float32(1e-6))

        def of_microbatch(batch, row_weights, keys):
            targets = find_targets(batch, row_weights, target_budget)
            return jax.value_and_grad(loss_fn, has_aux=True)(state.params, batch, targets, keys)

        (loss, (sums, counts)), gradients = _accumulate(of_microbatch, compute.accumulate, batch, row_weights, keys)
        with jax.numpy_dtype_promotion("standard"):  # optax's bias correction has an integer power of a float
            updates, moments = optimizer.update(gradients, state.optimizer, state.params)
        params = cast(nnx.State, optax.apply_updates(state.params, updates))
        average = state.average
        if average is not None and ema_decay is not None:
            average = cast(nnx.State, optax.incremental_update(params, average, 1 - ema_decay))
        metrics = {"loss": loss, "gradient_norm": optax.global_norm(gradients), "sums": sums, "counts": counts}
        return TrainState(params, moments, state.step + 1, average), metrics

    return train_step


def _accumulate(function: Callable, microbatches: int, batch: Batch, *per_row: Shaped[Array, " B"]):
    """The sum of what `function` returns for each microbatch; of each device the same share of its rows at a time."""
    if microbatches == 1:
        return function(batch, *per_row)
    pools = batch.patch_slots.shape[0]

    def split(x):
        """(A, B/A, ...): the pools of a device lie side by side, one for each microbatch."""
        groups = x.reshape(pools // microbatches, microbatches, len(x) // pools, *x.shape[1:])
        return jnp.moveaxis(groups, 1, 0).reshape(microbatches, -1, *x.shape[1:])

    pieces = jax.tree.map(split, (batch, *per_row))
    shapes = jax.eval_shape(function, *jax.tree.map(lambda x: x[0], pieces))
    none_yet = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    def one(total, piece):
        return jax.tree.map(jnp.add, total, function(*piece)), None

    return jax.lax.scan(one, none_yet, pieces)[0]


def make_initial_state(initialise: Callable, optimizer: optax.GradientTransformation, *, average: bool = False):
    """`init(key) -> TrainState`, to be jitted with its output placed, so that no host ever holds the whole model."""

    def init(key: Key[Array, ""]) -> TrainState:
        params = initialise(key)
        return TrainState(params, optimizer.init(params), jnp.zeros((), jnp.int32), params if average else None)

    return init
