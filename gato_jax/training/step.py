"""One training step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Int, Key

from gato_jax.batching import Batch
from gato_jax.training.loss import by_dataset, cross_entropy


class TrainState(NamedTuple):
    """Everything that a step changes."""

    params: nnx.State
    optimizer: optax.OptState
    step: Int[Array, ""]


def make_train_step(
    graph: nnx.GraphDef, optimizer: optax.GradientTransformation, *, target_budget: int, loss_weights: Sequence[float]
):
    """`train_step(state, batch, key) -> (state, metrics)`, pure; jit it with the state donated.

    `loss_weights` are those of each dataset's targets; all ones is the paper's loss.
    """
    weights = np.asarray(loss_weights, np.float32)

    def train_step(state: TrainState, batch: Batch, key: Key[Array, ""]) -> tuple[TrainState, dict[str, Array]]:
        def loss_fn(params):
            model = nnx.merge(graph, params)
            hidden = model(batch, jax.random.fold_in(key, state.step))
            losses, rows = cross_entropy(model, hidden, batch, target_budget)
            sums, counts = by_dataset(losses, rows, jnp.asarray(batch.dataset_ids), len(weights))
            return (weights @ sums) / jnp.maximum(weights @ counts, jnp.float32(1e-6)), (sums, counts)

        (loss, (sums, counts)), gradients = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
        with jax.numpy_dtype_promotion("standard"):  # optax's bias correction has an integer power of a float
            updates, moments = optimizer.update(gradients, state.optimizer, state.params)
        params = cast(nnx.State, optax.apply_updates(state.params, updates))
        metrics = {"loss": loss, "gradient_norm": optax.global_norm(gradients), "sums": sums, "counts": counts}
        return TrainState(params, moments, state.step + 1), metrics

    return train_step


def make_initial_state(initialise: Callable, optimizer: optax.GradientTransformation):
    """`init(key) -> TrainState`, to be jitted with its output placed, so that no host ever holds the whole model."""

    def init(key: Key[Array, ""]) -> TrainState:
        params = initialise(key)
        return TrainState(params, optimizer.init(params), jnp.zeros((), jnp.int32))

    return init
