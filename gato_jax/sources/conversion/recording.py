"""The work on one shard, in whatever process: read its episodes, check them, write the sound ones to one file."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from gato_jax.episodes import Continuous, DatasetError, Episode, EpisodeError, TaskSpec, rlds_format
from gato_jax.episodes.atomic_writes import atomic_file
from gato_jax.episodes.record_files import open_records, record_writer
from gato_jax.episodes.tfds_writer import disk_errors, serializer
from gato_jax.episodes.writer import EpisodeRow, contradiction
from gato_jax.sources.conversion.manifest import Kind, Manifest, ShardEntry, digest_of
from gato_jax.sources.conversion.shards import Shard
from gato_jax.sources.reader import EpisodeReader, EpisodeRejected, Rejection, SourceError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Transform:
    """What is done to each episode before it is checked and written.

    Attributes:
      apply: position in the reader and episode to the episode that is written. It pickles. May raise EpisodeRejected.
      spec: of the episodes that it makes.
      fingerprint: changes when what it makes changes: a conversion goes on only with the same.
      reviewed: whether it gives instructions that a person reviewed.
    """

    apply: Callable[[int, Episode], Episode]
    spec: TaskSpec
    fingerprint: str
    reviewed: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recording:
    """What every worker is sent: where the episodes come from, and where they go.

    Attributes:
      readers: {split: its episodes}.
      left_out: {split: (N,) bool}, the episodes that a filter leaves out; a split that is not there has none.
    """

    readers: Mapping[str, EpisodeReader]
    manifest: Manifest
    transform: Transform | None = None
    left_out: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    @property
    def spec(self) -> TaskSpec:
        """Of the episodes that are written."""
        return self.transform.spec if self.transform else next(iter(self.readers.values())).spec

    def survey(self, shard: Shard) -> ShardEntry:
        """Notes the rows of a shard's episodes as they were recorded, and writes no records.

        Raises:
          StoreError: the disk refuses.
        """
        read = Recording(readers=self.readers, manifest=self.manifest)._sound(shard, rejected := [])
        noted = [(position, EpisodeRow.of(episode)) for position, episode in read]
        return self._note("survey", shard, noted, rejected)

    def convert(self, shard: Shard) -> ShardEntry:
        """Writes the sound episodes of a shard that no filter leaves out, and then the shard's entry.

        Raises:
          StoreError: the disk refuses.
        """
        serialize = serializer(rlds_format.features(self.spec))
        noted, rejected = [], []
        with _ShardFile(self.manifest, shard) as records:
            for position, episode in self._sound(shard, rejected):
                records.write(serialize(rlds_format.encode(self.spec, episode)))
                noted.append((position, EpisodeRow.of(episode)))
            file = records.close()
        return self._note("convert", shard, noted, rejected, **file)

    def _note(
        self, kind: Kind, shard: Shard, noted: list[tuple[int, EpisodeRow]], rejected: list[Rejection], **file: Any
    ) -> ShardEntry:
        positions, rows = zip(*noted, strict=True) if noted else ((), ())
        entry = ShardEntry(rows=rows, positions=positions, rejected=tuple(rejected), **file)
        with disk_errors(self.manifest.directory):
            self.manifest.write(kind, shard, entry)
        return entry

    def _sound(self, shard: Shard, rejected: list[Rejection]) -> Iterator[tuple[int, Episode]]:
        """Positions and episodes that may be written; what is wrong with the others is added to `rejected`."""
        for position in range(shard.start, shard.stop):
            if shard.split in self.left_out and self.left_out[shard.split][position]:
                continue
            where = f"{self.spec.name}: episode {position} of split {shard.split!r}"
            try:
                episode = self.readers[shard.split][position]
                episode = self.transform.apply(position, episode) if self.transform else episode
                if problem := contradiction(self.spec, episode) or _not_finite(self.spec, episode):
                    raise EpisodeRejected(where, problem)
                yield position, episode
            except EpisodeRejected as error:
                rejected.append(Rejection(error.location, error.reason))
            except (SourceError, DatasetError, EpisodeError) as error:
                rejected.append(Rejection(where, str(error)))


class _ShardFile:
    """Writer of the records of one shard into a file that appears when all are written; no file without records."""

    def __init__(self, manifest: Manifest, shard: Shard):
        self._manifest, self._file = manifest, manifest.record_file(shard)
        self._partial = self._file  # until the writer is opened
        self._stack, self._writer = contextlib.ExitStack(), None
        self._records, self._bytes = 0, 0

    def write(self, record: bytes):
        with disk_errors(self._manifest.directory):
            if self._writer is None:
                # A worker that was taken for dead may still be writing the same shard.
                self._partial = self._stack.enter_context(atomic_file(self._file, shared=True))
                self._writer = record_writer(self._partial, self._manifest.file_format)
            self._writer.write(record)
        self._records, self._bytes = self._records + 1, self._bytes + len(record)

    def close(self) -> dict[str, Any]:
        """Publish the file and return the fields of a ShardEntry that describe it.

        Raises:
          StoreError: the disk refused, or cut the file short.
        """
        with disk_errors(self._manifest.directory):
            if self._writer is None:
                self._file.unlink(missing_ok=True)
                return {}
            self._writer.close()
            if (readable := len(open_records(self._partial))) != self._records:
                raise OSError(f"{self._records} records were written, {readable} can be read back")
            size, digest = self._partial.stat().st_size, digest_of(self._partial)
            self._stack.close()
        return {"record_bytes": self._bytes, "size": size, "digest": digest}

    def __enter__(self) -> _ShardFile:
        return self

    def __exit__(self, *error: Any):
        if error[0] is not None and self._writer is not None:
            with contextlib.suppress(OSError, RuntimeError):  # the first error is already being raised
                self._writer.close()
        self._stack.__exit__(*error)


def _not_finite(spec: TaskSpec, episode: Episode) -> str | None:
    """Which numbers are none, of those that a recording may hold and a dataset should not."""
    columns: dict[str, np.ndarray] = {"reward": episode.reward, "discount": episode.discount}
    for side in ("observation", "action"):
        continuous = (key for key, modality in getattr(spec, side).items() if isinstance(modality, Continuous))
        columns |= {f"{side} {key!r}": getattr(episode, side)[key] for key in continuous}
    for name, values in columns.items():
        wrong = ~np.isfinite(np.asarray(values, np.float64)).reshape(len(values), -1).all(axis=1)
        if wrong.any():
            return f"{name} is not finite at step {int(wrong.argmax())}"
    return None
