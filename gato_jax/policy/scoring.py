"""Log probabilities that an agent gives to recorded tokens."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from gato_jax.policy.agent import Agent
from gato_jax.policy.batches import batch_observations
from gato_jax.tokenization import TokenSequence

ROWS = 16


class _Rows(NamedTuple):
    token_ids: jax.Array
    local_position: jax.Array
    segment_ids: jax.Array
    patches: jax.Array
    patch_slots: jax.Array
    patch_intervals: jax.Array


def log_probabilities(agent: Agent, sequences: Sequence[TokenSequence]) -> list[np.ndarray]:
    """Return the log probability (in nats) of each target of each sequence, given all tokens before it.

    The targets are the tokens where `loss_mask` is True, except for the first token of a sequence. A sequence is cut
    off at the agent's context, and its later targets are left out.

    Returns:
      For each sequence, in their order, a float array (targets,).
    """
    sequences = [sequence.slice(0, agent.context) for sequence in sequences]
    results = []
    for start in range(0, len(sequences), ROWS):
        rows = sequences[start : start + ROWS]
        padded = [*rows, *[rows[-1]] * (ROWS - len(rows))]  # one shape needs one compilation
        observation = batch_observations(padded, agent.contract.tokenization.patch)
        target_ids = np.zeros(observation.token_ids.shape, np.int32)
        for row, sequence in enumerate(padded):
            target_ids[row, : len(sequence)] = sequence.target_ids
        batch = _Rows(
            observation.token_ids, observation.local_position, jnp.asarray(observation.real, jnp.int32),
            observation.patches, observation.patch_slots, observation.patch_intervals,
        )  # fmt: skip
        scored = np.asarray(_score(agent.graph, agent.params, batch, np.roll(target_ids, -1, axis=1)))
        for row, sequence in enumerate(rows):
            targets = np.flatnonzero(sequence.loss_mask[1:])
            results.append(scored[row, targets])
    return results


@functools.partial(jax.jit, static_argnames="graph")
def _score(graph: nnx.GraphDef, params: nnx.State, batch: _Rows, following: jax.Array) -> jax.Array:
    """Return the log probability (B, T) at each position that the next id is the one in `following` (B, T)."""
    model = nnx.merge(graph, params)
    logits = jax.nn.log_softmax(model.logits(model(batch)))
    return jnp.take_along_axis(logits, following[..., None], axis=-1)[..., 0]
