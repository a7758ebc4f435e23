"""The work on one shard: read its episodes, validate them, and write the valid ones to one record file."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from gato_jax.episodes import Continuous, DatasetError, Episode, EpisodeError, TaskSpec, rlds_format
from gato_jax.episodes.action_extents import episode_extents, merge_extents
from gato_jax.episodes.record_files import open_records, record_writer
from gato_jax.episodes.tfds_writer import disk_errors, serializer
from gato_jax.episodes.writer import EpisodeRow, find_contradiction
from gato_jax.runtime.atomic_writes import atomic_file
from gato_jax.runtime.content_digests import hash_file
from gato_jax.sources.conversion.manifest import Manifest, Phase, ShardEntry
from gato_jax.sources.conversion.shards import Shard
from gato_jax.sources.embodiments import Workspace
from gato_jax.sources.reader import EpisodeReader, EpisodeRejected, Rejection, SourceError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Transform:
    """A change that is made to each episode before it is validated and written.

    Attributes:
      apply: maps the position of an episode in the reader and the episode to the episode to write. It must be
        picklable, and may raise EpisodeRejected.
      spec: task of the changed episodes.
      fingerprint: digest that changes when the change does. A conversion continues only with the same fingerprint.
      reviewed: whether the instructions that it sets were reviewed by a person.
    """

    apply: Callable[[int, Episode], Episode]
    spec: TaskSpec
    fingerprint: str
    reviewed: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShardWorker:
    """Everything that a worker process needs to process any shard. It is pickled and sent to all workers.

    Attributes:
      readers: {split: reader of its episodes}.
      manifest: work folder of the conversion.
      transform: change to make to each episode, if any.
      excluded: {split: (N,) bool}, true for each episode that a filter drops. A missing split has none.
      workspace: box that the end effector must stay in. Valid episodes that leave it are dropped; None drops none.
    """

    readers: Mapping[str, EpisodeReader]
    manifest: Manifest
    transform: Transform | None = None
    excluded: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    workspace: Workspace | None = None

    @property
    def spec(self) -> TaskSpec:
        """The task of the episodes that are written."""
        return self.transform.spec if self.transform else next(iter(self.readers.values())).spec

    def survey(self, shard: Shard) -> ShardEntry:
        """Record the properties (see `EpisodeRow`) of a shard's valid episodes before any transform; write no episodes.

        Exclusions are ignored.

        Args:
          shard: the shard.

        Returns:
          The entry of the shard, which is also written to disk.

        Raises:
          StoreError: the disk is full or not writable.
        """
        original = ShardWorker(readers=self.readers, manifest=self.manifest)
        episodes = original._read_valid(shard, rejected := [])
        rows = [(position, EpisodeRow.from_episode(episode)) for position, episode in episodes]
        return self._write_entry("survey", shard, rows, rejected)

    def convert(self, shard: Shard) -> ShardEntry:
        """Write the episodes of a shard to its record file, without those that are excluded or invalid.

        An episode that a filter drops (see `excluded`) is skipped. Filters judge episodes before the transform. Every
        other episode is transformed, and it is written if the result is valid.

        Args:
          shard: the shard.

        Returns:
          The entry of the shard, which is also written to disk.

        Raises:
          StoreError: the disk is full or not writable.
        """
        serialize = serializer(rlds_format.features(self.spec))
        rows, rejected, actions = [], [], ()
        with _ShardFile(self.manifest, shard) as records:
            for position, episode in self._read_valid(shard, rejected):
                records.write(serialize(rlds_format.encode(self.spec, episode)))
                rows.append((position, EpisodeRow.from_episode(episode)))
                actions = merge_extents((*actions, *episode_extents(self.spec, episode)))
            file = records.close()
        return self._write_entry("convert", shard, rows, rejected, actions=actions, **file)

    def is_valid(self, split: str, position: int, rejected: list[Rejection]) -> bool:
        """Return whether the episode at a position of a split can be read; otherwise append it to `rejected`."""
        return any(True for _ in self._read_valid(Shard(split, 0, position, position + 1), rejected))

    def _write_entry(
        self, phase: Phase, shard: Shard, rows: list[tuple[int, EpisodeRow]], rejected: list[Rejection], **file: Any
    ) -> ShardEntry:
        """Write and return the entry of a shard.

        Args:
          phase: phase of the conversion.
          shard: the shard.
          rows: (position in the reader, properties) of each accepted episode.
          rejected: the damaged episodes.
          **file: `record_bytes`, `size`, `digest` and `actions` of the ShardEntry, as far as they have values.

        Raises:
          StoreError: the disk is full or not writable.
        """
        positions, accepted = zip(*rows, strict=True) if rows else ((), ())
        entry = ShardEntry(rows=accepted, positions=positions, rejected=tuple(rejected), **file)
        with disk_errors(self.manifest.directory):
            self.manifest.write_entry(phase, shard, entry)
        return entry

    def _read_valid(self, shard: Shard, rejected: list[Rejection]) -> Iterator[tuple[int, Episode]]:
        """Yield the positions and the transformed episodes of a shard that are valid and not dropped.

        Args:
          shard: the shard.
          rejected: list to which the invalid episodes that are not excluded are appended as they are passed. An episode
            is invalid if it cannot be read or transformed, contradicts the task, or has a value that is not finite.
        """
        for position in range(shard.start, shard.stop):
            if shard.split in self.excluded and self.excluded[shard.split][position]:
                continue
            location = f"{self.spec.name}: episode {position} of split {shard.split!r}"
            try:
                recorded = self.readers[shard.split][position]
                episode = self.transform.apply(position, recorded) if self.transform else recorded
                if problem := find_contradiction(self.spec, episode) or _find_nonfinite(self.spec, episode):
                    raise EpisodeRejected(location, problem)
                if self.workspace is None or self.workspace.first_violation(recorded) is None:
                    yield position, episode
            except EpisodeRejected as error:
                rejected.append(Rejection(error.location, error.reason))
            except (SourceError, DatasetError, EpisodeError) as error:
                rejected.append(Rejection(location, str(error)))


class _ShardFile:
    """Writer of the records of one shard into a file, which appears on `close` and only if there are records."""

    def __init__(self, manifest: Manifest, shard: Shard):
        self._manifest, self._file = manifest, manifest.record_file(shard)
        self._partial = self._file  # until the writer is opened
        self._stack, self._writer = contextlib.ExitStack(), None
        self._records, self._bytes = 0, 0

    def write(self, record: bytes):
        """Append a serialized episode, or raise StoreError if the disk is full or not writable."""
        with disk_errors(self._manifest.directory):
            if self._writer is None:
                # A worker that was taken for dead may still be writing the same shard.
                self._partial = self._stack.enter_context(atomic_file(self._file, shared=True))
                self._writer = record_writer(self._partial, self._manifest.file_format)
            self._writer.write(record)
        self._records, self._bytes = self._records + 1, self._bytes + len(record)

    def close(self) -> dict[str, Any]:
        """Publish the file and return the fields of a ShardEntry that describe it, {} if there are no records.

        An older file of the shard is replaced, or deleted if there are no records.

        Raises:
          StoreError: the disk is full or not writable, or not all records can be read back.
        """
        with disk_errors(self._manifest.directory):
            if self._writer is None:
                self._file.unlink(missing_ok=True)
                return {}
            self._writer.close()
            if (readable := len(open_records(self._partial))) != self._records:
                raise OSError(f"{self._records} records were written, {readable} can be read back")
            size, digest = self._partial.stat().st_size, hash_file(self._partial)
            self._stack.close()
        return {"record_bytes": self._bytes, "size": size, "digest": digest}

    def __enter__(self) -> _ShardFile:
        return self

    def __exit__(self, *error: Any):
        if error[0] is not None and self._writer is not None:
            with contextlib.suppress(OSError, RuntimeError):  # the first error is already being raised
                self._writer.close()
        self._stack.__exit__(*error)


def _find_nonfinite(spec: TaskSpec, episode: Episode) -> str | None:
    """Return a description of a value that is not finite, or None if all values are finite.

    Rewards, discounts, continuous observations and continuous actions are tested in this order. The description is a
    clause such as "reward is not finite at step 3", of the first array with such a value and its first such step.
    """
    columns: dict[str, np.ndarray] = {"reward": episode.reward, "discount": episode.discount}
    for side in ("observation", "action"):
        continuous = (key for key, modality in getattr(spec, side).items() if isinstance(modality, Continuous))
        columns |= {f"{side} {key!r}": getattr(episode, side)[key] for key in continuous}
    for name, values in columns.items():
        wrong = ~np.isfinite(np.asarray(values, np.float64)).reshape(len(values), -1).all(axis=1)
        if wrong.any():
            return f"{name} is not finite at step {int(wrong.argmax())}"
    return None
