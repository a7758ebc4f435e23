"""The decode state, one pytree: a ring buffer of keys and values for each environment, and its last action token.

A timestep is decoded in M columns: the last action token of the timestep before, which is not in the ring yet, the
observation, and the action tokens but the last. The columns have slots of their own behind the S slots of the ring, at
the same place in all environments. `commit` moves their keys and values into the ring at the end of the timestep.

The keys and values of a prompt are pinned in arrays of their own. A prompt is attended to at the distance at which it
was in training, directly before the first timestep in the window: as timesteps drop out of the window, the prompt
moves up behind it. The positions of an episode count on from those of its prompt.

Axes:
    B environments   T new positions   M columns of a timestep   S slots of a ring   P pinned slots   N heads
    H head size   D width
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from gato_jax.model.attention import Cache, Prefix
from gato_jax.model.config import ModelConfig
from gato_jax.model.gato import Gato
from gato_jax.policy.network import RelativeKeys

EMPTY = np.int32(-1)
_FAR = np.int32(2**30)  # beyond all positions


class DecodeState(NamedTuple):
    """A ring buffer of S token slots for each of B environments.

    Attributes:
      layers: Keys and values of each block, at S + M positions.
      prompts: Keys and values of each block at the P positions of a prompt; empty as long as no row had a prompt.
      prompt_length: (B,) number of tokens of the prompt, 0 without one.
      position: (B, S) position of the token in a slot, counted from the start of the prompt, or of the episode without
        one; -1 if the slot is empty.
      step_start: (B, S) position of the first token of that token's timestep; undefined in an empty slot.
      timestep: (B, S) number, from 0, of that timestep in the episode; undefined in an empty slot.
      next_position: (B,) position of the next token to be written, the number of tokens of prompt and ring so far.
      next_timestep: (B,) number, from 0, of the timestep that is decoded next.
      last_id: (B,) id of the last action token, which is written with the next timestep; -1 at the start of an episode.
      last_start: (B,) position of the first token of that token's timestep.
    """

    layers: tuple[Cache, ...]
    prompts: tuple[Cache, ...]
    prompt_length: Int[Array, " B"]
    position: Int[Array, "B S"]
    step_start: Int[Array, "B S"]
    timestep: Int[Array, "B S"]
    next_position: Int[Array, " B"]
    next_timestep: Int[Array, " B"]
    last_id: Int[Array, " B"]
    last_start: Int[Array, " B"]


class Columns(NamedTuple):
    """Tokens of the timestep that is being decoded, and the window that each may attend to.

    A timestep is in a window as a whole or not at all. The window of the first column is that of the timestep before.

    Attributes:
      real: True where there is a token.
      position: Position of the token in the episode.
      step_start: Position of the first token of its timestep.
      timestep: Number of its timestep in the episode.
      first_position: Smallest position at which a timestep in its window may begin.
      first_timestep: Smallest number of a timestep in its window.
      dropped: Number of positions between the prompt and the first token in its window.
    """

    real: Bool[Array, "B M"]
    position: Int[Array, "B M"]
    step_start: Int[Array, "B M"]
    timestep: Int[Array, "B M"]
    first_position: Int[Array, "B M"]
    first_timestep: Int[Array, "B M"]
    dropped: Int[Array, "B M"]


def empty_state(
    config: ModelConfig, environments: int, slots: int, columns: int, dtype: str = "float32"
) -> DecodeState:
    """Return a decode state with empty ring buffers of `slots` tokens, and M = `columns`, for B = `environments`."""
    layers = empty_caches(config, environments, slots + columns, dtype)
    table, counter = np.full((environments, slots), EMPTY), np.zeros(environments, np.int32)
    arrays = counter, table, table, table, counter, counter, np.full_like(counter, EMPTY), counter
    return DecodeState(layers, (), *map(jnp.asarray, arrays))


def empty_caches(config: ModelConfig, environments: int, width: int, dtype: str) -> tuple[Cache, ...]:
    """Return keys and values of zeros at `width` positions, for each block of a model."""
    lead, size = (environments, config.heads) if environments > 1 else (config.heads,), config.head_size
    return tuple(
        Cache(jnp.zeros((*lead, size, width), dtype), jnp.zeros((*lead, width, size), dtype))
        for _ in range(config.layers)
    )


@functools.partial(jax.jit, static_argnames="columns")
def resize(state: DecodeState, columns: int) -> DecodeState:
    """Return the state with room for timesteps of exactly M = `columns` columns; it is called between two timesteps."""
    slots, before = state.position.shape[1], [(0, 0)] * (state.layers[0].keys.ndim - 2)
    layers = tuple(
        Cache(
            jnp.pad(cache.keys[..., :slots], [*before, (0, 0), (0, columns)]),
            jnp.pad(cache.values[..., :slots, :], [*before, (0, columns), (0, 0)]),
        )
        for cache in state.layers
    )
    return state._replace(layers=layers)


def count_columns(state: DecodeState) -> int:
    """Return the number M of columns that a timestep may have."""
    return state.layers[0].keys.shape[-1] - state.position.shape[1]


def forget(state: DecodeState, fresh: Bool[Array, " B"]) -> DecodeState:
    """Return the state with empty ring buffers in the environments where `fresh` is True, which start a new episode.

    The slots are only marked as empty; their keys and values stay and are not attended to. Prompts stay.
    """
    return state._replace(
        position=jnp.where(fresh[:, None], EMPTY, state.position),
        next_position=jnp.where(fresh, state.prompt_length, state.next_position),
        next_timestep=jnp.where(fresh, 0, state.next_timestep),
        last_id=jnp.where(fresh, EMPTY, state.last_id),
    )


def open_timestep(
    state: DecodeState,
    observed: Bool[Array, "B T"],
    actions: Int[Array, " B"],
    context: int,
    memory_steps: Int[Array, " B"],
    active: Bool[Array, " B"] | bool = True,
) -> Columns:
    """Return the columns of the timestep that begins, of which there are `count_columns`.

    Args:
      state: State before the timestep.
      observed: (B, T) True where there is a token of the observation, False for padding, which follows the tokens.
      actions: (B,) number of action tokens.
      context: Maximum number of tokens in a window, those of the current timestep and of the prompt included.
      memory_steps: (B,) maximum number of timesteps in a window, the current one included.
      active: (B,) False in environments that are idle, in which no column is real.
    """
    columns = count_columns(state)
    acted = jnp.arange(columns - 1 - observed.shape[1])[None] < actions[:, None] - 1
    real = jnp.concatenate([(state.last_id >= 0)[:, None], observed, acted], axis=1)
    real &= jnp.asarray(active).reshape(-1, 1)
    position = state.next_position[:, None] + jnp.cumsum(real, axis=1, dtype=jnp.int32) - 1
    first = jnp.arange(columns)[None] == 0

    def of_timestep(before, current):
        return jnp.where(first, before[:, None], current[:, None])

    start = state.next_position + real[:, 0].astype(jnp.int32)
    end = start + observed.sum(axis=1, dtype=jnp.int32) + actions
    window = context - state.prompt_length[:, None]
    return _count_dropped(
        state,
        Columns(
            real,
            position,
            step_start=of_timestep(state.last_start, start),
            timestep=of_timestep(state.next_timestep - 1, state.next_timestep),
            first_position=of_timestep(start, end) - window,
            first_timestep=of_timestep(state.next_timestep - memory_steps, state.next_timestep - memory_steps + 1),
            dropped=jnp.zeros_like(position),
        ),
    )


def _count_dropped(state: DecodeState, columns: Columns) -> Columns:
    """Return the columns with the number of positions that dropped out of the window of each; 0 if no row has a prompt.

    The windows of all columns but the first are the same. The first column may be the only token of its timestep.
    """
    if not state.prompts:
        return columns
    position, step_start, timestep = (
        jnp.concatenate([ring, column[:, :1]], axis=1)
        for ring, column in (
            (state.position, columns.position),
            (state.step_start, columns.step_start),
            (state.timestep, columns.timestep),
        )
    )
    exists = jnp.concatenate([state.position >= 0, columns.real[:, :1]], axis=1)

    def first_in_window(column: int):
        visible = exists & (step_start >= columns.first_position[:, column : column + 1])
        visible &= timestep >= columns.first_timestep[:, column : column + 1]
        return jnp.minimum(jnp.where(visible, position, _FAR).min(axis=1), columns.step_start[:, column])

    first = jnp.stack([first_in_window(0), first_in_window(1)], axis=1)
    dropped = first[:, jnp.minimum(jnp.arange(columns.real.shape[1]), 1)] - state.prompt_length[:, None]
    return columns._replace(dropped=dropped)


def advance(
    model: Gato,
    relative_keys: RelativeKeys,
    state: DecodeState,
    columns: Columns,
    x: Float[Array, "B T D"],
    start: int | Int[Array, ""],
    wanted: Int[Array, "B K"],
) -> tuple[Float[Array, "B K D"], DecodeState]:
    """Run the transformer on T columns of a timestep, which attend to prompts, rings and the columns up to themselves.

    Args:
      model: The transformer.
      relative_keys: Position keys of each block, see `compute_relative_keys`.
      state: State with the keys and values of the columns before `start`.
      columns: The columns of the timestep.
      x: Embedded tokens.
      start: First of the T columns.
      wanted: Indices in [0, T) of the positions whose hidden vectors are returned.

    Returns:
      Final hidden vectors, and the state with the keys and values of the T columns.
    """
    slots = state.position.shape[1]
    queries = Columns(*(jax.lax.dynamic_slice_in_dim(table, start, x.shape[1], axis=1) for table in columns))
    distance, allowed = _see(state, columns, queries, start + jnp.arange(x.shape[1])[None])
    layers = []
    for number, (block, old) in enumerate(zip(model.block_list, state.layers, strict=True)):
        normed = block.attention_norm(x)
        new = block.attention.keys_values(normed, queries.position)
        keys, values = (table.reshape(*old.keys.shape[:-2], *table.shape[2:]) for table in new)
        cache = Cache(
            jax.lax.dynamic_update_slice_in_dim(old.keys, keys.swapaxes(-2, -1), slots + start, axis=-1),
            jax.lax.dynamic_update_slice_in_dim(old.values, values, slots + start, axis=-2),
        )
        layers.append(cache)
        if number + 1 == len(state.layers):  # of the last block only what is wanted is computed
            x, normed = (jnp.take_along_axis(array, wanted[..., None], axis=1) for array in (x, normed))
            queries = Columns(*(jnp.take_along_axis(table, wanted, axis=1) for table in queries))
            distance, allowed = _see(state, columns, queries, start + wanted)
        prompt = None
        if state.prompts:
            prompt = Prefix(state.prompts[number], queries.position - queries.dropped)
        x = x + block.attention.decode(
            normed, queries.position, cache, relative_keys[number], distance, allowed, prompt
        )
        x = x + block.feed_forward(block.feed_forward_norm(x))
    return model.norm(x), state._replace(layers=tuple(layers))


def _see(
    state: DecodeState, columns: Columns, queries: Columns, index: Int[Array, "#B T"]
) -> tuple[Int[Array, "B T W"], Bool[Array, "B T W"]]:
    """Return the distance from each query to each key and whether it may attend to it.

    The keys are W = P + S + M: those of prompts, if there are any, of slots and of columns. `queries` are T of the
    columns, `index` are their indices.
    """
    exists = state.position[:, None] >= 0
    before = columns.real[:, None] & (jnp.arange(columns.real.shape[1])[None, None] <= index[..., None])
    distances, masks = [], []
    if state.prompts:
        pinned = jnp.arange(state.prompts[0].keys.shape[-1])[None, None]
        distances.append((queries.position - queries.dropped)[..., None] - pinned)
        prompted = pinned < state.prompt_length[:, None, None]
        masks.append(jnp.broadcast_to(prompted, distances[0].shape))
    for keys, exist in ((state, exists), (columns, before)):
        distances.append(queries.position[..., None] - keys.position[:, None])
        late = keys.step_start[:, None] >= queries.first_position[..., None]
        masks.append(exist & late & (keys.timestep[:, None] >= queries.first_timestep[..., None]))
    return jnp.concatenate(distances, axis=-1), jnp.concatenate(masks, axis=-1)
