"""A dataset that TFDS prepared, of whoever's making: where it lies, its files, and its records, without TensorFlow."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gato_jax.episodes.record_files import FILE_FORMATS, Records, open_records
from gato_jax.sources.reader import Rejection, SourceError

# etils.epath would start TensorFlow to reach gs://, unless it is told so before its first use; gcsfs reaches it too.
os.environ.setdefault("EPATH_USE_TF", "false")

INFO_FILE = "dataset_info.json"
_SHARD = re.compile(r"-(\d+)(-of-\d+)?$")
_VERSION = re.compile(r"\d+\.\d+\.\d+")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TfdsDataset:
    """The files of one split.

    Attributes:
      directory: the folder NAME/VERSION or NAME/CONFIG/VERSION; any that etils.epath reads, so also gs://BUCKET/...
      name: NAME or NAME/CONFIG, as its description says.
      files: {name: how many records its description counts in it}, in order. missing: those that are not there.
    """

    directory: str
    name: str
    files: Mapping[str, int]
    missing: tuple[Rejection, ...]

    @functools.cached_property
    def sizes(self) -> list[tuple[str, int]]:
        """Name and bytes of each file."""
        folder = epath_of(self.directory)
        return [(name, (folder / name).stat().length) for name in self.files]


def epath_of(where: str | os.PathLike[str]) -> Any:
    """The path as etils.epath has it, which may lie in a bucket."""
    from etils import epath

    return epath.Path(where)


def open_tfds(where: str | os.PathLike[str], split: str) -> TfdsDataset:
    """Finds one split of a dataset.

    Args:
      where: its folder, with `dataset_info.json`, `features.json` and the records; or its name, NAME or NAME/CONFIG,
        which is looked up in TFDS's own folder ($TFDS_DATA_DIR or ~/tensorflow_datasets), newest version first.
      split: as its description names it.

    Raises:
      SourceError: there is no such dataset or split, its files are of another format, or none of them is there.
    """
    try:
        directory = _find(where)
        info = json.loads((directory / INFO_FILE).read_text())
        counts = {entry["name"]: [int(count) for count in entry["shardLengths"]] for entry in info["splits"]}
        name, file_format = "/".join(filter(None, (info["name"], info.get("configName")))), info.get("fileFormat")
        files = {file.name: file for file in directory.glob(f"*-{split}.*record-*")}
    except ImportError as error:
        raise SourceError(f"{where}: {error}; pip install gcsfs to read gs://, or copy the folder here") from None
    except (OSError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(
            f"{where}/{INFO_FILE}: not a TFDS dataset ({error!r}); give the folder NAME/VERSION that holds it"
        ) from None
    if split not in counts:
        raise SourceError(f"{directory}: no split {split!r}; it has {', '.join(counts)}")
    if (file_format or "tfrecord") not in FILE_FORMATS:
        raise SourceError(
            f"{directory}: its files are {file_format}, which is not read; prepare it as {' or '.join(FILE_FORMATS)}"
        )
    if not files:
        raise SourceError(f"{directory}: no record files of split {split!r}; copy the dataset's folder whole")
    by_shard = {int(match[1]): name for name in sorted(files) if (match := _SHARD.search(name))}
    missing = [shard for shard, count in enumerate(counts[split]) if count and shard not in by_shard]
    return TfdsDataset(
        directory=os.fspath(directory),
        name=name,
        files={by_shard[shard]: count for shard, count in enumerate(counts[split]) if shard in by_shard},
        missing=tuple(
            Rejection(f"{directory}, split {split!r}", f"record file {shard} is missing; copy the folder whole")
            for shard in missing
        ),
    )


def _find(where: str | os.PathLike[str]) -> Any:
    """The folder of a dataset, by its path or its name."""
    directory = epath_of(where)
    if "://" in os.fspath(where) or os.path.isabs(where) or directory.is_dir():
        return directory  # if its description is missing, the caller says so
    root = epath_of(os.environ.get("TFDS_DATA_DIR", Path.home() / "tensorflow_datasets"))
    versions = [path for path in (root / where).glob("*") if _VERSION.fullmatch(path.name)]
    if versions:
        return max(versions, key=lambda path: tuple(map(int, path.name.split("."))))
    raise SourceError(
        f"{where}: no such folder, and no dataset of that name in {root} ($TFDS_DATA_DIR says where to look)"
    )


@functools.lru_cache(maxsize=256)
def records_of(directory: str, file: str) -> Records:
    """The records of a file, which stays open. OSError where it cannot be opened."""
    return open_records(epath_of(directory) / file)


class RecordParser:
    """Parses records into trees of columns by TFDS's own NumPy parser; images stay encoded."""

    def __init__(self, directory: str):
        import tensorflow_datasets as tfds
        from tensorflow_datasets.core import example_parser

        self.features: Any = tfds.builder_from_directory(directory).info.features
        self._parser: Any = example_parser.ExampleParserNp(self.features.get_serialized_info())

    def parse(self, record: bytes) -> Columns:
        """Raises ValueError and others, as protobuf and TFDS do, where the record holds other fields."""
        return Columns(self._parser.parse_example(record), self.features)


@functools.lru_cache(maxsize=16)
def parser_of(directory: str) -> RecordParser:
    """The parser of a dataset. SourceError where its features cannot be read."""
    try:
        return RecordParser(directory)
    except ImportError:
        raise
    except Exception as error:  # JSON, protobuf, and whatever features of others raise
        raise SourceError(f"{directory}: its features.json cannot be read ({error}); copy the folder again") from error


class Columns:
    """The fields of one record: a tree of values and the tree of their features."""

    def __init__(self, values: Any, features: Any):
        self._values, self._features = values, features

    def __contains__(self, path: str) -> bool:
        try:
            self._look_up(path)
        except KeyError:
            return False
        return True

    def __getitem__(self, path: str) -> Any:
        """The value, or column of values, of the field `a/b`; images and text as the bytes that are stored.

        Raises:
          KeyError: there is no such field; its argument says what there is.
        """
        value, feature = self._look_up(path)
        if getattr(feature, "_encoded_to_bytes", False):  # a tensor stored as compressed bytes
            return np.stack([feature.decode_example_np(one) for one in value])
        return value

    def _look_up(self, path: str) -> tuple[Any, Any]:
        value, feature, left = self._values, self._features, path
        while left:
            if not isinstance(value, Mapping):
                raise KeyError(f"{path!r} goes on below a field that holds a value")
            name = _longest_key(value, left)
            if name is None:
                near = difflib.get_close_matches(left, value, n=3, cutoff=0.4) or sorted(value)
                raise KeyError(f"there are {', '.join(near)}")
            value, left = value[name], left[len(name) + 1 :]
            feature = getattr(feature, "feature", feature)[name]  # a Dataset or Sequence holds a feature
        return value, feature


def _longest_key(keys: Iterable[str], path: str) -> str | None:
    """The key with which the path begins: some datasets have slashes in the names of their fields."""
    fitting = [key for key in keys if path == key or path.startswith(f"{key}/")]
    return max(fitting, key=len, default=None)
