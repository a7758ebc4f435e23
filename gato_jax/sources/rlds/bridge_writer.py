"""Episodes of a simulated arm in exactly the form of the public bridge_dataset, so that one reader serves both."""

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
from gato_jax.episodes.tfds_writer import disk_errors, staged, write_examples
from gato_jax.sources.rlds.reader import PROVENANCE_FILE

_SIDE = 256
_CAMERAS = ("image_0", "image_1", "image_2", "image_3")
_JPEG_QUALITY = 95


def bridge_features() -> Any:
    """The `tfds.features.FeaturesDict` of the public BridgeData V2 RLDS release, field for field."""
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
    """Writes `root/bridge_dataset/1.0.0` and returns that folder.

    The features have no room for provenance and rate, so `provenance.json` beside the records holds them, and each
    `file_path` begins with the kind: nobody can take simulated episodes for the real ones. The other cameras are black
    and the language embedding zero; a final observation, which the form does not know, is left out.

    Args:
      root: where datasets lie.
      splits: episodes with observation `image_0`, `image_1` (T, H, W, 3) uint8, `state` (T, 7) float32 and
        `instruction` str, and action `action` (T, 7) float32: see `tables` for what the numbers mean. H and
        W divide 256: images are enlarged by repeating pixels. All of one provenance.
      control_rate_hz: of the simulated arm; the real one's is 5.
      overwrite: whether to replace a dataset that is there.

    Raises:
      StoreError: the dataset exists, an episode does not fit the form, or the disk refuses.
    """
    directory = Path(root) / "bridge_dataset" / "1.0.0"
    if directory.exists() and not overwrite:
        raise StoreError(
            f"{directory}: already there; overwrite=True (--overwrite) replaces it, or name another folder"
        )
    provenances: set[Provenance] = set()
    examples = {split: _examples(split, episodes, provenances) for split, episodes in splits.items()}
    with staged(directory) as staging:
        write_examples(staging, directory, bridge_features(), examples)
        fields = dataclasses.asdict(provenances.pop()) | {"control_rate_hz": control_rate_hz}
        with disk_errors(directory):
            (staging / PROVENANCE_FILE).write_text(json.dumps(fields, indent=2))
    return directory


def _examples(split: str, episodes: Iterable[Episode], provenances: set[Provenance]) -> Iterator[dict[str, Any]]:
    for number, episode in enumerate(episodes):
        where = f"bridge_dataset: episode {number} of split {split!r}"
        provenances.add(episode.provenance)
        if len(provenances) > 1:
            raise StoreError(f"{where}: {episode.provenance} is not that of the episodes before; write it elsewhere")
        yield _encode(episode, number, where)


def _encode(episode: Episode, number: int, where: str) -> dict[str, Any]:
    steps = episode.acting_steps
    try:
        observation, action = episode.observation, np.asarray(episode.action["action"], np.float32)
        pictures = {camera: [_jpeg(image) for image in observation[camera][:steps]] for camera in _CAMERAS[:2]}
        state = np.asarray(observation["state"], np.float32)
        instruction = observation["instruction"]
    except (KeyError, ValueError) as error:
        raise StoreError(f"{where}: {error!r}; see write_bridge_dataset for what an episode needs") from error
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
    """The image at 256 by 256. Written here, because TFDS would start TensorFlow to do it."""
    height, width, _ = image.shape
    if _SIDE % height or _SIDE % width or image.dtype != np.uint8:
        raise ValueError(f"image of shape {image.shape} and type {image.dtype}; sides must divide {_SIDE}, type uint8")
    file = io.BytesIO()
    enlarged = image.repeat(_SIDE // height, axis=0).repeat(_SIDE // width, axis=1)
    PIL.Image.fromarray(enlarged).save(file, format="jpeg", quality=_JPEG_QUALITY, subsampling=0)
    return file.getvalue()
