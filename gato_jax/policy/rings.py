"""Writing of a timestep's keys and values into the ring buffers of the decode state.

Axes:
    B environments   M columns of a timestep   S slots   N heads   H head size
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from gato_jax.model.attention import KeysValues
from gato_jax.model.axes import platform
from gato_jax.policy.cache import Columns, DecodeState


def commit(
    state: DecodeState, columns: Columns, layers: tuple[KeysValues, ...], last_id: Int[Array, " B"]
) -> DecodeState:
    """Return the state after a timestep.

    Args:
      state: State before the timestep, whose buffers are written in place where XLA may.
      columns: Columns of the timestep; those that are not real are not written.
      layers: Keys and values (B, N, M, H) of the columns, for each block.
      last_id: (B,) id of the last action token, which stays out of the ring until the next timestep.
    """
    slots = state.position.shape[1]
    written = columns.real.sum(axis=1, dtype=jnp.int32)
    order = jnp.argsort(~columns.real, axis=1, stable=True)  # the real columns first
    rank = (jnp.arange(slots)[None] - state.next_position[:, None]) % slots  # of the token that a slot would receive
    hit = rank < written[:, None]
    source = jnp.take_along_axis(order, jnp.minimum(rank, order.shape[1] - 1), axis=1)

    def write_table(old, new):
        return jnp.where(hit, jnp.take_along_axis(new, source, axis=1), old)

    write = _write_by_row if platform() == "cpu" else _write_by_scatter
    return state._replace(
        layers=write(state.layers, layers, state.next_position % slots, columns),
        position=write_table(state.position, columns.position),
        step_start=write_table(state.step_start, columns.step_start),
        timestep=write_table(state.timestep, columns.timestep),
        next_position=state.next_position + written,
        next_timestep=state.next_timestep + 1,
        last_id=last_id,
        last_start=columns.step_start[:, -1],
    )


def _write_by_scatter(rings, layers, first: Int[Array, " B"], columns: Columns):
    """Write the columns by one scatter of rows of H numbers for each ring."""
    environments, heads, slots, size = rings[0].keys.shape
    slot = (first[:, None] + jnp.cumsum(columns.real, axis=1) - 1) % slots
    row = jnp.arange(environments * heads).reshape(environments, heads, 1) * slots + slot[:, None]
    row = jnp.where(columns.real[:, None], row, environments * heads * slots).reshape(-1)  # padding is dropped

    def write(old, new):
        return old.reshape(-1, size).at[row].set(new.reshape(-1, size), mode="drop").reshape(old.shape)

    return jax.tree.map(write, rings, layers)


def _write_by_row(rings, layers, first: Int[Array, " B"], columns: Columns):
    """Write the columns of one environment after the other, in place.

    XLA's scatter for CPUs writes one token at a time. Here the tokens of an environment are merged into two windows of
    its ring: the one that begins at the first slot, and the one that begins at slot 0, where the ring goes on.
    """
    environments, _, slots, _ = rings[0].keys.shape
    width = min(columns.real.shape[1], slots)
    order = jnp.argsort(~columns.real, axis=1, stable=True)
    written = columns.real.sum(axis=1)

    def write_row(environment, rings):
        begin, count = first[environment], written[environment]
        for start in (jnp.minimum(begin, slots - width), jnp.zeros_like(begin)):
            rank = (start + jnp.arange(width) - begin) % slots
            source = order[environment][jnp.minimum(rank, order.shape[1] - 1)]
            hit = (rank < count)[None, None, :, None]

            def merge(old, new, start=start, source=source, hit=hit):
                at = (environment, 0, start, 0)
                window = jax.lax.dynamic_slice(old, at, (1, old.shape[1], width, old.shape[3]))
                tokens = jax.lax.dynamic_index_in_dim(new, environment)[:, :, source]
                return jax.lax.dynamic_update_slice(old, jnp.where(hit, tokens, window), at)

            rings = jax.tree.map(merge, rings, layers)
        return rings

    return jax.lax.fori_loop(0, environments, write_row, rings)
