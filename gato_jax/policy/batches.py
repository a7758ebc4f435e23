"""Observations and action tokens of many environments as padded arrays, whose sizes are few."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np

from gato_jax.policy.act import ActionTokens, Observation
from gato_jax.policy.shapes import bucket
from gato_jax.tokenization import TokenSequence

UNLIMITED = np.int32(2**30)  # timesteps, where only the context limits the memory


def batch_observations(steps: Sequence[TokenSequence], patch: int) -> Observation:
    """Return the observations of B environments as one batch of arrays, padded to sizes that depend on them.

    The number of positions and the number of patches of all environments together are padded to a `bucket`, so that
    texts of varying length share a compiled program.

    Args:
      steps: Tokens of each environment's observation.
      patch: Side of an image patch in pixels.
    """
    length, count = max(len(step) for step in steps), sum(len(step.patch_slots) for step in steps)
    return pad_observations(dict(enumerate(steps)), len(steps), bucket(length), bucket(count), patch)


def pad_observations(
    steps: Mapping[int, TokenSequence], environments: int, length: int, patches: int, patch: int
) -> Observation:
    """Return the observations of some of B environments as one batch of arrays of given sizes.

    Args:
      steps: {index of the environment: tokens of its observation}. The others have no tokens.
      environments: B.
      length: Number T of positions.
      patches: Number P of patches of all environments together.
      patch: Side of an image patch in pixels.
    """
    ids, local = np.zeros((2, environments, length), np.int32)
    real = np.zeros((environments, length), bool)
    pool = np.zeros((patches, patch, patch, 3), np.uint8)
    slots = np.full(patches, environments * length, np.int32)
    intervals = np.zeros((patches, 4), np.int32)
    start = 0
    for b, step in steps.items():
        ids[b, : len(step)], local[b, : len(step)], real[b, : len(step)] = step.token_ids, step.local_position, True
        if number := len(step.patch_slots):
            part = slice(start, start + number)
            pool[part], intervals[part] = step.patches, step.patch_intervals
            slots[part] = step.patch_slots + b * length
            start += number
    return Observation(*map(jnp.asarray, (ids, local, real, pool[None], slots[None], intervals[None])))


class ActionTable:
    """The action tokens of the tasks in B environments, which change task by task, as arrays on the host.

    Attributes:
      ranges: (A, 2) range [low, high) of ids of each action token in each environment; None where no task is played.
      position: Local position of action tokens in each environment.
      memory_steps: Maximum number of timesteps in each environment's attention window, None for no limit.
    """

    def __init__(self, environments: int):
        self.ranges: list[np.ndarray | None] = [None] * environments
        self.position = [0] * environments
        self.memory_steps: list[int | None] = [None] * environments

    def pad(self, actions: int) -> ActionTokens:
        """Return the arrays of `act`, with A = `actions`."""
        table = np.tile(np.array([0, 1], np.int32), (len(self.ranges), actions, 1))
        counts = np.ones(len(self.ranges), np.int32)
        for b, rows in enumerate(self.ranges):
            if rows is not None:
                table[b, : len(rows)], counts[b] = rows, len(rows)
        memory = np.array([UNLIMITED if steps is None else steps for steps in self.memory_steps], np.int32)
        position = np.array(self.position, np.int32)
        return ActionTokens(*map(jnp.asarray, (table, counts, position, memory)))
