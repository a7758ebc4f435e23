"""The content of TFDS datasets: their features, and the splits, files and features that are not read."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from gato_jax.sources.contents import FoundField, unnamed_fields
from gato_jax.sources.fields import Fields
from gato_jax.sources.reader import Omission
from gato_jax.sources.rlds.tfds_dataset import INFO_FILE, TfdsDataset, dataset_parser, to_epath
from gato_jax.sources.rlds.tfds_images import is_image

_READ = (INFO_FILE, "features.json", "provenance.json", "fields.json", "metadata.json")
_LENGTHS = re.compile(r"episode_lengths-.*\.npz")


def describe_features(directory: str, steps: str = "steps") -> list[FoundField]:
    """Return the features of a dataset; those below `steps` without this prefix, the others with a slash before them.

    Args:
      directory: folder of the dataset.
      steps: name of the feature that has a value at each step; an empty string if no feature has.
    """
    features = dataset_parser(directory).features
    found = []
    for name, feature in features.items():
        if name == steps:
            found += _describe(feature.feature, "", per_episode=False)
        else:
            found += _describe({name: feature}, "/" if steps else "", per_episode=bool(steps))
    return found


def _describe(features: Any, prefix: str, *, per_episode: bool) -> Iterator[FoundField]:
    for name, feature in features.items():
        path = f"{prefix}{name}"
        inner = getattr(feature, "feature", feature)  # a sequence wraps a feature
        if hasattr(inner, "items"):
            yield from _describe(inner, f"{path}/", per_episode=per_episode)
            continue
        repeated = (-1,) if inner is not feature else ()
        shape = tuple(-1 if side is None else int(side) for side in inner.shape or ())
        if is_image(inner):
            kind = "image" if np.dtype(inner.np_dtype) == np.uint8 else f"image of {np.dtype(inner.np_dtype)}"
        else:
            is_text = type(inner).__name__ == "Text"
            kind = "text" if is_text else str(getattr(inner.np_dtype, "__name__", inner.np_dtype))
            shape = () if is_text else shape
        yield FoundField(path=path, kind=kind, shape=(*repeated, *shape), per_episode=per_episode)


def find_left_out(
    dataset: TfdsDataset, split: str, fields: Fields, read: Collection[str] = (), steps: str = "steps"
) -> list[Omission]:
    """List the splits, files and features of a dataset that are not read.

    Args:
      dataset: the split that is read.
      split: its name.
      fields: the fields that are read.
      read: paths of features that are read although no field names them.
      steps: as in `describe_features`.
    """
    folder = to_epath(dataset.directory)
    counts = {
        entry["name"]: sum(map(int, entry["shardLengths"]))
        for entry in json.loads((folder / INFO_FILE).read_text())["splits"]
    }
    omissions = [
        Omission(
            f"{dataset.directory}: split {name!r}", f"its {count} records belong to no split that is read", (name,)
        )
        for name, count in counts.items()
        if name != split
    ]
    shard = re.compile(rf".*-({'|'.join(map(re.escape, counts))})\.\w*record-\d+(-of-\d+)?")
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        match = shard.fullmatch(file.name)
        is_read = file.name in dataset.files or file.name in _READ or _LENGTHS.fullmatch(file.name)
        if not is_read and (match is None or match[1] == split):
            reason = "the description of the dataset does not name it"
            omissions.append(Omission(f"{dataset.directory}/{file.name}", reason))
    found = describe_features(dataset.directory, steps)
    return [*omissions, *unnamed_fields(dataset.directory, found, fields, read)]
