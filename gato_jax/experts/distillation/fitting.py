"""The fit of a network to labels, by Adam with a learning rate that falls along a cosine to zero.

The loss is the negative log-likelihood of the teacher's action under a mixture of Gaussians, whose centres are the
actions of the modes and whose deviation is fixed: labels further apart than that become modes of their own, and the
noise of a planner does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float32

from gato_jax.experts.distillation.network import MEAN, SCALE, forward, initial_params

_CHUNK = 100  # updates in one call of the compiled program
_DEVIATION = 0.4  # of the Gaussian of a mode, where actions lie in [-1, 1]
_LEAST_SCALE = 1e-2  # of an input: one that hardly varies is not blown up


class Fit(NamedTuple):
    """The params of a fitted network, {name: float32 array}, and its mean loss over the last updates."""

    params: dict[str, np.ndarray]
    loss: float


def fit_network(
    shapes: Mapping[str, tuple[int, ...]],
    inputs: Float32[np.ndarray, "states inputs"],
    labels: Float32[np.ndarray, "states outputs"],
    *,
    modes: int,
    updates: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
) -> Fit:
    """Train a new network on labelled states; the result follows from the arguments alone.

    Args:
      shapes: Shapes of the params, see `network.param_shapes`.
      inputs: Inputs of the network.
      labels: Actions of the teacher, in [-1, 1].
      modes: Number of modes of the network.
      updates: Number of updates, rounded up to a multiple of 100.
      batch_size: Number of states for an update, drawn with replacement.
      learning_rate: Learning rate at the first update.
      seed: Seed of the initial params and of the batches.
    """
    params: Any = initial_params(shapes, seed)
    params[MEAN] = inputs.mean(axis=0, dtype=np.float64).astype(np.float32)
    params[SCALE] = np.maximum(inputs.std(axis=0, dtype=np.float64), _LEAST_SCALE).astype(np.float32)
    chunks = -(-updates // _CHUNK)
    optimizer = _make_optimizer(learning_rate, chunks * _CHUNK)
    state = optimizer.init(params)
    generator = np.random.default_rng([seed, len(inputs)])
    train = jax.jit(_train_chunk, static_argnames=("modes", "learning_rate", "updates"))
    numbers = {"modes": modes, "learning_rate": learning_rate, "updates": chunks * _CHUNK}
    loss = np.float32(np.nan)
    for _ in range(chunks):
        drawn = generator.integers(len(inputs), size=(_CHUNK, batch_size))
        params, state, loss = train(params, state, inputs[drawn], labels[drawn], **numbers)
    return Fit({name: np.asarray(array) for name, array in params.items()}, float(loss))


def _make_optimizer(learning_rate: float, updates: int) -> optax.GradientTransformation:
    """Return Adam with a cosine schedule, which leaves the standardisation of the inputs as it is."""
    adam = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(optax.cosine_decay_schedule(learning_rate, updates)))
    return optax.multi_transform(
        {"trained": adam, "kept": optax.set_to_zero()},
        lambda params: {name: "kept" if name in (MEAN, SCALE) else "trained" for name in params},
    )


def _train_chunk(params: Any, state: Any, inputs: Any, labels: Any, *, modes: int, learning_rate: float, updates: int):
    """Make one update for each of the batches, inputs (updates, batch, inputs), and return also their mean loss."""
    optimizer = _make_optimizer(learning_rate, updates)

    def loss_of(params: Any, inputs: Any, labels: Any):
        actions, logits = forward(params, inputs, modes, jnp)
        distances = jnp.sum((actions - labels[:, None]) ** 2, axis=-1)
        likelihoods = jax.nn.log_softmax(logits) - distances / (2 * _DEVIATION**2)
        return -jnp.mean(jax.nn.logsumexp(likelihoods, axis=-1))

    def update(carry: Any, batch: Any):
        params, state = carry
        loss, grads = jax.value_and_grad(loss_of)(params, *batch)
        with jax.numpy_dtype_promotion("standard"):  # optax's bias correction has an integer power of a float
            updates, state = optimizer.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), loss

    (params, state), losses = jax.lax.scan(update, (params, state), (inputs, labels))
    return params, state, jnp.mean(losses)
