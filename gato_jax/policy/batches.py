"""Observations and action tokens of many environments as padded arrays, whose sizes are few."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from gato_jax.policy.act import ActionTokens, Observation
from gato_jax.tokenization import Layout, TokenSequence

_ACTION_TOKENS = 8  # that all tasks have room for; more of them cost no time in a loop on the device
UNLIMITED = np.int32(2**30)  # timesteps, where only the context limits the memory


def bucket(count: int) -> int:
    """Return the size to which `count` is padded: a multiple of 4 up to 32, then of 8 up to 64, of 16 up to 128, etc.

    At most a fifth of a size beyond 16 is padding, and there are four sizes from each power of two to the next.
    """
    multiple = max(4, (1 << max(count - 1, 0).bit_length()) >> 3)
    return -(-count // multiple) * multiple


def batch_observations(steps: Sequence[TokenSequence], patch: int) -> Observation:
    """Return the observations of B environments as one batch of padded arrays.

    The number of positions and the number of patches of all environments together are padded to a `bucket`, so that
    tasks of similar sizes, and texts of varying length, share a compiled program.

    Args:
      steps: Tokens of each environment's observation.
      patch: Side of an image patch in pixels.
    """
    length = bucket(max(len(step) for step in steps))
    count = sum(len(step.patch_slots) for step in steps)
    padded = bucket(count)
    ids, local = np.zeros((2, len(steps), length), np.int32)
    real = np.zeros((len(steps), length), bool)
    patches = np.zeros((padded, patch, patch, 3), np.uint8)
    slots = np.full(padded, len(steps) * length, np.int32)
    intervals = np.zeros((padded, 4), np.int32)
    start = 0
    for b, step in enumerate(steps):
        ids[b, : len(step)], local[b, : len(step)], real[b, : len(step)] = step.token_ids, step.local_position, True
        if number := len(step.patch_slots):
            pool = slice(start, start + number)
            patches[pool], intervals[pool] = step.patches, step.patch_intervals
            slots[pool] = step.patch_slots + b * length
            start += number
    return Observation(*map(jnp.asarray, (ids, local, real, patches[None], slots[None], intervals[None])))


def batch_actions(
    layouts: Sequence[Layout], ranges: Sequence[np.ndarray], memory_steps: Sequence[int | None], *, padded: bool
) -> ActionTokens:
    """Return the action tokens of B environments as one batch of arrays.

    Args:
      layouts: Layout of each environment's task.
      ranges: (A, 2) range [low, high) of ids of each action token, for each environment.
      memory_steps: Maximum number of timesteps in each environment's attention window, None for no limit.
      padded: Whether the number of action tokens is padded to a power of two, and to 8 at least.
    """
    counts = np.array([len(rows) for rows in ranges], np.int32)
    longest = int(counts.max())
    columns = max(_ACTION_TOKENS, 1 << (longest - 1).bit_length()) if padded else longest
    table = np.tile(np.array([0, 1], np.int32), (len(counts), columns, 1))
    for b, rows in enumerate(ranges):
        table[b, : len(rows)] = rows
    position = np.array([layout.action_position for layout in layouts], np.int32)
    memory = np.array([UNLIMITED if steps is None else steps for steps in memory_steps], np.int32)
    return ActionTokens(*map(jnp.asarray, (table, counts, position, memory)))
