"""The decode state: a ring buffer of keys and values for each environment, as one pytree.

Axes:
    B environments   T new positions   S slots   N heads   H head size   D width
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from gato_jax.model.attention import KeysValues
from gato_jax.model.config import ModelConfig
from gato_jax.model.gato import Gato

EMPTY = np.int32(-1)


class DecodeState(NamedTuple):
    """A ring buffer of S token slots for each of B environments.

    Attributes:
      layers: Keys and values of each block.
      position: (B, S) position of the token in a slot, counted from the start of the episode; -1 if the slot is empty.
      step_start: (B, S) position of the first token of that token's timestep; undefined in an empty slot.
      timestep: (B, S) number, from 0, of that timestep in the episode; undefined in an empty slot.
      next_position: (B,) position of the next token, which is the number of tokens of the episode so far.
      next_timestep: (B,) number, from 0, of the timestep whose tokens are written next.
    """

    layers: tuple[KeysValues, ...]
    position: Int[Array, "B S"]
    step_start: Int[Array, "B S"]
    timestep: Int[Array, "B S"]
    next_position: Int[Array, " B"]
    next_timestep: Int[Array, " B"]


class Window(NamedTuple):
    """The recent timesteps that the current one may attend to; a timestep is in the window as a whole or not at all.

    Attributes:
      first_position: (B,) smallest position at which a timestep in the window may begin.
      first_timestep: (B,) smallest number of a timestep in the window.
      step_start: (B,) position of the first token of the current timestep.
    """

    first_position: Int[Array, " B"]
    first_timestep: Int[Array, " B"]
    step_start: Int[Array, " B"]


def empty_state(config: ModelConfig, environments: int, slots: int) -> DecodeState:
    """Return a decode state with empty ring buffers of `slots` tokens, in float32, for B = `environments`."""
    shape = (environments, config.heads, slots, config.head_size)
    layers = tuple(KeysValues(jnp.zeros(shape), jnp.zeros(shape)) for _ in range(config.layers))
    table, counter = np.full((environments, slots), EMPTY), np.zeros(environments, np.int32)
    return DecodeState(layers, *(jnp.asarray(table) for _ in range(3)), *(jnp.asarray(counter) for _ in range(2)))


def forget(state: DecodeState, fresh: Bool[Array, " B"]) -> DecodeState:
    """Return the state with empty ring buffers in the environments where `fresh` is True, which start a new episode.

    The slots are only marked as empty; their keys and values stay and are not attended to.
    """
    counters = {name: jnp.where(fresh, 0, getattr(state, name)) for name in ("next_position", "next_timestep")}
    return state._replace(position=jnp.where(fresh[:, None], EMPTY, state.position), **counters)


def open_window(state: DecodeState, tokens: Int[Array, " B"], context: int, memory_steps: int | None) -> Window:
    """Return the attention window of the timestep that begins.

    Args:
      state: State before the timestep.
      tokens: (B,) number of tokens that the timestep will have, actions included.
      context: Maximum number of tokens in the window, this timestep included.
      memory_steps: Maximum number of timesteps in the window, this one included; None for no such limit.
    """
    first_timestep = jnp.zeros_like(state.next_timestep)
    if memory_steps is not None:
        first_timestep = state.next_timestep - (memory_steps - 1)
    return Window(state.next_position + tokens - context, first_timestep, state.next_position)


def advance(
    model: Gato,
    relative_keys: tuple[Float[Array, "N R H"] | None, ...],
    state: DecodeState,
    x: Float[Array, "B T D"],
    real: Bool[Array, "B T"],
    window: Window,
) -> tuple[Float[Array, "B T D"], DecodeState]:
    """Run the transformer on new tokens, which attend to the window and to each other, and write them into the rings.

    Args:
      model: The transformer.
      relative_keys: Position keys of each block, see `compute_relative_keys`.
      state: State before these tokens.
      x: Embedded tokens.
      real: True where there is a token; padding is neither written nor attended to.
      window: Attention window of the current timestep.

    Returns:
      Final hidden vectors of the tokens, and the state that includes them.
    """
    environments, slots = state.position.shape
    position = state.next_position[:, None] + jnp.cumsum(real, axis=1, dtype=jnp.int32) - 1
    slot = jnp.where(real, position % slots, slots)  # padding goes to a slot that does not exist, and is dropped
    row = jnp.arange(environments)[:, None]

    def write(table, values):
        return table.at[row, slot].set(jnp.broadcast_to(values, slot.shape), mode="drop")

    state = state._replace(
        position=write(state.position, position),
        step_start=write(state.step_start, window.step_start[:, None]),
        timestep=write(state.timestep, state.next_timestep[:, None]),
        next_position=state.next_position + real.sum(axis=1, dtype=jnp.int32),
    )
    seen = (state.position >= 0) & (state.step_start >= window.first_position[:, None])
    seen &= state.timestep >= window.first_timestep[:, None]
    distance = position[:, :, None] - state.position[:, None, :]
    allowed = seen[:, None, :] & (distance >= 0)
    layers = []
    for block, cache, relative in zip(model.blocks, state.layers, relative_keys, strict=True):
        normed = block.attention_norm(x)
        new = block.attention.keys_values(normed, position)
        cache = KeysValues(*(_write_slots(old, fresh, row, slot) for old, fresh in zip(cache, new, strict=True)))
        x = x + block.attention.decode(normed, position, cache, relative, distance, allowed)
        x = x + block.feed_forward(block.feed_forward_norm(x))
        layers.append(cache)
    return model.norm(x), state._replace(layers=tuple(layers))


def _write_slots(old: Float[Array, "B N S H"], new: Float[Array, "B N T H"], row, slot) -> Float[Array, "B N S H"]:
    return old.at[row, :, slot].set(jnp.moveaxis(new, 1, 2), mode="drop")


def compute_relative_keys(model: Gato, context: int) -> tuple[jax.Array | None, ...]:
    """Return the position keys (N, R, H) of each block for the distances 0 to R - 1, where R is `context`.

    The entry of a block with rotary positions is None.
    """
    return tuple(block.attention.relative_keys(context) for block in model.blocks)
