"""Access to the files and records of a dataset prepared by TFDS, without TensorFlow."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import os
import pathlib
import re
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import numpy as np

from gato_jax.episodes.errors import describe_error
from gato_jax.episodes.record_files import FILE_FORMATS, Records, open_records
from gato_jax.runtime.content_digests import content_digests, file_key
from gato_jax.runtime.paths import BucketError, as_path, is_bucket
from gato_jax.sources.files import resolve_within
from gato_jax.sources.reader import NoSplitError, Rejection, SourceError
from gato_jax.sources.rlds.tfds_names import INFO_FILE, find_tfds_folder, to_epath

FEATURES_FILE = "features.json"
_SHARD = re.compile(r"-(\d+)(-of-\d+)?$")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TfdsDataset:
    """The files of one split of a dataset.

    Attributes:
      directory: Folder NAME/VERSION or NAME/CONFIG/VERSION, local or in a bucket (gs://...).
      name: NAME or NAME/CONFIG, as in `dataset_info.json`.
      files: {file name: number of records according to `dataset_info.json`}, in order, of the files that exist.
      missing: One rejection for each file that should have records and does not exist, or is a link out of the folder.
    """

    directory: str
    name: str
    files: Mapping[str, int]
    missing: tuple[Rejection, ...]

    @functools.cached_property
    def digests(self) -> list[tuple[str, str]]:
        """Name and digest of the content of each record file and of `features.json`, which is the last.

        The first access reads files that have changed or have not been read before, see `content_digests`.
        """
        names, folder = [*self.files, FEATURES_FILE], as_path(self.directory)
        digests = content_digests([folder / name for name in names], label=self.directory)
        return list(zip(names, digests, strict=True))


def open_tfds(path: str | os.PathLike[str], split: str) -> TfdsDataset:
    """Find the files of one split of a dataset.

    Args:
      path: Folder with `dataset_info.json`, `features.json` and the records, or a name (see `find_tfds_folder`).
      split: Name of the split.

    Raises:
      SourceError: The dataset or split does not exist, its file format is neither ArrayRecord nor TFRecord, the split
        has no record files at all, or a package to read the bucket is not installed.
    """
    try:
        directory = find_tfds_folder(path)
        info = json.loads((directory / INFO_FILE).read_text())
        counts = {entry["name"]: [int(count) for count in entry["shardLengths"]] for entry in info["splits"]}
        if odd := [name for name in counts if not isinstance(name, str)]:
            raise TypeError(f"the name of a split is {odd[0]!r}, expected text")
        name, file_format = "/".join(filter(None, (info["name"], info.get("configName")))), info.get("fileFormat")
        files = {file.name: file for file in directory.iterdir() if _is_record_file(file.name, split)}
    except (ImportError, BucketError) as error:
        raise SourceError(f"cannot open {path}: {error} Or copy the folder to a disk.") from None
    except (OSError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(
            f"cannot open {path}: {path}/{INFO_FILE} does not describe a TFDS dataset ({describe_error(error)}). Give "
            "the folder NAME/VERSION that contains it."
        ) from None
    if split not in counts:
        raise NoSplitError(f"cannot open {directory}: it has no split {split!r}. Its splits: {', '.join(counts)}.")
    if (file_format or "tfrecord") not in FILE_FORMATS:
        raise SourceError(
            f"cannot open {directory}: its file format is {file_format}, expected {' or '.join(FILE_FORMATS)}. Prepare "
            "it again in one of these."
        )
    if not files:
        raise SourceError(
            f"cannot open {directory}: it has no record files of split {split!r}. Copy the whole folder of the dataset."
        )
    refused = _refused_links(directory, (INFO_FILE, FEATURES_FILE, *files))
    for described in (INFO_FILE, FEATURES_FILE):
        if described in refused:
            raise SourceError(f"cannot open {directory}: {refused[described]}")
    by_shard = {int(match[1]): name for name in sorted(files) if (match := _SHARD.search(name))}
    missing = {
        shard: refused.get(by_shard.get(shard, ""), f"record file {shard} is missing. Copy the whole folder.")
        for shard, count in enumerate(counts[split])
        if count and by_shard.get(shard) not in files.keys() - refused.keys()
    }
    return TfdsDataset(
        directory=os.fspath(directory),
        name=name,
        files={
            by_shard[shard]: count
            for shard, count in enumerate(counts[split])
            if shard in by_shard and by_shard[shard] not in refused
        },
        missing=tuple(
            Rejection(
                f"{directory}, split {split!r}",
                reason,
                counts[split][shard],
            )
            for shard, reason in missing.items()
        ),
    )


def _refused_links(directory: os.PathLike[str], names: Iterable[str]) -> dict[str, str]:
    """Return {name of a file: reason} of the links in a folder on disk that lead out of it (see `files`)."""
    refused = {}
    if is_bucket(directory):  # which has no links
        return refused
    for name in names:
        try:
            resolve_within(pathlib.Path(directory), name)
        except SourceError as error:
            refused[name] = str(error)
    return refused


def open_record_file(directory: str, file: str) -> Records:
    """Open the records of a file and keep it open for further calls, as long as it does not change.

    Args:
      directory: Folder of the dataset, local or in a bucket.
      file: Name of the file in it.

    Returns:
      A sequence of records, bytes.

    Raises:
      OSError: The file cannot be opened.
    """
    return _open_record_file(directory, file, file_key(as_path(directory) / file))


def _is_record_file(name: str, split: str) -> bool:
    """Return whether a file is named as a record file of a split.

    A glob would misread a bracket in the name of the folder.
    """
    return re.fullmatch(rf".*-{re.escape(split)}\..*record-.*", name) is not None


@functools.lru_cache(maxsize=256)
def _open_record_file(directory: str, file: str, key: Hashable) -> Records:
    return open_records(to_epath(directory) / file)


class RecordParser:
    """Parser of the records of a dataset, by TFDS's own NumPy parser. Images and texts stay encoded."""

    def __init__(self, directory: str):
        import tensorflow_datasets as tfds
        from tensorflow_datasets.core import example_parser

        self.features: Any = tfds.builder_from_directory(directory).info.features
        self._parser: Any = example_parser.ExampleParserNp(self.features.get_serialized_info())

    def parse(self, record: bytes) -> Columns:
        """Parse one record, the bytes of a serialized tf.train.Example.

        Raises:
          Exception: The record is damaged or has other fields than the dataset. The exception is whatever protobuf or
            TFDS raises.
        """
        return Columns(self._parser.parse_example(record), self.features)


def dataset_parser(directory: str) -> RecordParser:
    """Return the parser of a dataset; it is built once for each dataset, as long as its features do not change.

    Raises:
      ImportError: A package such as tensorflow-datasets is not installed.
      SourceError: The features of the dataset cannot be read.
    """
    try:
        return _dataset_parser(directory, file_key(as_path(directory) / FEATURES_FILE))
    except ImportError:
        raise
    except Exception as error:  # errors of JSON, of protobuf, or of custom features
        raise SourceError(
            f"cannot open {directory}: its features.json cannot be read "
            f"({describe_error(error)}). Copy the folder again."
        ) from error


@functools.lru_cache(maxsize=16)
def _dataset_parser(directory: str, key: Hashable) -> RecordParser:
    return RecordParser(directory)


class Columns:
    """Mapping from the path of a field, such as `steps/action`, to its values in one record.

    Only `in` and indexing are supported. A field of each step has one value for each step.
    """

    def __init__(self, values: Any, features: Any):
        self._values, self._features = values, features

    def __contains__(self, path: str) -> bool:
        try:
            self._look_up(path)
        except KeyError:
            return False
        return True

    def __getitem__(self, path: str) -> Any:
        """Return the value of a field, or its values at all steps for a field of each step.

        Images and texts are returned as encoded bytes.

        Raises:
          KeyError: The record has no such field. The argument of the error names similar fields, or says that the
            dataset declares the field and the record lacks it.
        """
        value, feature = self._look_up(path)
        if value is None:
            raise KeyError("the dataset declares it, and this record lacks it")
        if getattr(feature, "_encoded_to_bytes", False):  # the tensor is stored as compressed bytes
            return np.stack([feature.decode_example_np(one) for one in value])
        return value

    def feature(self, path: str) -> Any:
        """Return the TFDS feature of a field, or raise KeyError if the record has no such field."""
        return self._look_up(path)[1]

    def _look_up(self, path: str) -> tuple[Any, Any]:
        """Return the stored value of a field, named by a path with slashes, and its TFDS feature, or raise KeyError."""
        value, feature, rest = self._values, self._features, path
        while rest:
            if not isinstance(value, Mapping):
                raise KeyError(f"{path!r} continues below a field that holds a value")
            name = _longest_key(value, rest)
            if name is None:
                near = difflib.get_close_matches(rest, value, n=3, cutoff=0.4) or sorted(value)
                raise KeyError(f"its fields include {', '.join(near)}")
            value, rest = value[name], rest[len(name) + 1 :]
            feature = getattr(feature, "feature", feature)[name]  # a Dataset or Sequence wraps a feature
        return value, feature


def _longest_key(keys: Iterable[str], path: str) -> str | None:
    """Return the longest key that equals the path or is a folder of it, or None for no such key.

    Keys may themselves contain slashes: with the keys `a` and `a/b`, the path `a/b/c` gives `a/b`.
    """
    matching = [key for key in keys if path == key or path.startswith(f"{key}/")]
    return max(matching, key=len, default=None)
