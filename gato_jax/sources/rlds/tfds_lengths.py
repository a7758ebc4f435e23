"""How much each record of a dataset of TFDS holds, which TFDS does not keep: read once and kept beside it."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gato_jax.episodes.atomic_writes import atomic_file
from gato_jax.episodes.record_files import Records, open_records
from gato_jax.episodes.tfrecord import RecordError
from gato_jax.sources.reader import Rejection
from gato_jax.sources.rlds.tfds_dataset import TfdsDataset, epath_of


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class RecordLengths:
    """What is known of the N readable records of a split once each was seen.

    Attributes:
      length: (N,) int64, values of the counted feature: the steps of an episode.
      place: (N, 2) int64, number of the file and of the record in it.
      rejected: what could not be read.
    """

    length: np.ndarray
    place: np.ndarray
    rejected: tuple[Rejection, ...]

    @classmethod
    def read(cls, dataset: TfdsDataset, split: str, *, counted: str) -> RecordLengths:
        """From a sidecar, which is made once by reading everything, and kept.

        Args:
          dataset: whose records.
          split: names the sidecar.
          counted: the feature of which each record holds a list, as `steps/is_first`.
        """
        file = _sidecar(dataset.directory, split)
        about = json.dumps([counted, dataset.sizes])
        try:
            with file.open("rb") as content, np.load(io.BytesIO(content.read()), allow_pickle=False) as kept:
                if str(kept["about"]) == about:
                    rejected = tuple(Rejection(*said) for said in json.loads(str(kept["rejected"])))
                    return cls(length=kept["length"], place=kept["place"], rejected=rejected)
        except (OSError, KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile):
            pass  # missing or damaged: made anew
        made = _count(dataset, counted)
        try:
            with atomic_file(file, shared=True) as partial:
                np.savez(partial, about=about, length=made.length, place=made.place, rejected=json.dumps(made.rejected))
        except OSError as error:
            warnings.warn(f"{file}: cannot be kept ({error}); the dataset is read whole at each opening", stacklevel=3)
        return made

    @classmethod
    def of_one(cls, dataset: TfdsDataset) -> RecordLengths:
        """Where each record holds one thing: files are opened, no record is read."""
        rejected: list[Rejection] = []
        opened = [(number, len(records)) for number, _, records in _open_files(dataset, rejected)]
        place = [(number, record) for number, count in opened for record in range(count)]
        return cls(
            length=np.ones(len(place), np.int64),
            place=np.array(place, np.int64).reshape(-1, 2),
            rejected=tuple(rejected),
        )


def _sidecar(directory: str, split: str) -> Path:
    """Beside the records; for those in a bucket, in this user's cache."""
    if "://" not in directory:
        return Path(directory) / f"episode_lengths-{split}.npz"
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return cache / "gato_jax" / f"{hashlib.sha256(directory.encode()).hexdigest()[:16]}-{split}.npz"


def _open_files(dataset: TfdsDataset, rejected: list[Rejection]) -> Iterator[tuple[int, str, Records]]:
    """Number, path and records of each file; what is wrong with one is appended to `rejected`."""
    for number, (file, count) in enumerate(dataset.files.items()):
        path = f"{dataset.directory}/{file}"
        try:
            records = open_records(epath_of(dataset.directory) / file)
        except OSError as error:
            rejected.append(Rejection(path, f"it cannot be opened ({error}); copy the file again"))
            continue
        if records.problem or len(records) != count:
            problem = records.problem or f"{path}: other than described"
            rejected.append(Rejection(path, f"{problem}; {len(records)} of {count} records can be read"))
        yield number, path, records


def _count(dataset: TfdsDataset, counted: str) -> RecordLengths:
    """Reads every record. What is damaged is rejected, and the rest stays readable."""
    import tqdm

    lengths, places, rejected = [], [], []
    said = f"{dataset.directory}: episode lengths, once"
    with tqdm.tqdm(total=sum(dataset.files.values()), desc=said, unit=" records", mininterval=1.0) as progress:
        for number, path, records in _open_files(dataset, rejected):
            for record in range(len(records)):
                progress.update()
                try:
                    length = _count_values(records[record], counted)
                except (RecordError, OSError) as error:
                    rejected.append(Rejection(f"{path}, record {record}", str(error)))
                    continue
                if not length:
                    rejected.append(Rejection(f"{path}, record {record}", f"it has no {counted.split('/')[0]}"))
                    continue
                lengths.append(length)
                places.append((number, record))
    return RecordLengths(
        length=np.array(lengths, np.int64),
        place=np.array(places, np.int64).reshape(-1, 2),
        rejected=tuple(rejected),
    )


def _count_values(record: bytes, counted: str) -> int:
    """How many values a feature of the record has, none where it has no such feature."""
    from google.protobuf.message import DecodeError
    from tensorflow_datasets import proto

    messages: Any = proto.tf_example_pb2  # its messages are made when it is imported
    try:
        example = messages.Example.FromString(record)
    except DecodeError as error:
        raise RecordError(f"it is no record of TFDS ({error})") from None
    feature = example.features.feature[counted]
    kind = feature.WhichOneof("kind")
    return len(getattr(feature, kind).value) if kind else 0
