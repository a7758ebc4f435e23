"""State of a conversion on disk: one entry for each finished shard, so that an interrupted conversion can continue.

The folder `VERSION.converting` holds `conversion.json`, a description of the data and the settings, `survey/` and
`convert/`, the entries of the two phases, and `dataset/`, which becomes the folder of the dataset.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from gato_jax.episodes.action_extents import ActionExtent
from gato_jax.episodes.dataclass_reader import DataclassReader
from gato_jax.episodes.differences import require_same
from gato_jax.episodes.record_files import FileFormat
from gato_jax.episodes.tfds_writer import disk_errors
from gato_jax.episodes.writer import EpisodeRow
from gato_jax.runtime.atomic_writes import PARTIAL, atomic_file
from gato_jax.runtime.content_digests import hash_file
from gato_jax.runtime.file_locks import LOCK_FILES
from gato_jax.sources.conversion.shards import Shard
from gato_jax.sources.reader import Rejection, SourceError

HEADER_FILE = "conversion.json"
# A fingerprint covers the data and the meaning of the fields.
OTHER_INPUTS = "of other data or fields, or with other settings"

Phase = Literal["survey", "convert"]


class ConversionError(SourceError):
    """A conversion that cannot be started, continued or read back. The message names the problem and the remedy."""


_READER = DataclassReader(error=ConversionError)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShardEntry:
    """Accepted and rejected episodes of one shard, and a description of its record file.

    Attributes:
      rows: properties of the accepted episodes, in the order of the file.
      positions: positions of the accepted episodes in the reader of the split.
      rejected: the damaged episodes.
      record_bytes: size of all records in bytes, or 0 if there is no file. The phase "survey" writes no files.
      size: size of the file in bytes, or 0 if there is no file.
      digest: `hash_file` of the file, or empty if there is no file.
      actions: extents of the continuous actions of the accepted episodes. The phase "survey" measures none.
    """

    rows: tuple[EpisodeRow, ...]
    positions: tuple[int, ...]
    rejected: tuple[Rejection, ...]
    record_bytes: int = 0
    size: int = 0
    digest: str = ""
    actions: tuple[ActionExtent, ...] = ()


@dataclasses.dataclass(frozen=True)
class Manifest:
    """Record of the settings and the finished shards of a conversion, by which an interrupted one is continued.

    It is kept in a work folder, `VERSION.converting`, beside the future folder of the dataset.

    Attributes:
      directory: future folder of the dataset, `.../NAME/VERSION`.
      file_format: format of the record files.
    """

    directory: Path
    file_format: FileFormat

    @property
    def folder(self) -> Path:
        """Path of the work folder, `.../NAME/VERSION.converting`."""
        return self.directory.with_name(f"{self.directory.name}.converting")

    @property
    def dataset(self) -> Path:
        """Path of the unfinished dataset, the subfolder `dataset` of the work folder."""
        return self.folder / "dataset"

    def begin(self, header: Mapping[str, Any], *, restart: bool = False):
        """Create the content of the work folder, or keep what exists, and remove partially written files.

        A work folder is emptied first if its header is missing or is not JSON, or differs and no episode is there.

        Args:
          header: description of the data and the settings.
          restart: whether to discard a work folder with another header.

        Raises:
          ConversionError: the work folder has another header, and `restart` is false.
          StoreError: the disk is full or not writable.
        """
        with disk_errors(self.directory):
            begun = read_header(self.folder)
            if begun is None or (begun != header and (restart or not self._has_episodes())):
                self.clear()
                for name in (self.dataset.name, *get_args(Phase)):
                    (self.folder / name).mkdir(parents=True)
                write_json(self.folder / HEADER_FILE, header)
            else:
                require_same(
                    header, begun, holder=HEADER_FILE,
                    problem=f"{self.folder}: an unfinished conversion {OTHER_INPUTS}",
                    remedy="continue with the same, choose another output, or start again (--overwrite)",
                    error=ConversionError,
                )  # fmt: skip
            for leftover in list(self.folder.rglob(f"*{PARTIAL}-*")):
                shutil.rmtree(leftover)

    def _has_episodes(self) -> bool:
        """Return whether a finished shard of either phase has an accepted episode."""
        for file in (file for phase in get_args(Phase) for file in (self.folder / phase).glob("*.json")):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # an entry that is not valid has none
                if json.loads(file.read_text())["rows"]:
                    return True
        return False

    def clear(self):
        """Delete the content of the work folder except its lock.

        The header is deleted first: if the process is then killed, no conversion continues with the remaining files.
        """
        (self.folder / HEADER_FILE).unlink(missing_ok=True)
        for part in self.folder.iterdir():
            if part.name not in LOCK_FILES:
                shutil.rmtree(part) if part.is_dir() else part.unlink()

    def read_finished(self, phase: Phase, shards: Sequence[Shard]) -> dict[Shard, ShardEntry]:
        """Return the entries of the finished shards, in order, and delete the entry files of the others.

        A shard is missing from the result if it has no entry, its entry is not valid, or its record file is missing or
        has changed in size or digest.

        Args:
          phase: phase of the conversion.
          shards: the shards to look up.
        """
        read = {shard: entry for shard in shards if (entry := self.read_entry(phase, shard))}
        final = self.final_files(read) if len(read) == len(shards) else {}
        with concurrent.futures.ThreadPoolExecutor() as pool:  # hashing lets other threads run
            whole = pool.map(lambda shard: self._is_whole(shard, read[shard], final.get(shard)), read)
        found = {shard: read[shard] for shard, is_whole in zip(read, whole, strict=True) if is_whole}
        for shard in shards:
            if shard not in found:
                self._entry_file(phase, shard).unlink(missing_ok=True)
        return found

    def read_entry(self, phase: Phase, shard: Shard) -> ShardEntry | None:
        """Return the entry of a shard, or None if the shard is not finished in this phase.

        A shard whose entry is not valid, for example cut short, counts as not finished. The record file is not checked.
        """
        try:
            return _READER.read(ShardEntry, json.loads(self._entry_file(phase, shard).read_text()), shard.name)
        except (FileNotFoundError, ValueError):  # cut short by a crash of the machine
            return None

    def finished_names(self, phase: Phase) -> set[str]:
        """Return the names, such as `train-00003`, of the shards that have an entry in this phase."""
        return {file.stem for file in (self.folder / phase).glob("*.json")} if self.folder.is_dir() else set()

    def write_entry(self, phase: Phase, shard: Shard, entry: ShardEntry):
        """Write the entry of a shard, which marks it as finished in this phase. An existing entry is replaced."""
        write_json(self._entry_file(phase, shard), dataclasses.asdict(entry))

    def record_file(self, shard: Shard) -> Path:
        """Return the path of the record file of a shard until all are finished, `dataset/train-00003.array_record`."""
        return self.dataset / f"{shard.name}.{self.file_format}"

    def final_files(self, entries: Mapping[Shard, ShardEntry]) -> dict[Shard, Path]:
        """Return the final paths of the record files, which follow the naming of TFDS and number the files of a split.

        Args:
          entries: the entries of all shards. A shard without records has no file and is not counted.

        Returns:
          {shard: path} within the work folder, such as `dataset/NAME-train.array_record-00000-of-00002`.
        """
        files = {}
        for split in dict.fromkeys(shard.split for shard in entries):
            shards = [shard for shard, entry in entries.items() if shard.split == split and entry.size]
            stem = f"{self.directory.parent.name}-{split}.{self.file_format}"
            files |= {s: self.dataset / f"{stem}-{n:05}-of-{len(shards):05}" for n, s in enumerate(shards)}
        return files

    def _entry_file(self, phase: Phase, shard: Shard) -> Path:
        return self.folder / phase / f"{shard.name}.json"

    def _is_whole(self, shard: Shard, entry: ShardEntry, final_file: Path | None) -> bool:
        """Return whether the record file of a shard is unchanged, by size and digest, since its entry was written.

        An entry without a record file is unchanged.

        Args:
          shard: the shard.
          entry: its entry.
          final_file: final path of the file, where it is if a process was killed while renaming files. None if not all
            shards are finished.
        """
        if not entry.size:
            return True
        file = self.record_file(shard)
        if final_file and not file.exists():
            file = final_file
        return file.is_file() and file.stat().st_size == entry.size and hash_file(file) == entry.digest


def read_header(folder: Path) -> dict[str, Any] | None:
    """Return the content of `conversion.json` in a work folder or dataset; None if it does not exist or is not JSON."""
    try:
        return json.loads((folder / HEADER_FILE).read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def write_json(file: Path, value: Any):
    """Write JSON that appears whole or not at all, also when a worker that was taken for dead writes it, too.

    An existing file is replaced.
    """
    with atomic_file(file, shared=True) as partial:
        partial.write_text(json.dumps(value))
