"""One training step, over the whole batch at once or over one microbatch after the other.

Axes:
    B rows   T positions   G pools, one for each device and microbatch   A microbatches   K targets of a pool
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Bool, Int, Key, Shaped

from gato_jax.batching import Batch
from gato_jax.model import ComputeConfig
from gato_jax.training.loss import Targets, by_dataset, cross_entropy, find_targets, target_mask


class TrainState(NamedTuple):
    """Everything that a step changes.

    Attributes:
      params: The parameters.
      optimizer: The state of the optimizer.
      step: Number of steps done.
      average: Moving average of the params; None if the run keeps none.
    """

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
    """Return the pure function `train_step(state, batch, key) -> (state, metrics)`; jit it with the state donated.

    The key is the same for all steps, as each row draws from it by its number in the run. The metrics are `loss`, the
    weighted mean over all targets of the batch in nats; `gradient_norm`, the global norm before clipping;
    `update_norm` and `parameter_norm`, the global norms of the update and of the params after it; and `sums` and
    `counts`, for each dataset the sum of the unweighted losses and the number of its targets.

    If the loss or the norm of the gradient is NaN or infinite, `finite` is False and the step is skipped: params,
    moments and average stay as they were, and only the number of steps and the position in the learning rate schedule
    advance. That is known before the optimizer begins, so a compiler can update params and moments in one pass.

    Args:
      graph: The graph of the model.
      optimizer: The optimizer.
      compute: How the step is computed.
      target_budget: Number of targets that a pool has room for; targets beyond it would be dropped.
      loss_weights: Weight of the targets of each dataset, in the order of the mixture; all ones is the paper's loss.
      ema_decay: Decay of the moving average of the params; None for no average.
    """
    dataset_weights = np.asarray(loss_weights, np.float32)

    def loss_fn(params, batch: Batch, targets: Targets, keys: Key[Array, " B"]):
        model = nnx.merge(graph, params)
        hidden = model(batch, keys, compute)
        loss, losses = cross_entropy(model, hidden, targets, compute.loss_chunk)
        return loss, by_dataset(losses, targets, jnp.asarray(batch.dataset_ids), len(dataset_weights))

    def train_step(state: TrainState, batch: Batch, key: Key[Array, ""]) -> tuple[TrainState, dict[str, Array]]:
        keys = jax.vmap(lambda row: jax.random.fold_in(key, row))(batch.row_ids)
        row_weights = jnp.asarray(dataset_weights)[batch.dataset_ids]
        total = (row_weights[:, None] * target_mask(batch).astype(jnp.float32)).sum()
        row_weights = row_weights / jnp.maximum(total, jnp.float32(1e-6))

        def microbatch_grads(batch, row_weights, keys):
            targets = find_targets(batch, row_weights, target_budget)
            return jax.value_and_grad(loss_fn, has_aux=True)(state.params, batch, targets, keys)

        (loss, (sums, counts)), grads = accumulate(microbatch_grads, compute.accumulate, batch, row_weights, keys)
        with jax.numpy_dtype_promotion("standard"):  # optax's bias correction has an integer power of a float
            updates, moments = optimizer.update(grads, state.optimizer, state.params)
        params = cast(nnx.State, optax.apply_updates(state.params, updates))
        average = state.average
        if average is not None and ema_decay is not None:
            average = cast(nnx.State, optax.incremental_update(params, average, 1 - ema_decay))
        after = TrainState(params, moments, state.step + 1, average)
        norms = {"gradient_norm": optax.global_norm(grads), "update_norm": optax.global_norm(updates)}
        finite = jnp.isfinite(loss) & jnp.isfinite(norms["gradient_norm"])
        after = _keep_if_not(finite, after, state)
        norms["parameter_norm"] = optax.global_norm(after.params)
        metrics = {"loss": loss, "sums": sums, "counts": counts, "finite": finite, **norms}
        return after, metrics

    return train_step


def _keep_if_not(finite: Bool[Array, ""], after: TrainState, before: TrainState) -> TrainState:
    """Return `after` if `finite`, else `before` with the numbers of steps, the schedule's included, of `after`."""

    def is_schedule(node: Any) -> bool:
        return isinstance(node, optax.ScaleByScheduleState)

    def choose(new, old):
        return new if is_schedule(new) else jnp.where(finite, new, old)

    return jax.tree.map(choose, after, before, is_leaf=is_schedule)._replace(step=after.step)


def accumulate(function: Callable, microbatches: int, batch: Batch, *per_row: Shaped[Array, " B"]):
    """Return the sum of the results of `function` over microbatches, leaf by leaf.

    Each device contributes the same share of its rows to each microbatch.

    Args:
      function: Function of a batch and of arrays with one value for each row, returning a tree of arrays.
      microbatches: Number of microbatches, a divisor of the number of pools.
      batch: The whole batch.
      *per_row: Arrays with one value for each row of the batch.
    """
    if microbatches == 1:
        return function(batch, *per_row)
    pools = batch.patch_slots.shape[0]

    def split(x):
        """Split (B, ...) into (A, B/A, ...), and (G, ...) alike; microbatch a gets the a-th pool of each device.

        The A pools of a device are consecutive in the batch.
        """
        groups = x.reshape(pools // microbatches, microbatches, len(x) // pools, *x.shape[1:])
        return jnp.moveaxis(groups, 1, 0).reshape(microbatches, -1, *x.shape[1:])

    parts = jax.tree.map(split, (batch, *per_row))
    shapes = jax.eval_shape(function, *jax.tree.map(lambda x: x[0], parts))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    def add(total, part):
        return jax.tree.map(jnp.add, total, function(*part)), None

    return jax.lax.scan(add, zeros, parts)[0]


def make_initial_state(initialise: Callable, optimizer: optax.GradientTransformation, *, average: bool = False):
    """Return the pure function `init(key) -> TrainState`, with random params and step 0.

    Jit it with `out_shardings`, so that no host ever holds the whole model.

    Args:
      initialise: Function key -> params.
      optimizer: The optimizer.
      average: Whether the run keeps a moving average of the params, which begins as these params.
    """

    def init(key: Key[Array, ""]) -> TrainState:
        params = initialise(key)
        return TrainState(params, optimizer.init(params), jnp.zeros((), jnp.int32), params if average else None)

    return init
