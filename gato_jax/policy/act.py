"""One environment step of the agent in one compiled call: observation prefill, then every action token.

Axes:
    B environments   T observation positions, padded   P patches   A action tokens
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key, UInt8

from gato_jax.policy.cache import DecodeState, advance, forget, open_window
from gato_jax.tokenization import ContinuousCodec, DiscreteCodec, decode_action


class Observation(NamedTuple):
    """The observation of one step in B environments, one pool; slots of patches index the flattened (B T) positions."""

    token_ids: Int[Array, "B T"]
    local_position: Int[Array, "B T"]
    real: Bool[Array, "B T"]
    patches: UInt8[Array, "1 P p p C"]
    patch_slots: Int[Array, "1 P"]
    patch_intervals: Int[Array, "1 P 4"]


class ActSettings(NamedTuple):
    """What is fixed at compile time.

    Attributes:
      action_ranges: ids [low, high) of each of the A action tokens.
      action_codecs: (key, codec) of what they decode to, in their order; none where they are text.
      action_position: the local position that action tokens share.
      context, memory_steps: of the attention window (see cache.open_window).
      temperature: of sampling; 0 takes the most probable id.
    """

    action_ranges: tuple[tuple[int, int], ...]
    action_codecs: tuple[tuple[str, DiscreteCodec | ContinuousCodec], ...]
    action_position: int
    context: int
    memory_steps: int | None
    temperature: float


@functools.partial(jax.jit, static_argnames=("graph", "settings"), donate_argnames="state")
def act(
    graph: nnx.GraphDef,
    params: nnx.State,
    relative_keys: tuple[Float[Array, "N R H"] | None, ...],
    state: DecodeState,
    observation: Observation,
    fresh: Bool[Array, " B"],
    keys: Key[Array, " B"],
    settings: ActSettings,
) -> tuple[Int[Array, "B A"], dict[str, Array], DecodeState]:
    """Action ids, each within its range; what they decode to, {key: (B, *shape)}; the state with this step in it.

    `fresh` are the environments whose episode begins here. Of `keys` each environment has one; its own step and token
    are folded in, so an episode's randomness does not depend on which others are played beside it.
    """
    model = nnx.merge(graph, params)
    state = forget(state, fresh)
    real = observation.real
    tokens = real.sum(axis=1) + len(settings.action_ranges)
    window = open_window(state, tokens, settings.context, settings.memory_steps)
    embedded = model.embedding(
        observation.token_ids,
        observation.local_position,
        observation.patches,
        observation.patch_slots,
        observation.patch_intervals,
    )
    hidden, state = advance(model, relative_keys, state, embedded, real, window)
    last = jnp.maximum(real.sum(axis=1) - 1, 0)
    hidden = jnp.take_along_axis(hidden, last[:, None, None], axis=1)[:, 0]
    step_keys = jax.vmap(jax.random.fold_in)(keys, state.next_timestep)

    ranges = np.array(settings.action_ranges, np.int32)
    low, high = int(ranges[:, 0].min()), int(ranges[:, 1].max())
    table = model.embedding.tokens[low:high]  # logits of ids that no action token may take are never computed
    local = model.embedding.local[settings.action_position]

    def next_token(carry, token):
        hidden, state = carry
        index, token_range = token
        ids = jnp.arange(low, high)
        valid = (ids >= token_range[0]) & (ids < token_range[1])
        token_keys = jax.vmap(jax.random.fold_in, (0, None))(step_keys, index)
        chosen = low + _choose(hidden @ table.T, valid, token_keys, settings.temperature)
        x = (model.embedding.tokens[chosen] + local[None])[:, None]
        hidden, state = advance(model, relative_keys, state, x, jnp.ones((len(x), 1), bool), window)
        return (hidden[:, 0], state), chosen

    (_, state), actions = jax.lax.scan(next_token, (hidden, state), (jnp.arange(len(ranges)), jnp.asarray(ranges)))
    ids = actions.T
    return ids, decode_action(settings.action_codecs, ids), state._replace(next_timestep=state.next_timestep + 1)


def _choose(
    logits: Float[Array, "B V"], valid: Bool[Array, " V"], keys: Key[Array, " B"], temperature: float
) -> Int[Array, " B"]:
    """The number of a valid logit in each row, whatever the temperature makes of the others."""
    masked = jnp.where(valid[None], logits, -jnp.inf)
    if temperature == 0:
        return jnp.argmax(masked, axis=-1).astype(jnp.int32)
    scaled = (masked - masked.max(axis=-1, keepdims=True)) / jnp.float32(temperature)
    scaled = jnp.where(valid[None], scaled, -jnp.inf)  # once more: the largest temperatures make NaN of infinity
    return jax.vmap(jax.random.categorical)(keys, scaled).astype(jnp.int32)
