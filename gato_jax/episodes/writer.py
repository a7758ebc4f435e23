"""Writer of episodes: one RLDS dataset for each task, whose episodes are checked against the task's spec."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gato_jax.episodes import rlds_format
from gato_jax.episodes.episode import Episode, Provenance
from gato_jax.episodes.errors import StoreError
from gato_jax.episodes.modalities import Discrete, Image, Modality, Text
from gato_jax.episodes.record_files import FileFormat
from gato_jax.episodes.specs import TaskSpec
from gato_jax.episodes.store import INDEX_FILE, SCHEMA, TASK_FILE, TFDS_FILE, EpisodeIndex, dataset_name
from gato_jax.episodes.tfds_writer import atomic_dataset, disk_errors, record_files, serializer, write_serialized
from gato_jax.runtime.content_digests import hash_file
from gato_jax.runtime.paths import require_local


def write_dataset(
    root: str | Path,
    spec: TaskSpec,
    splits: Mapping[str, Iterable[Episode]],
    *,
    version: str = "1.0.0",
    overwrite: bool = False,
    file_format: FileFormat = "array_record",
) -> Path:
    """Write the episodes of one task to the dataset `root/NAME/version` and return that folder; see `dataset_name`.

    The dataset appears whole or not at all: a process that is killed leaves only `root/NAME/version.partial`.

    Args:
      root: folder of the datasets.
      spec: the task.
      splits: {split: episodes}. The splits are consumed one after the other, a few episodes at a time, so they may be
        generators.
      version: version of the dataset.
      overwrite: whether to replace an existing dataset of this task and version.
      file_format: `array_record`, which has an index, or `tfrecord` for older readers of RLDS.

    Raises:
      StoreError: the dataset exists and `overwrite` is False, another process writes it, a split is empty, an episode
        contradicts the spec, or the disk refuses.
    """
    directory = local_root(root) / dataset_name(spec.name) / version
    check_destination(directory, spec, overwrite)
    encoder = EpisodeEncoder(spec)

    def encode(split: str) -> Iterator[EncodedEpisode]:
        for number, episode in enumerate(splits[split]):
            yield encoder.encode(episode, f"episode {number} of split {split!r}")

    write_encoded(directory, spec, {split: encode(split) for split in splits}, file_format=file_format)
    return directory


def write_encoded(
    directory: Path,
    spec: TaskSpec,
    splits: Mapping[str, Iterable[EncodedEpisode]],
    *,
    file_format: FileFormat = "array_record",
    sidecars: Mapping[str, str] | None = None,
):
    """Write a dataset of encoded episodes, in place of one that is there; it appears whole or not at all.

    Args:
      directory: folder of the dataset, `.../NAME/VERSION`.
      spec: the task.
      splits: {split: episodes}, which are consumed one after the other.
      file_format: format of the record files.
      sidecars: {name: content} of further text files in the folder.

    Raises:
      StoreError: another process writes the dataset, a split is empty, or the disk refuses.
    """
    rows: dict[str, list[EpisodeRow]] = {split: [] for split in splits}

    def note_rows(split: str) -> Iterator[bytes]:
        for episode in splits[split]:
            rows[split].append(episode.row)
            yield episode.record

    with atomic_dataset(directory) as staging:
        records = {split: note_rows(split) for split in splits}
        write_serialized(staging, directory, rlds_format.features(spec), records, file_format=file_format)
        write_sidecars(staging, directory, spec, rows, {split: record_files(staging, split) for split in splits})
        with disk_errors(directory):
            for name, content in (sidecars or {}).items():
                (staging / name).write_text(content)


def require_writable(root: str | Path, spec: TaskSpec, *, version: str = "1.0.0", overwrite: bool = False) -> None:
    """Raise StoreError if `write_dataset` would refuse the destination, so that this is known before episodes are made.

    Only what is at `root/NAME/version` is checked, see `check_destination`; nothing is written.
    """
    check_destination(local_root(root) / dataset_name(spec.name) / version, spec, overwrite)


def local_root(root: str | Path) -> Path:
    """Return the folder for datasets to be written to, which has to be on a disk.

    Raises:
      BucketError: it is in a bucket.
    """
    return require_local(root, "--output", "Write to a disk, then copy the folder to the bucket, where it can be read.")


def check_destination(directory: Path, spec: TaskSpec, overwrite: bool) -> None:
    """Check that a dataset of a task may be written to a folder, which may also be missing.

    Args:
      directory: folder of the dataset.
      spec: the task.
      overwrite: whether an existing dataset of the task, a damaged one or an empty folder may be replaced.

    Raises:
      StoreError: the folder exists and `overwrite` is False; or, in any case, it holds a dataset of another task or
        something that is no dataset.
    """
    if not directory.exists():
        return
    try:
        task = json.loads((directory / TASK_FILE).read_text())["task"]
        held = f"{task['suite']}/{task['task']}"
    except (OSError, KeyError, TypeError, ValueError):
        held = None  # damaged: it may be replaced
    if held is not None and held != spec.name:
        raise StoreError(f"{directory}: holds {held}, not {spec.name}; choose another root")
    if not overwrite:
        raise StoreError(
            f"{directory}: already there; overwrite=True (--overwrite) replaces it, or name another folder"
        )
    if held is None and not (directory / TFDS_FILE).is_file() and any(directory.iterdir()):
        raise StoreError(f"{directory}: is no dataset, so it is not replaced; choose another root")


def find_contradiction(spec: TaskSpec, episode: Episode) -> str | None:
    """Return the first problem that keeps an episode out of a dataset of the task; None if there is none.

    For example, `it has seed -1; seeds start at 0`. Limits and dtypes of Continuous values are not checked.
    """
    if episode.task != spec.name:
        return f"it is of task {episode.task!r}; one dataset holds one task"
    if episode.seed is not None and episode.seed < 0:
        return f"it has seed {episode.seed}; seeds start at 0"
    for side in ("observation", "action"):
        modalities, arrays = getattr(spec, side), getattr(episode, side)
        if set(modalities) != set(arrays):
            return f"it has {side} keys {sorted(arrays)}, its spec {sorted(modalities)}"
        for key, modality in modalities.items():
            if problem := _find_value_problem(modality, arrays[key]):
                return f"{side} {key!r}: {problem}"
    return None


def _find_value_problem(modality: Modality, values: np.ndarray) -> str | None:
    """Return the problem of (T, ...) values of a modality, e.g. `dtype int64, images are uint8`; None if there is none.

    Limits and dtypes of Continuous values are not checked.
    """
    if isinstance(modality, Text):
        wrong = [value for value in values if not isinstance(value, str)]
        return f"holds {wrong[0]!r}, text is str" if wrong else None
    if values.shape[1:] != modality.shape:
        return f"shape {values.shape[1:]} at each step, its spec says {modality.shape}"
    if isinstance(modality, Image) and values.dtype != np.uint8:
        return f"dtype {values.dtype}, images are uint8"
    if isinstance(modality, Discrete):
        if not np.issubdtype(values.dtype, np.integer):
            return f"dtype {values.dtype}, discrete values are integers"
        if values.size and not 0 <= values.min() <= values.max() < modality.n:
            return f"values from {values.min()} to {values.max()}, its spec says [0, {modality.n})"
    return None


def _digest(episode: Episode) -> int:
    """Return a 64-bit hash of the episode's content, which is the same on every machine, unlike that of its record.

    It covers observations, actions, step fields such as rewards, seed, success and `final_observation`, but neither
    task, provenance, score nor frames.
    """
    digest = hashlib.blake2b(repr((episode.seed, episode.success, episode.final_observation)).encode(), digest_size=8)
    steps = {name: getattr(episode, name) for name in rlds_format.STEP_FIELDS}
    for tree in (episode.observation, episode.action, steps):
        for key in sorted(tree):
            values = tree[key]
            text = values.dtype == object
            digest.update(key.encode() + ("\0".join(values).encode() if text else np.ascontiguousarray(values).data))
    return int.from_bytes(digest.digest(), "little")


def _digest_provenance(provenance: Provenance) -> int:
    """Return a 64-bit hash of a provenance, which is the same on every machine."""
    content = json.dumps(dataclasses.asdict(provenance), sort_keys=True)
    return int.from_bytes(hashlib.blake2b(content.encode(), digest_size=8).digest(), "little")


class EpisodeRow(NamedTuple):
    """Row of one episode in the index; EpisodeIndex describes the fields."""

    length: int
    final_observation: bool
    episode_return: float
    success: int
    seed: int
    digest: int
    provenance: int

    @classmethod
    def from_episode(cls, episode: Episode) -> EpisodeRow:
        """Return the row of an episode."""
        return cls(
            length=len(episode),
            final_observation=bool(episode.final_observation),
            episode_return=episode.episode_return,
            success=rlds_format.NONE if episode.success is None else int(episode.success),
            seed=rlds_format.NONE if episode.seed is None else int(episode.seed),
            digest=_digest(episode),
            provenance=_digest_provenance(episode.provenance),
        )


class EncodedEpisode(NamedTuple):
    """An episode as a dataset stores it: its row of the index, and its serialized RLDS record."""

    row: EpisodeRow
    record: bytes


class EpisodeEncoder:
    """Encoder of the episodes of one task, each of which is checked against its spec.

    Args:
      spec: the task.
    """

    def __init__(self, spec: TaskSpec):
        self._spec = spec
        self._serialize = serializer(rlds_format.features(spec))

    def encode(self, episode: Episode, name: str) -> EncodedEpisode:
        """Return an episode as it is stored, the same bytes in every process.

        Args:
          episode: the episode.
          name: description of the episode for the message of an error, such as `episode 3 of split 'train'`.

        Raises:
          StoreError: the episode contradicts the spec.
        """
        if problem := find_contradiction(self._spec, episode):
            raise StoreError(f"{self._spec.name}: {name}: {problem}")
        record = self._serialize(rlds_format.encode(self._spec, episode))
        return EncodedEpisode(EpisodeRow.from_episode(episode), record)


def write_sidecars(
    staging: Path,
    directory: Path,
    spec: TaskSpec,
    rows: Mapping[str, Sequence[EpisodeRow]],
    files: Mapping[str, Sequence[Path]],
):
    """Write the files of a dataset that TFDS does not write: `task.json`, the task, and `episode_index.npz`, the index.

    Args:
      staging: the folder to write to.
      directory: final folder of the dataset, named in messages.
      spec: the task.
      rows: {split: a row for each episode}.
      files: {split: the closed record files, in order}.

    Raises:
      StoreError: the disk refuses.
    """
    with disk_errors(directory):
        (staging / TASK_FILE).write_text(json.dumps({"schema": SCHEMA, "task": spec.to_json()}, indent=2))
        index = {
            f"{split}/{field}": array
            for split in rows
            for field, array in dataclasses.asdict(_index(files[split], rows[split])).items()
        }
        np.savez(staging / INDEX_FILE, **index)


def _index(files: Sequence[Path], rows: Sequence[EpisodeRow]) -> EpisodeIndex:
    """Return the index of a split of one or more episodes, whose record files are closed."""
    length, final_observation, episode_return, success, seed, digest, provenance = zip(*rows, strict=True)
    lengths = np.array(length, np.int64)
    return EpisodeIndex(
        length=lengths,
        final_observation=np.array(final_observation, bool),
        episode_return=np.array(episode_return, np.float64),
        success=np.array(success, np.int8),
        seed=np.array(seed, np.int64),
        digest=np.array(digest, np.uint64),
        offset=np.cumsum(lengths) - lengths,
        provenance=np.array(provenance, np.uint64),
        file=np.array([file.name for file in files]),
        size=np.array([file.stat().st_size for file in files], np.int64),
        content=np.array([hash_file(file) for file in files]),
    )
