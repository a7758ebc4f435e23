"""What a conversion has done so far, on disk: an entry for each finished shard, so that a kill loses unfinished ones.

`VERSION.converting` holds `conversion.json`, what is converted and how; `survey/` and `convert/`, the entries; and
`dataset/`, which becomes the dataset's folder.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from gato_jax.episodes.atomic_writes import PARTIAL, atomic_file
from gato_jax.episodes.dataclass_reader import DataclassReader
from gato_jax.episodes.differences import require_same
from gato_jax.episodes.record_files import FileFormat
from gato_jax.episodes.tfds_writer import disk_errors
from gato_jax.episodes.writer import EpisodeRow
from gato_jax.sources.conversion.shards import Shard
from gato_jax.sources.reader import Rejection, SourceError

HEADER_FILE = "conversion.json"
# A fingerprint covers the data and the meaning of the fields.
OF_OTHERS = "of other data or fields, or with other settings"

Kind = Literal["survey", "convert"]


class ConversionError(SourceError):
    """A conversion that cannot be done, or not be gone on with; the message names the numbers and the remedy."""


_READER = DataclassReader(error=ConversionError)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShardEntry:
    """What became of the episodes of one shard.

    Attributes:
      rows: of the episodes that are in the file, in order. positions: theirs in the reader.
      rejected: the episodes that are in no file because they are damaged.
      record_bytes: of all records. size, digest: of the file; 0 and empty where there is none.
    """

    rows: tuple[EpisodeRow, ...]
    positions: tuple[int, ...]
    rejected: tuple[Rejection, ...]
    record_bytes: int = 0
    size: int = 0
    digest: str = ""


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The folder in which `directory`, `.../NAME/VERSION`, comes to be."""

    directory: Path
    file_format: FileFormat

    @property
    def folder(self) -> Path:
        return self.directory.with_name(f"{self.directory.name}.converting")

    @property
    def dataset(self) -> Path:
        return self.folder / "dataset"

    def begin(self, header: Mapping[str, Any], *, anew: bool = False):
        """Makes the folders, or goes on in those that are there, and clears away what a kill left.

        Args:
          header: what is converted and how.
          anew: whether what was begun with another header is thrown away.

        Raises:
          ConversionError: it was begun with another header.
        """
        with disk_errors(self.directory):
            begun = read_header(self.folder)
            if begun is None or (anew and begun != header):
                self._clear()
                for name in (self.dataset.name, *get_args(Kind)):
                    (self.folder / name).mkdir(parents=True)
                write_json(self.folder / HEADER_FILE, header)
            else:
                require_same(
                    header, begun, problem=f"{self.folder}: an unfinished conversion {OF_OTHERS}", holder=HEADER_FILE,
                    remedy="go on with the same, name another output, or begin anew (--overwrite)",
                    error=ConversionError,
                )  # fmt: skip
            for leftover in list(self.folder.rglob(f"*{PARTIAL}-*")):
                shutil.rmtree(leftover)

    def _clear(self):
        """Empties the folder, the header first: what is left without one, killed here, nobody goes on with."""
        (self.folder / HEADER_FILE).unlink(missing_ok=True)
        for part in self.folder.iterdir():
            shutil.rmtree(part) if part.is_dir() else part.unlink()

    def finished(self, kind: Kind, shards: Sequence[Shard]) -> dict[Shard, ShardEntry]:
        """The entries of the shards that are finished, in order. One whose file is not what it was is forgotten."""
        read = {shard: entry for shard in shards if (entry := self.entry(kind, shard))}
        final = self.final_files(read) if len(read) == len(shards) else {}
        with concurrent.futures.ThreadPoolExecutor() as pool:  # hashing lets other threads run
            whole = pool.map(lambda shard: self._is_whole(shard, read[shard], final.get(shard)), read)
        found = {shard: read[shard] for shard, is_whole in zip(read, whole, strict=True) if is_whole}
        for shard in shards:
            if shard not in found:
                self._entry_file(kind, shard).unlink(missing_ok=True)
        return found

    def entry(self, kind: Kind, shard: Shard) -> ShardEntry | None:
        """What was noted of a shard, None where it is not finished."""
        try:
            return _READER.read(ShardEntry, json.loads(self._entry_file(kind, shard).read_text()), shard.name)
        except (FileNotFoundError, ValueError):  # cut short by a crash of the machine
            return None

    def names(self, kind: Kind) -> set[str]:
        """The names of the shards that have an entry."""
        return {file.stem for file in (self.folder / kind).glob("*.json")} if self.folder.is_dir() else set()

    def write(self, kind: Kind, shard: Shard, entry: ShardEntry):
        write_json(self._entry_file(kind, shard), dataclasses.asdict(entry))

    def record_file(self, shard: Shard) -> Path:
        """Where the shard's records lie until all shards are finished."""
        return self.dataset / f"{shard.name}.{self.file_format}"

    def final_files(self, entries: Mapping[Shard, ShardEntry]) -> dict[Shard, Path]:
        """Where TFDS looks for the files of a conversion that is finished; shards without records have none."""
        files = {}
        for split in dict.fromkeys(shard.split for shard in entries):
            shards = [shard for shard, entry in entries.items() if shard.split == split and entry.size]
            stem = f"{self.directory.parent.name}-{split}.{self.file_format}"
            files |= {s: self.dataset / f"{stem}-{n:05}-of-{len(shards):05}" for n, s in enumerate(shards)}
        return files

    def _entry_file(self, kind: Kind, shard: Shard) -> Path:
        return self.folder / kind / f"{shard.name}.json"

    def _is_whole(self, shard: Shard, entry: ShardEntry, final_file: Path | None) -> bool:
        if not entry.size:
            return True
        file = self.record_file(shard)
        if final_file and not file.exists():  # killed while the files were renamed
            file = final_file
        return file.is_file() and file.stat().st_size == entry.size and digest_of(file) == entry.digest


def read_header(folder: Path) -> dict[str, Any] | None:
    """What a conversion in this folder was begun with, None where there is none."""
    try:
        return json.loads((folder / HEADER_FILE).read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def write_json(file: Path, value: Any):
    """Write JSON that appears whole or not at all, also when a worker that was taken for dead writes it, too."""
    with atomic_file(file, shared=True) as partial:
        partial.write_text(json.dumps(value))


def digest_of(file: Path) -> str:
    """Of the bytes of a file, in hexadecimal."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
