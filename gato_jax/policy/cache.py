"""The decode state: what the transformer remembers of each environment, in one donated pytree.

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
    """A ring of S slots for each of B environments.

    Attributes:
      layers: keys and values of each block.
      position: (B, S) position of the token in a slot, counted from the episode's start; -1 where a slot is empty.
      step_start: (B, S) position at which that token's timestep began.
      timestep: (B, S) number of that timestep.
      next_position: (B,) position of the next token; also how many were written.
      next_timestep: (B,) number of the current timestep.
    """

    layers: tuple[KeysValues, ...]
    position: Int[Array, "B S"]
    step_start: Int[Array, "B S"]
    timestep: Int[Array, "B S"]
    next_position: Int[Array, " B"]
    next_timestep: Int[Array, " B"]


class Window(NamedTuple):
    """Which slots a timestep may look at: those of recent enough timesteps, so whole timesteps drop out at once.

    Attributes:
      first_position: (B,) the earliest position at which a timestep in the window may have begun.
      first_timestep: (B,) the least number of a timestep in the window.
      step_start: (B,) where the current timestep begins.
    """

    first_position: Int[Array, " B"]
    first_timestep: Int[Array, " B"]
    step_start: Int[Array, " B"]


def empty_state(config: ModelConfig, environments: int, slots: int) -> DecodeState:
    """Rings in which nothing has been written."""
    shape = (environments, config.heads, slots, config.head_size)
    layers = tuple(KeysValues(jnp.zeros(shape), jnp.zeros(shape)) for _ in range(config.layers))
    table, counter = np.full((environments, slots), EMPTY), np.zeros(environments, np.int32)
    return DecodeState(layers, *(jnp.asarray(table) for _ in range(3)), *(jnp.asarray(counter) for _ in range(2)))


def forget(state: DecodeState, fresh: Bool[Array, " B"]) -> DecodeState:
    """Empties the rings of the environments that start a new episode."""
    counters = {name: jnp.where(fresh, 0, getattr(state, name)) for name in ("next_position", "next_timestep")}
    return state._replace(position=jnp.where(fresh[:, None], EMPTY, state.position), **counters)


def open_window(state: DecodeState, tokens: Int[Array, " B"], context: int, memory_steps: int | None) -> Window:
    """The window of the timestep that is about to write `tokens` tokens.

    It holds at most `context` tokens and at most `memory_steps` timesteps, this one included.
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
    """Writes new positions into the ring; returns their final hidden vectors. Padding is neither written nor seen."""
    environments, slots = state.position.shape
    position = state.next_position[:, None] + jnp.cumsum(real, axis=1, dtype=jnp.int32) - 1
    slot = jnp.where(real, position % slots, slots)  # past the last slot: dropped
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


def relative_keys_of(model: Gato, context: int) -> tuple[jax.Array | None, ...]:
    """The position keys of each block, computed once for a policy; with rope there are none."""
    return tuple(block.attention.relative_keys(context) for block in model.blocks)
