"""The file of one held-out episode, from which a report shows predicted beside recorded actions."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
from PIL import Image as Pillow

from gato_jax.episodes import Episode, Image
from gato_jax.evaluation.held_out import action_limits, dimension_names
from gato_jax.evaluation.teacher_forcing import predict_actions
from gato_jax.policy import Agent
from gato_jax.runtime.atomic_writes import atomic_file

FRAMES, SIDE = 120, 256  # the most frames of a file, and the longest side of a frame in pixels


def prediction_path(directory: pathlib.Path, dataset: str) -> pathlib.Path:
    """Return the path of the file of a dataset, `directory/DATASET.npz`, with "__" in place of "/"."""
    return directory / f"{dataset.replace('/', '__')}.npz"


def save_prediction(agent: Agent, episode: Episode, number: int, dataset: str, directory: pathlib.Path):
    """Write the recorded and the most probable actions of a held-out episode of T steps to `directory/DATASET.npz`.

    The file holds `recorded` and `predicted`, float32 (T, A), with the action keys side by side; `names` and the limits
    `low` and `high` of each of the A dimensions; `frames`, uint8 (F, height, width, 3), of the task's first image at
    FRAMES steps or fewer, spread evenly and shrunk to SIDE pixels, with F = 0 where it observes none; `episode`, the
    number of the episode in its split; and the `step` of the agent. A file that is there is replaced.

    Args:
      agent: The agent, which reads the recorded steps before each that it predicts (see `predict_actions`).
      episode: The episode.
      number: Number of the episode.
      dataset: Name of the dataset.
      directory: Folder to write to, which is made if it is missing.
    """
    codecs, steps = agent.layout(episode.task).action_codecs, episode.acting_steps
    [predicted] = predict_actions(agent, episode.task, [episode])
    recorded = {key: values[:steps] for key, values in episode.action.items()}
    limits = [action_limits(codec) for _, codec in codecs]
    low, high = (np.concatenate([limit[end] for limit in limits]) for end in (0, 1))
    joined: dict[str, Any] = {
        name: np.concatenate([actions[key].reshape(steps, -1) for key, _ in codecs], axis=1).astype(np.float32)
        for name, actions in (("recorded", recorded), ("predicted", predicted))
    }
    with atomic_file(prediction_path(directory, dataset)) as written:
        np.savez_compressed(
            written, **joined, names=dimension_names(codecs), low=low, high=high, frames=_frames(agent, episode),
            episode=number, step=agent.step,
        )  # fmt: skip


def _frames(agent: Agent, episode: Episode) -> np.ndarray:
    spec = agent.layout(episode.task).spec
    keys = [key for key, modality in spec.observation.items() if isinstance(modality, Image)]
    if not keys:
        return np.zeros((0, 1, 1, 3), np.uint8)
    images = episode.observation[keys[0]]
    chosen = np.linspace(0, episode.acting_steps - 1, min(episode.acting_steps, FRAMES)).round().astype(int)
    return np.stack([_shrink(images[step]) for step in chosen])


def _shrink(image: np.ndarray) -> np.ndarray:
    """Return an image (height, width, channels) with three channels and sides of at most SIDE pixels."""
    drawn = Pillow.fromarray(image if image.shape[-1] == 3 else np.repeat(image[..., :1], 3, axis=-1))
    drawn.thumbnail((SIDE, SIDE))
    return np.asarray(drawn)
