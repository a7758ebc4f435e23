"""Lengths of the records of a TFDS dataset. TFDS does not store them, so they are counted once and kept beside it."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gato_jax.episodes.record_files import Records, open_records
from gato_jax.episodes.tfrecord import RecordError
from gato_jax.runtime.archives import ARCHIVE_ERRORS
from gato_jax.runtime.atomic_writes import atomic_file
from gato_jax.sources.reader import Rejection
from gato_jax.sources.rlds.tfds_dataset import TfdsDataset
from gato_jax.sources.rlds.tfds_names import to_epath

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class RecordLengths:
    """Lengths and addresses of the N readable records of a split.

    Attributes:
      length: Number of values that a feature has in each record, for example of steps in an episode, (N,) int64.
      address: Number of the file in `TfdsDataset.files`, and of the record in it, both from 0, (N, 2) int64.
      rejected: Files and records that cannot be read, and records in which the feature has no values.
    """

    length: np.ndarray
    address: np.ndarray
    rejected: tuple[Rejection, ...]

    @classmethod
    def read(cls, dataset: TfdsDataset, split: str, *, feature: str, size: int = 1) -> RecordLengths:
        """Read the lengths from a file beside the dataset; if it is missing or outdated, count them and write it.

        For a local dataset the file is `episode_lengths-SPLIT.npz` in its folder, for a dataset in a bucket a file in
        the user's cache; see `_lengths_file`. It is outdated if the feature, the name or any byte of a record file, or
        the number of records that the description promises has changed. A warning is issued if the file cannot be
        written.

        Args:
          dataset: The split of the dataset.
          split: Name of the split.
          feature: Feature of the records whose values are counted, for example `steps/is_first`.
          size: Number of values for each step; the length is the number of values divided by it.
        """
        file = _lengths_file(dataset.directory, split)
        key = json.dumps([feature, size, dataset.digests, [*dataset.files.values()]])
        try:
            with file.open("rb") as content, np.load(io.BytesIO(content.read()), allow_pickle=False) as stored:
                if str(stored["about"]) == key:
                    parts = json.loads(str(stored["rejected"]))
                    rejected = tuple(Rejection(where, reason, lost) for where, reason, lost in parts)
                    return cls(length=stored["length"], address=stored["place"], rejected=rejected)
        except ARCHIVE_ERRORS:
            pass  # the file is missing or damaged, so the lengths are counted again
        lengths = _count(dataset, feature, size)
        try:
            rejected = json.dumps(lengths.rejected)
            with atomic_file(file, shared=True) as partial:
                np.savez(partial, about=key, length=lengths.length, place=lengths.address, rejected=rejected)
        except OSError as error:
            _log.warning("cannot write %s (%s); the whole dataset is read each time it is opened", file, error)
        return lengths

    @classmethod
    def ones(cls, dataset: TfdsDataset) -> RecordLengths:
        """Return a length of 1 for each record, for records that hold one item each.

        Files are opened, but no record is read, so damaged records are not found.
        """
        rejected: list[Rejection] = []
        opened = [(number, len(records)) for number, _, records in _open_files(dataset, rejected)]
        address = [(number, record) for number, count in opened for record in range(count)]
        return cls(
            length=np.ones(len(address), np.int64),
            address=np.array(address, np.int64).reshape(-1, 2),
            rejected=tuple(rejected),
        )


def _lengths_file(directory: str, split: str) -> Path:
    """Return the path of the lengths: `episode_lengths-SPLIT.npz` in the folder of a local dataset.

    For a bucket it is `gato_jax/HASH-SPLIT.npz` in $XDG_CACHE_HOME or ~/.cache, with a hash of the address.
    """
    if "://" not in directory:
        return Path(directory) / f"episode_lengths-{split}.npz"
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return cache / "gato_jax" / f"{hashlib.sha256(directory.encode()).hexdigest()[:16]}-{split}.npz"


def _open_files(dataset: TfdsDataset, rejected: list[Rejection]) -> Iterator[tuple[int, str, Records]]:
    """Yield number, path and records of each file that can be opened; append problems to `rejected`.

    A file that cannot be opened is skipped. A file with another problem, such as too few records, is yielded as far as
    it can be read.
    """
    for number, (file, count) in enumerate(dataset.files.items()):
        path = f"{dataset.directory}/{file}"
        try:
            records = open_records(to_epath(dataset.directory) / file)
        except OSError as error:
            rejected.append(Rejection(path, f"it cannot be opened ({error}). Copy the file again.", count))
            continue
        if records.problem or len(records) != count:
            problem = (records.problem or "its number of records differs from the description").removeprefix(
                f"{path}: "
            )
            lost = max(count - len(records), 0)
            found = f"{len(records)} of {count} records can be read"
            if len(records) > count:
                found = f"it has {len(records)}, expected {count}"
            rejected.append(Rejection(path, f"{problem}; {found}", lost))
        yield number, path, records


def _count(dataset: TfdsDataset, feature: str, size: int) -> RecordLengths:
    """Read every record and count the values of a feature; damaged records, and those without values, are rejected.

    Args:
      dataset: The split of the dataset.
      feature: Name of the feature.
      size: Number of its values for each step.
    """
    import tqdm

    lengths, addresses, rejected = [], [], []
    description = f"{dataset.directory}: count episode lengths, once"
    with tqdm.tqdm(total=sum(dataset.files.values()), desc=description, unit=" records", mininterval=1.0) as progress:
        for number, path, records in _open_files(dataset, rejected):
            for record in range(len(records)):
                progress.update()
                try:
                    length = _count_values(records[record], feature) // size
                except (RecordError, OSError) as error:
                    rejected.append(Rejection(f"{path}, record {record}", str(error)))
                    continue
                if not length:
                    name = feature.split("/")[0]
                    rejected.append(Rejection(f"{path}, record {record}", f"it has no {name}, expected 1 or more"))
                    continue
                lengths.append(length)
                addresses.append((number, record))
    return RecordLengths(
        length=np.array(lengths, np.int64),
        address=np.array(addresses, np.int64).reshape(-1, 2),
        rejected=tuple(rejected),
    )


def _count_values(record: bytes, feature: str) -> int:
    """Return the number of values of a feature in a serialized tf.train.Example; 0 if it has no such feature.

    Raises:
      RecordError: The record is damaged.
    """
    from google.protobuf.message import DecodeError
    from tensorflow_datasets import proto

    messages: Any = proto.tf_example_pb2  # typed as Any, because protobuf creates its classes at import
    try:
        example = messages.Example.FromString(record)
    except DecodeError as error:
        raise RecordError(f"it is not a record of TFDS ({error})") from None
    values = example.features.feature[feature]
    kind = values.WhichOneof("kind")
    return len(getattr(values, kind).value) if kind else 0
