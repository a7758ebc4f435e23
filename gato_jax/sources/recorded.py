"""Datasets of our own as a source, which tell what they hold and do not read: other splits and other files."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path

from gato_jax.episodes import EpisodeDataset, open_dataset
from gato_jax.episodes.record_files import FILE_FORMATS
from gato_jax.episodes.store import INDEX_FILE, TASK_FILE, TFDS_FILE
from gato_jax.sources.reader import Omission

# Files that gato_jax writes beside the records.
_OWN = (INDEX_FILE, TASK_FILE, TFDS_FILE, "features.json", "metadata.json", "fields.json", "provenance.json")
_OWN += ("rejected.json", "actions.json", "conversion.json", "recording.json")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class RecordedDataset(EpisodeDataset):
    """One split of a dataset that gato_jax wrote, whose record files are as they were written."""

    @functools.cached_property
    def left_out(self) -> tuple[Omission, ...]:
        """The other splits of the dataset, and the files in its folder that belong to no split."""
        splits = {entry["name"]: entry for entry in json.loads((self.directory / TFDS_FILE).read_text())["splits"]}
        omissions = []
        for name, entry in splits.items():
            if name != self.split:
                count = sum(map(int, entry["shardLengths"]))
                reason = f"its {count} episodes belong to no split that is read"
                omissions.append(Omission(f"{self.directory}: split {name!r}", reason, (name,)))
        others = tuple(f"-{name}.{kind}-" for name in splits if name != self.split for kind in FILE_FORMATS)
        read = {*_OWN, *self.index.file.tolist()}
        for file in sorted(self.directory.iterdir(), key=lambda file: file.name):
            if file.name not in read and not any(other in file.name for other in others):
                omissions.append(Omission(str(file), "the description of the dataset does not name it"))
        return tuple(omissions)

    def __reduce__(self):
        return _open, (self.directory, self.split)


def open_recorded(path: str | Path, split: str = "train") -> RecordedDataset:
    """Open one split of a dataset that gato_jax wrote, and verify its record files.

    Raises:
      DatasetError: as `open_dataset`; or a record file is not as it was written.
    """
    dataset = _open(path, split)
    dataset.verify()  # its fingerprint is that of the episodes as they were written
    return dataset


def _open(path: str | Path, split: str) -> RecordedDataset:
    dataset = open_dataset(path, split)
    return RecordedDataset(directory=dataset.directory, split=split, spec=dataset.spec, index=dataset.index)
