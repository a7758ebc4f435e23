"""Reader of episodes from standard RLDS datasets, with random access and without TensorFlow.

A dataset is a folder `ROOT/NAME/VERSION/` that plain `tfds.builder_from_directory` opens. Beside the files of TFDS it
holds `task.json`, the TaskSpec, and `episode_index.npz`, one row for each episode. TFDS stores no lengths of episodes;
with the index, a mixture of 100,000 episodes is planned without reading them.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import SupportsIndex

import numpy as np

from gato_jax.episodes import rlds_format
from gato_jax.episodes.episode import Episode
from gato_jax.episodes.errors import describe_error
from gato_jax.episodes.specs import TaskSpec
from gato_jax.runtime.archives import ARCHIVE_ERRORS
from gato_jax.runtime.bucket_copies import local_copy
from gato_jax.runtime.content_digests import combine, content_digests
from gato_jax.runtime.paths import as_path

TASK_FILE = "task.json"
INDEX_FILE = "episode_index.npz"
TFDS_FILE = "dataset_info.json"
SCHEMA = 1
_MAX_NAME = 120  # bytes


class DatasetError(ValueError):
    """A dataset that is missing, damaged or not written by gato_jax; the message names the file and the remedy."""


class NoSplitError(DatasetError):
    """A split that a dataset does not have; the message names those that it has."""


def dataset_name(task_name: str) -> str:
    """Return the TFDS name of a task, in snake case: `babyai__go_to_red_ball_v0` for `babyai/GoToRedBall-v0`.

    A name of more than 120 bytes is cut, and ends with a hash of the task's name, because file systems allow 255 bytes
    for the name of a file, which holds more than this name.
    """
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", task_name).lower()
    name = "__".join(re.sub(r"\W+", "_", part).strip("_") for part in snake.split("/"))
    if len(name.encode()) <= _MAX_NAME:
        return name
    digest = hashlib.sha256(task_name.encode()).hexdigest()[:12]
    return f"{name.encode()[: _MAX_NAME - 13].decode(errors='ignore').rstrip('_')}_{digest}"


def list_datasets(root: str | Path) -> dict[str, Path]:
    """Return the finished datasets `root/NAME/VERSION` as {task name: folder of the newest version}.

    Versions are compared as numbers. The result is empty if the root is missing.

    Raises:
      DatasetError: the description of a task is damaged.
    """
    datasets = {}
    for file in sorted(as_path(root).glob(f"*/*/{TASK_FILE}"), key=lambda file: _version(file.parent.name)):
        if _version(file.parent.name):
            datasets[_read_task(file).name] = file.parent
    return datasets


def find_dataset(root: str | Path, task_name: str) -> Path:
    """Return the folder `root/NAME/VERSION` of the newest version of a task's dataset.

    Raises:
      DatasetError: there is none, and the message names the tasks that are spelt most like it; or the description of a
        task below `root` is damaged.
    """
    datasets = list_datasets(root)
    if task_name not in datasets:
        near = difflib.get_close_matches(task_name, datasets, n=3, cutoff=0.4)
        hint = f"nearest there: {', '.join(near)}" if near else f"it holds {len(datasets)} datasets, none like it"
        raise DatasetError(f"{root}: no dataset of task {task_name!r}; {hint}; record it with `gato collect`")
    return datasets[task_name]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class EpisodeIndex:
    """Index of one split of N episodes in F record files.

    Attributes:
      length: (N,) int64, number of steps, including a final observation.
      final_observation: (N,) bool, whether the last step is a final observation.
      episode_return: (N,) float64, undiscounted return.
      success: (N,) int8, 0 or 1; -1 if the task has no success.
      seed: (N,) int64, seed of the reset; -1 if there is none.
      digest: (N,) uint64, hash of the episode's content without its provenance.
      offset: (N,) int64, number of steps, final observations included, of all earlier episodes of the split.
      provenance: (N,) uint64, hash of the episode's provenance.
      file: (F,) names of the record files, in order.
      size: (F,) their sizes in bytes.
      content: (F,) `hash_file` of each as it was written.
    """

    length: np.ndarray
    final_observation: np.ndarray
    episode_return: np.ndarray
    success: np.ndarray
    seed: np.ndarray
    digest: np.ndarray
    offset: np.ndarray
    provenance: np.ndarray
    file: np.ndarray
    size: np.ndarray
    content: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class EpisodeDataset:
    """Episodes of one split, with random access.

    The record files are opened at the first access to an episode, so that a mixture of many datasets is planned from
    their indices alone; a dataset in a bucket is copied to this disk then. A pickle holds the path only, so that each
    process opens files of its own.

    Attributes:
      directory: folder of the dataset.
      split: name of the split.
      spec: the task.
      index: index of the episodes.
    """

    directory: Path
    split: str
    spec: TaskSpec
    index: EpisodeIndex

    def __len__(self) -> int:
        return len(self.index.length)

    @property
    def lengths(self) -> np.ndarray:
        """Number of steps of each episode, including a final observation, (N,) int64."""
        return self.index.length

    @property
    def acting_lengths(self) -> np.ndarray:
        """Number of steps of each episode whose action was taken, (N,) int64."""
        return self.index.length - self.index.final_observation

    @property
    def returns(self) -> np.ndarray:
        """Undiscounted return of each episode, (N,) float64."""
        return self.index.episode_return

    @property
    def total_steps(self) -> int:
        return int(self.index.length.sum())

    @property
    def fingerprint(self) -> str:
        """Digest of task, split name and all episodes, 16 hexadecimal digits; not of the folder and the file format."""
        episodes = np.stack([self.index.digest, self.index.provenance])
        return combine([json.dumps(self.spec.to_json()), self.split, episodes.tobytes().hex()])

    def verify(self):
        """Check the content of all record files, which is read unless a file is unchanged since an earlier check.

        Raises:
          DatasetError: a record file is not as it was written (see `content_digests`).
        """
        files = [self.directory / name for name in self.index.file.tolist()]
        found = content_digests(files, label=str(self.directory))
        for file, digest, written in zip(files, found, self.index.content.tolist(), strict=True):
            if digest != written:
                raise DatasetError(
                    f"{file}: the digest of its content is {digest}, it was written with {written}: changed or "
                    "damaged; copy the dataset's folder again or record it again"
                )

    @functools.cached_property
    def _reader(self) -> rlds_format.RecordReader:
        directory = local_copy(self.directory)
        files = [directory / name for name in self.index.file.tolist()]
        try:
            return rlds_format.RecordReader(directory, files, self.spec)
        except ImportError:
            raise
        except Exception as error:  # errors of JSON, of protobuf or of TFDS
            raise DatasetError(
                f"{self.directory}: its description by TFDS, features.json or {TFDS_FILE}, cannot be read "
                f"({describe_error(error)}); record or convert the dataset again"
            ) from error

    def __getitem__(self, position: SupportsIndex) -> Episode:
        """Read the episode at `position`, where -1 is the last.

        Raises:
          IndexError: there is no such episode.
          DatasetError: its record is damaged, or has another number of steps than the index says.
        """
        position = range(len(self))[position]
        reader = self._reader
        try:
            episode = reader.read(position)
        except ImportError:
            raise
        except Exception as error:  # array_record, protobuf and the image codecs raise errors of their own
            raise DatasetError(
                f"{self.directory}: episode {position} of split {self.split!r} cannot be read "
                f"({describe_error(error)}); "
                "the files are damaged or were changed: record or convert the dataset again"
            ) from error
        if len(episode) != self.lengths[position]:
            raise DatasetError(
                f"{self.directory / INDEX_FILE}: says {self.lengths[position]} steps for episode {position} of split "
                f"{self.split!r}, its record holds {len(episode)}; record or convert the dataset again"
            )
        return episode

    def __iter__(self) -> Iterator[Episode]:
        return (self[position] for position in range(len(self)))

    def __reduce__(self):
        return open_dataset, (self.directory, self.split)

    def __repr__(self) -> str:
        return f"EpisodeDataset({self.spec.name}, {self.split}, {len(self)} episodes, {self.total_steps} steps)"


def open_dataset(directory: str | Path, split: str = "train") -> EpisodeDataset:
    """Open one split of a dataset without reading a record, which takes milliseconds for any size.

    Args:
      directory: folder of the dataset, `ROOT/NAME/VERSION`, or ROOT or ROOT/NAME if there is only one dataset in it.
      split: name of the split.

    Raises:
      DatasetError: the folder is missing, is not a dataset of gato_jax or holds several; it has no such split; a file
        is missing or has another size than the index says; or the index and TFDS disagree on the number of episodes.
    """
    directory = as_path(directory)
    if not (directory / TASK_FILE).is_file():
        if len(inside := _datasets_inside(directory)) != 1:
            raise _missing_error(directory, inside)
        directory = inside[0]
    spec = _read_task(directory / TASK_FILE)
    index = _read_index(directory, split)
    for name, size in zip(index.file.tolist(), index.size.tolist(), strict=True):
        file = directory / name
        if not file.is_file():
            raise DatasetError(f"{file}: missing; copy the dataset's folder whole or record it again")
        if file.stat().st_size != size:
            raise DatasetError(
                f"{file}: holds {file.stat().st_size} bytes, was written with {size}: truncated or changed; "
                "copy the dataset's folder again or record it again"
            )
    counted = _count_tfds_episodes(directory / TFDS_FILE, split)
    if counted != len(index.length):
        raise DatasetError(
            f"{directory / INDEX_FILE}: lists {len(index.length)} episodes of split {split!r}, "
            f"{TFDS_FILE} counts {counted}; record or convert the dataset again"
        )
    return EpisodeDataset(directory=directory, split=split, spec=spec, index=index)


def _version(name: str) -> tuple[int, ...]:
    """Return the numbers of a version, (1, 0, 0) for `1.0.0`; () for any other name, as of an unfinished folder."""
    return tuple(map(int, name.split("."))) if re.fullmatch(r"\d+\.\d+\.\d+", name) else ()


def _read_task(file: Path) -> TaskSpec:
    try:
        content = json.loads(file.read_text())
        if content["schema"] != SCHEMA:
            raise DatasetError(f"{file}: schema {content['schema']}, this version reads {SCHEMA}; update gato_jax")
        return TaskSpec.from_json(content["task"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(
            f"{file}: not a task description ({describe_error(error)}); record the dataset again"
        ) from error


def _read_index(directory: Path, split: str) -> EpisodeIndex:
    file = directory / INDEX_FILE
    try:
        with file.open("rb") as content, np.load(content, allow_pickle=False) as arrays:
            splits = sorted({name.split("/")[0] for name in arrays.files})
            if split not in splits:
                raise NoSplitError(f"{directory}: no split {split!r}; it has {', '.join(splits)}")
            names = [field.name for field in dataclasses.fields(EpisodeIndex)]
            return EpisodeIndex(**{name: arrays[f"{split}/{name}"] for name in names})
    except ARCHIVE_ERRORS as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(
            f"{file}: not a readable episode index ({describe_error(error)}); record the dataset again"
        ) from error


def _count_tfds_episodes(file: Path, split: str) -> int:
    try:
        splits = {entry["name"]: entry for entry in json.loads(file.read_text())["splits"]}
        return sum(map(int, splits[split]["shardLengths"]))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DatasetError(
            f"{file}: not a readable TFDS description ({describe_error(error)}); record the dataset again"
        ) from error


def _datasets_inside(directory: Path) -> list[Path]:
    """Return the folders of all finished datasets and versions in ROOT or ROOT/NAME, in the order of their paths."""
    folders = [file.parent for levels in ("*", "*/*") for file in directory.glob(f"{levels}/{TASK_FILE}")]
    return sorted(folder for folder in folders if _version(folder.name))


def _missing_error(directory: Path, inside: list[Path]) -> DatasetError:
    if (directory / TFDS_FILE).is_file():
        return DatasetError(f"{directory / TASK_FILE}: missing, so this RLDS dataset is not ours; read it as rlds:DIR")
    if inside:
        return DatasetError(
            f"{directory}: is a folder of {len(inside)} datasets, open one of {', '.join(map(str, inside))}"
        )
    for root in directory.parents[:2]:
        names = {str(path.relative_to(root)): path for path in list_datasets(root).values()} if root.is_dir() else {}
        if near := difflib.get_close_matches(str(directory.relative_to(root)), names, n=3, cutoff=0.3):
            return DatasetError(f"{directory}: no dataset; nearest in {root}: {', '.join(near)}")
    where = "" if directory.is_absolute() else f" in the working directory {Path.cwd()}"
    return DatasetError(f"{directory}: no dataset{where}; record one with `gato collect`")
