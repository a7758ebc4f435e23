"""Writing of a timestep's keys and values into the ring buffers of the decode state.

Axes:
    B environments   M columns of a timestep   R rows of E numbers
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from gato_jax.model.attention import Cache
from gato_jax.model.axes import platform
from gato_jax.policy.cache import Columns, DecodeState


def commit(
    state: DecodeState, columns: Columns, last_id: Int[Array, " B"], active: Bool[Array, " B"] | bool = True
) -> DecodeState:
    """Return the state after a timestep, with its columns in the rings.

    Args:
      state: State with the keys and values of the columns, which are moved in place where XLA may.
      columns: Columns of the timestep; those that are not real are not written.
      last_id: (B,) id of the last action token, which stays out of the ring until the next timestep.
      active: (B,) False in environments that are idle, whose rings and counters stay as they are.
    """
    active = jnp.broadcast_to(jnp.asarray(active), last_id.shape)
    slots = state.position.shape[1]
    written = columns.real.sum(axis=1, dtype=jnp.int32)
    order = jnp.argsort(~columns.real, axis=1, stable=True)  # the real columns first
    rank = (jnp.arange(slots)[None] - state.next_position[:, None]) % slots  # of the token that a slot would receive
    hit = rank < written[:, None]
    source = jnp.take_along_axis(order, jnp.minimum(rank, order.shape[1] - 1), axis=1)

    def write_table(old, new):
        return jnp.where(hit, jnp.take_along_axis(new, source, axis=1), old)

    write = write_by_row if platform() == "cpu" else write_by_scatter
    return state._replace(
        layers=write(state.layers, state.next_position % slots, columns),
        position=write_table(state.position, columns.position),
        step_start=write_table(state.step_start, columns.step_start),
        timestep=write_table(state.timestep, columns.timestep),
        next_position=state.next_position + written,
        next_timestep=state.next_timestep + active.astype(jnp.int32),
        last_id=jnp.where(active, last_id, state.last_id),
        last_start=jnp.where(active, columns.step_start[:, -1], state.last_start),
    )


def write_by_scatter(layers: tuple[Cache, ...], first: Int[Array, " B"], columns: Columns) -> tuple[Cache, ...]:
    """Write the columns by a scatter of rows for the values, and of single numbers for the keys.

    Args:
      layers: Keys and values of each block.
      first: Slot that follows the last written one.
      columns: Columns of the timestep.
    """
    width, size = layers[0].values.shape[-2:]
    groups = layers[0].values.size // (width * size)  # heads of all environments
    slots, heads = width - columns.real.shape[1], groups // len(first)
    slot = (first[:, None] + jnp.cumsum(columns.real, axis=1) - 1) % slots
    slot = jnp.where(columns.real, slot, groups * size * width)  # padding is dropped
    slot = jnp.repeat(slot, heads, axis=0)
    group = jnp.arange(groups)[:, None]

    def write(keys, values):
        line = group * size + jnp.arange(size)[None]
        rows = line[..., None] * width + slot[:, None], group * width + slot
        return Cache(
            _set_rows(keys.reshape(-1, 1), rows[0], keys[..., slots:]).reshape(keys.shape),
            _set_rows(values.reshape(-1, size), rows[1], values[..., slots:, :]).reshape(values.shape),
        )

    return tuple(write(*cache) for cache in layers)


def _set_rows(table: Float[Array, "R E"], row: Int[Array, "*rows"], new: Float[Array, "..."]) -> Float[Array, "R E"]:
    """Return a table with rows of E numbers set to those of `new`; rows that do not exist are dropped."""
    return table.at[row.reshape(-1)].set(new.reshape(-1, table.shape[1]), mode="drop")


def write_by_row(layers: tuple[Cache, ...], first: Int[Array, " B"], columns: Columns) -> tuple[Cache, ...]:
    """Write the columns of one environment after the other, in place, as `write_by_scatter` writes all.

    XLA's scatter for CPUs writes one token at a time. Here the tokens of an environment are merged into two windows of
    its ring: the one that begins at the first slot, and the one that begins at slot 0, where the ring goes on.
    """
    slots = layers[0].values.shape[-2] - columns.real.shape[1]
    width = min(columns.real.shape[1], slots)
    order = jnp.argsort(~columns.real, axis=1, stable=True)
    written = columns.real.sum(axis=1)
    # Taken out before the loop: where an update reads other parts of its own buffer, XLA copies the whole buffer.
    new = tuple(Cache(keys[..., slots:], values[..., slots:, :]) for keys, values in layers)
    # Counted on the device, as XLA would inline the loop of a single environment and fuse `new` into its updates.
    environments = (written >= 0).sum(dtype=jnp.int32)

    def write_row(environment, layers):
        begin, count = first[environment], written[environment]
        for start in (jnp.minimum(begin, slots - width), jnp.zeros_like(begin)):
            rank = (start + jnp.arange(width) - begin) % slots
            source = order[environment][jnp.minimum(rank, order.shape[1] - 1)]
            layers = tuple(
                Cache(
                    _merge(cache.keys, tokens.keys, -1, environment, len(first), start, rank < count, source),
                    _merge(cache.values, tokens.values, -2, environment, len(first), start, rank < count, source),
                )
                for cache, tokens in zip(layers, new, strict=True)
            )
        return layers

    return jax.lax.fori_loop(0, environments, write_row, layers)


def _merge(old, new, axis: int, environment, environments: int, start, hit, source):
    """Return `old` with one environment's slots from `start` on, where `hit`, set to its columns `source` in `new`.

    Slots and columns are the axis `axis` of the arrays; the first axis is that of environments, or of one's heads.
    """
    rows, axis = old.shape[0] // environments, axis % old.ndim
    begin = [{0: environment * rows, axis: start}.get(number, 0) for number in range(old.ndim)]
    sizes = [{0: rows, axis: len(hit)}.get(number, size) for number, size in enumerate(old.shape)]
    window = jax.lax.dynamic_slice(old, begin, sizes)
    tokens = jnp.take(jax.lax.dynamic_slice_in_dim(new, begin[0], rows), source, axis=axis)
    shape = [len(hit) if number == axis else 1 for number in range(old.ndim)]
    return jax.lax.dynamic_update_slice(old, jnp.where(hit.reshape(shape), tokens, window), begin)
