"""One compiled step of the agent: the observation is prefilled into the cache, then each action token is decoded.

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
    """Tokens and patches of one timestep's observation in B environments.

    Attributes:
      token_ids: (B, T) ids, padded.
      local_position: (B, T) position of each token within its timestep.
      real: (B, T) True where there is a token, False for padding, which follows the tokens.
      patches: (1, P, p, p, C) pixels of the image patches of all environments together.
      patch_slots: (1, P) index of each patch's token in the flattened (B T) positions.
      patch_intervals: (1, P, 4) row low, row high, column low, column high of each patch, in 1/128 of its image.
    """

    token_ids: Int[Array, "B T"]
    local_position: Int[Array, "B T"]
    real: Bool[Array, "B T"]
    patches: UInt8[Array, "1 P p p C"]
    patch_slots: Int[Array, "1 P"]
    patch_intervals: Int[Array, "1 P 4"]


class ActSettings(NamedTuple):
    """Settings that are compile-time constants of `act`.

    Attributes:
      action_ranges: Range of ids [low, high) of each of the A action tokens.
      action_codecs: Key and codec of each part of the action, in the order of its tokens; empty if the tokens are text,
        of which `act` returns only the ids.
      action_position: Local position that all action tokens share.
      context: Number of tokens in the attention window, see `cache.open_window`.
      memory_steps: Number of timesteps in the attention window; None for as many as fit.
      temperature: Temperature of sampling; 0 takes the most probable id.
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
    """Choose the action of one timestep in each environment.

    Args:
      graph: Structure of the model.
      params: Parameters of the model.
      relative_keys: Position keys of each block, see `compute_relative_keys`.
      state: Decode state before this timestep; its buffers are donated.
      observation: Tokens and patches of the observation.
      fresh: Environments in which an episode begins at this timestep.
      keys: Random key of each environment's episode. The numbers of the timestep and of the token are folded in, so the
        samples of an episode do not depend on the other environments.
      settings: Compile-time constants.

    Returns:
      Ids (B, A) of the action tokens, each within its range; the decoded action {key: (B, *shape)}, empty without
      codecs; and the decode state that includes this timestep.
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
    table = model.embedding.tokens[low:high]  # only the logits of ids that an action token may take
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
    """Sample the index in [0, V) of a valid logit in each row; with temperature 0, that of the largest valid one."""
    masked = jnp.where(valid[None], logits, -jnp.inf)
    if temperature == 0:
        return jnp.argmax(masked, axis=-1).astype(jnp.int32)
    scaled = (masked - masked.max(axis=-1, keepdims=True)) / jnp.float32(temperature)
    scaled = jnp.where(valid[None], scaled, -jnp.inf)  # again, as dividing -inf by an infinite temperature gives NaN
    return jax.vmap(jax.random.categorical)(keys, scaled).astype(jnp.int32)
