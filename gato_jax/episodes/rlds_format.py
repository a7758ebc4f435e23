"""Conversion of an episode to an RLDS record and back, and the only module that knows the features of TFDS.

An observation or action key `a/b` is stored as the nested feature {a: {b: ...}}. A step of a task without observations
has no feature `observation`, because plain TFDS cannot read an empty one. Images with 1, 3 or 4 channels are
stored as PNG, others as compressed arrays; text as UTF-8, discrete values as int64, continuous ones as float32. TFDS is
imported by the functions that need it; no function imports TensorFlow.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gato_jax.episodes.episode import Episode, Provenance
from gato_jax.episodes.keys import look_up, nest
from gato_jax.episodes.modalities import Continuous, Discrete, Image, Modality, Text
from gato_jax.episodes.record_files import SplitRecords
from gato_jax.episodes.specs import TaskSpec

STEP_FIELDS = {
    "reward": np.float32,
    "discount": np.float32,
    "is_first": np.bool_,
    "is_last": np.bool_,
    "is_terminal": np.bool_,
}
PROVENANCE_FIELDS = tuple(field.name for field in dataclasses.fields(Provenance))
NONE = -1  # stored for a missing success or seed, as TFDS features cannot be null
_PNG_CHANNELS = (1, 3, 4)


def features(spec: TaskSpec) -> Any:
    """Return the `tfds.features.FeaturesDict` of the episodes of a task."""
    import tensorflow_datasets as tfds

    sides = {side: nest({k: _feature(m) for k, m in keys.items()}) for side, keys in _stored_sides(spec).items()}
    metadata = {"seed": np.int64, "success": np.int64, "final_observation": np.bool_}
    return tfds.features.FeaturesDict(
        {
            "steps": tfds.features.Dataset({**sides, **STEP_FIELDS}),
            "episode_metadata": {**metadata, **{name: tfds.features.Text() for name in PROVENANCE_FIELDS}},
        }
    )


def _stored_sides(spec: TaskSpec) -> dict[str, Mapping[str, Modality]]:
    """Return {"observation": its modalities, "action": its modalities} without a side that has no keys."""
    return {side: keys for side in ("observation", "action") if (keys := getattr(spec, side))}


def _feature(modality: Modality) -> Any:
    import tensorflow_datasets as tfds

    match modality:
        case Text():
            return tfds.features.Text()
        case Image() if modality.channels in _PNG_CHANNELS:
            return tfds.features.Image(shape=modality.shape, encoding_format="png")
        case Image():
            return tfds.features.Tensor(shape=modality.shape, dtype=np.uint8, encoding="zlib")
        case Discrete():
            return tfds.features.Tensor(shape=modality.shape, dtype=np.int64)
        case Continuous():
            return tfds.features.Tensor(shape=modality.shape, dtype=np.float32)


def encode(spec: TaskSpec, episode: Episode) -> dict[str, Any]:
    """Return an episode as the example that `features(spec)` serialises, without checking it against the spec.

    The example is {"steps": one nested dict for each of the T steps, "episode_metadata": {name: value}}, with images as
    PNG files in memory and -1 for a missing seed or success.
    """
    columns = {
        side: {k: list(_encode_column(m, getattr(episode, side)[k])) for k, m in keys.items()}
        for side, keys in _stored_sides(spec).items()
    }
    steps = []
    for t in range(len(episode)):
        step = {side: nest({k: column[t] for k, column in keys.items()}) for side, keys in columns.items()}
        steps.append(step | {name: dtype(getattr(episode, name)[t]) for name, dtype in STEP_FIELDS.items()})
    metadata = {
        "seed": NONE if episode.seed is None else episode.seed,
        "success": NONE if episode.success is None else int(episode.success),
        "final_observation": episode.final_observation,
    }
    provenance = {name: getattr(episode.provenance, name) for name in PROVENANCE_FIELDS}
    return {"steps": steps, "episode_metadata": metadata | provenance}


def _encode_column(modality: Modality, values: np.ndarray) -> Iterator[Any]:
    """Yield the T values of one key as TFDS takes them, images as PNG, which TFDS itself would need TensorFlow for."""
    from PIL import Image as Picture

    match modality:
        case Text():
            yield from values
        case Image() if modality.channels in _PNG_CHANNELS:
            for image in values:
                file = io.BytesIO()
                Picture.fromarray(image[..., 0] if modality.channels == 1 else image).save(file, format="png")
                file.seek(0)
                yield file
        case Image():
            yield from values
        case Discrete():
            yield from np.asarray(values, np.int64)
        case Continuous():
            yield from np.asarray(values, np.float32)


class RecordReader:
    """Reader of the episodes of one split, by their position over all files.

    It decodes whole columns instead of steps, which is 20 times faster for episodes without images.

    Args:
      directory: folder of the dataset, which holds the description by TFDS.
      files: the record files of the split, in order.
      spec: the task.
    """

    def __init__(self, directory: Path, files: Sequence[Path], spec: TaskSpec):
        import tensorflow_datasets as tfds
        from tensorflow_datasets.core import example_parser

        features: Any = tfds.builder_from_directory(directory).info.features
        parser: Any = example_parser.ExampleParserNp  # the annotations of TFDS lack some of its methods
        self._records = SplitRecords(files)
        self._parser = parser(features.get_serialized_info())
        self._step_features = features["steps"].feature
        self._spec = spec

    def __len__(self) -> int:
        return len(self._records)

    def read(self, position: int) -> Episode:
        columns: dict[str, Any] = self._parser.parse_example(self._records[position])
        steps, metadata = columns["steps"], columns["episode_metadata"]
        sides = {
            side: {
                key: _decode_column(modality, look_up(steps[side], key), look_up(self._step_features[side], key))
                for key, modality in getattr(self._spec, side).items()
            }
            for side in ("observation", "action")
        }
        seed, success = metadata["seed"], metadata["success"]
        return Episode(
            task=self._spec.name,
            **sides,
            **{name: steps[name] for name in STEP_FIELDS},
            provenance=Provenance(**{name: metadata[name].decode() for name in PROVENANCE_FIELDS}),
            final_observation=bool(metadata["final_observation"]),
            success=None if success == NONE else bool(success),
            seed=None if seed == NONE else int(seed),
        )


def _decode_column(modality: Modality, column: np.ndarray, feature: Any) -> np.ndarray:
    """Return the (T, ...) values of one key: text as str objects, images decoded to uint8, numbers unchanged.

    Args:
      modality: modality of the key.
      column: the T values of the key in a record; text and images are bytes.
      feature: the TFDS feature of the key, which decodes images.
    """
    match modality:
        case Text():
            return np.array([text.decode() for text in column], dtype=object)
        case Image():
            return np.stack([feature.decode_example_np(image) for image in column])
    return column
