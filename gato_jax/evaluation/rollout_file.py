"""The file of one rendered episode, from which a report shows what the agent does."""

from __future__ import annotations

import pathlib
import types
from collections.abc import Mapping
from typing import Any

import numpy as np

from gato_jax.episodes import Episode
from gato_jax.runtime.atomic_writes import atomic_file


class FramesError(ValueError):
    """An episode without the frames that its file is for; the message names task and seed."""


def rollout_path(directory: pathlib.Path, task: str) -> pathlib.Path:
    """Return the path of the file of a task's episode, `directory/SUITE__TASK.npz`."""
    return directory / f"{task.replace('/', '__')}.npz"


def save_rollout(
    episode: Episode,
    action_names: tuple[str, ...],
    directory: pathlib.Path,
    played_by: Mapping[str, int | float] = types.MappingProxyType({}),
    annotations: Mapping[str, np.ndarray] = types.MappingProxyType({}),
) -> None:
    """Write the frames, actions and rewards of an episode of T actions to `directory/SUITE__TASK.npz`.

    The file holds `frames` (T, height, width, 3), `actions` (T, A) with the action keys side by side in alphabetical
    order, float32 or int32, `rewards` (T,), `action_names`, `seed` and `score`, and the items
    of `played_by` and of `annotations`. A file that is there is replaced.

    Args:
      episode: An episode that was played with frames.
      action_names: The environment's names of its actions, see `Environment.action_names`.
      directory: Folder to write to, which is made if it is missing.
      played_by: `step` and `temperature` of the agent, by which a report tells whether its scores are of this agent.
      annotations: Further arrays, see `annotate_rollout`.

    Raises:
      FramesError: The episode has no frames.
    """
    if episode.frames is None:
        raise FramesError(f"{episode.task}, seed {episode.seed}: frames is None. Play it with frames=1 or more.")
    steps = episode.acting_steps
    actions = np.concatenate([episode.action[key][:steps].reshape(steps, -1) for key in sorted(episode.action)], axis=1)
    continuous = np.issubdtype(actions.dtype, np.floating)
    arrays: dict[str, Any] = {
        "frames": episode.frames,
        "actions": actions.astype(np.float32 if continuous else np.int32),
        "action_names": action_names,
        "rewards": episode.reward[:steps],
        "seed": episode.seed,
        "score": episode.score,
        **played_by,
        **annotations,
    }
    with atomic_file(rollout_path(directory, episode.task)) as written:
        np.savez_compressed(written, **arrays)
