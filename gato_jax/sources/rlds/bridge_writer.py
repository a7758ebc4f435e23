"""Writer of simulated arm episodes with the features of the public bridge_dataset, so that one reader serves both."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from gato_jax.episodes import Episode, Provenance, StoreError
from gato_jax.episodes.tfds_writer import atomic_dataset, disk_errors, write_examples
from gato_jax.sources.rlds.reader import PROVENANCE_FILE

_SIDE = 256
_CAMERAS = ("image_0", "image_1", "image_2", "image_3")
_JPEG_QUALITY = 95


def bridge_features() -> Any:
    """Return the `tfds.features.FeaturesDict` of the public BridgeData V2 RLDS release, `steps` and `episode_metadata`.

    Images of the four cameras are 256 by 256 pixels, as JPEG.
    """
    import tensorflow_datasets as tfds

    picture = tfds.features.Image(shape=(_SIDE, _SIDE, 3), dtype=np.uint8, encoding_format="jpeg")
    state = tfds.features.Tensor(shape=(7,), dtype=np.float32)
    steps = {
        "observation": tfds.features.FeaturesDict({**dict.fromkeys(_CAMERAS, picture), "state": state}),
        "action": tfds.features.Tensor(shape=(7,), dtype=np.float32),
        "discount": np.float32,
        "reward": np.float32,
        "is_first": np.bool_,
        "is_last": np.bool_,
        "is_terminal": np.bool_,
        "language_instruction": tfds.features.Text(),
        "language_embedding": tfds.features.Tensor(shape=(512,), dtype=np.float32),
    }
    metadata = {"file_path": tfds.features.Text(), "episode_id": np.int32, "has_language": np.bool_}
    return tfds.features.FeaturesDict(
        {
            "steps": tfds.features.Dataset(steps),
            "episode_metadata": {**metadata, **{f"has_{camera}": np.bool_ for camera in _CAMERAS}},
        }
    )


def write_bridge_dataset(
    root: str | Path, splits: Mapping[str, Iterable[Episode]], *, control_rate_hz: float, overwrite: bool = False
) -> Path:
    """Write episodes as the dataset `root/bridge_dataset/1.0.0`.

    The features of bridge_dataset hold no provenance and no control rate. Both are written to `provenance.json` beside
    the records, and each `file_path` begins with the kind of the provenance, so that simulated episodes cannot be
    mistaken for real ones. The images of `image_2` and `image_3` are black and the language embedding is zero. A
    final observation is not written, because the features have no place for it.

    Args:
      root: Parent folder of the dataset.
      splits: {split: episodes}. Observations are `image_0` and `image_1`, (T, H, W, 3) uint8, `state`, (T, 7) float32,
        and `instruction`, text; the action is `action`, (T, 7) float32. `tables.open_x_vectors` gives the meaning of
        the numbers. H and W must divide 256; pixels are repeated to enlarge images. All episodes must have the same
        provenance.
      control_rate_hz: Control rate of the simulated arm in Hz. The real arm has 5 Hz.
      overwrite: Whether an existing dataset is replaced.

    Returns:
      The folder of the dataset.

    Raises:
      StoreError: The dataset exists and `overwrite` is False, an episode does not fit the features, two episodes differ
        in their provenance, there is no split, a split is empty, or a file cannot be written.
    """
    directory = Path(root) / "bridge_dataset" / "1.0.0"
    if directory.exists() and not overwrite:
        raise StoreError(
            f"cannot write {directory}: it already exists. Replace it with overwrite=True (--overwrite), or name "
            "another folder."
        )
    if not splits:
        raise StoreError(f"cannot write {directory}: splits is empty, expected one or more. Give it episodes.")
    provenances: set[Provenance] = set()
    examples = {split: _examples(split, episodes, provenances) for split, episodes in splits.items()}
    with atomic_dataset(directory) as staging:
        write_examples(staging, directory, bridge_features(), examples)
        fields = dataclasses.asdict(provenances.pop()) | {"control_rate_hz": control_rate_hz}
        with disk_errors(directory):
            (staging / PROVENANCE_FILE).write_text(json.dumps(fields, indent=2))
    return directory


def _examples(split: str, episodes: Iterable[Episode], provenances: set[Provenance]) -> Iterator[dict[str, Any]]:
    """Yield the TFDS example of each episode of a split, and add the provenance of each episode to `provenances`.

    Raises:
      StoreError: An episode does not fit the features, or `provenances` then has more than one element.
    """
    for number, episode in enumerate(episodes):
        location = f"episode {number} of split {split!r}"
        provenances.add(episode.provenance)
        if len(provenances) > 1:
            raise StoreError(
                f"cannot write bridge_dataset: the provenance of {location} is {episode.provenance}, expected that of "
                "the episodes before. Write it to another folder."
            )
        yield _encode(episode, number, location)


def _encode(episode: Episode, number: int, location: str) -> dict[str, Any]:
    """Return the TFDS example of an episode, without its final observation.

    Args:
      episode: The episode, with the keys of `write_bridge_dataset`.
      number: Its number in the split, which becomes `episode_id`.
      location: Name of the episode in the message of a StoreError.

    Raises:
      StoreError: A key is missing, `state` or `action` are not numbers, or an image is not uint8 or has a height or
        width that does not divide 256.
    """
    steps = episode.acting_steps
    try:
        observation, action = episode.observation, np.asarray(episode.action["action"], np.float32)
        pictures = {camera: [_jpeg(image) for image in observation[camera][:steps]] for camera in _CAMERAS[:2]}
        state = np.asarray(observation["state"], np.float32)
        instruction = observation["instruction"]
    except (KeyError, ValueError) as error:
        raise StoreError(
            f"cannot write bridge_dataset: {location} does not fit its features ({error!r}). See write_bridge_dataset "
            "for the observations and actions that an episode needs."
        ) from error
    pictures |= {camera: [_jpeg(np.zeros((_SIDE, _SIDE, 3), np.uint8))] * steps for camera in _CAMERAS[2:]}
    source = f"{episode.provenance.kind}/{episode.provenance.source}/{episode.task}"
    return {
        "steps": [
            {
                "observation": {camera: io.BytesIO(pictures[camera][t]) for camera in _CAMERAS} | {"state": state[t]},
                "action": action[t],
                "discount": np.float32(episode.discount[t]),
                "reward": np.float32(episode.reward[t]),
                "is_first": t == 0,
                "is_last": t == steps - 1,
                "is_terminal": t == steps - 1 and bool(episode.is_terminal[-1]),
                "language_instruction": instruction[t],
                "language_embedding": np.zeros(512, np.float32),
            }
            for t in range(steps)
        ],
        "episode_metadata": {
            "file_path": source if episode.seed is None else f"{source}/seed_{episode.seed}",
            "episode_id": np.int32(number),
            "has_language": bool(instruction[0]),
            **{f"has_{camera}": number < 2 for number, camera in enumerate(_CAMERAS)},
        },
    }


def _jpeg(image: np.ndarray) -> bytes:
    """Enlarge an (H, W, 3) image to 256 by 256 pixels, by repeating pixels, and encode it as JPEG.

    TFDS could encode it, too, but would start TensorFlow.

    Raises:
      ValueError: The image is not uint8, or H or W does not divide 256.
    """
    height, width, _ = image.shape
    if _SIDE % height or _SIDE % width or image.dtype != np.uint8:
        raise ValueError(
            f"an image is {image.dtype} of shape {image.shape}, expected uint8 and sides that divide {_SIDE}"
        )
    file = io.BytesIO()
    enlarged = image.repeat(_SIDE // height, axis=0).repeat(_SIDE // width, axis=1)
    PIL.Image.fromarray(enlarged).save(file, format="jpeg", quality=_JPEG_QUALITY, subsampling=0)
    return file.getvalue()
