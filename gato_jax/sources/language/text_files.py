"""Records of text files, read at random: whole files, lines of JSON, rows of Parquet."""

from __future__ import annotations

import bisect
import functools
import gzip
import itertools
import os
import threading
import zlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from gato_jax.sources.reader import EpisodeRejected, Rejection, SourceError

_DAMAGE = (OSError, EOFError, ValueError, LookupError, RuntimeError, zlib.error)  # as the formats' libraries say it


class Record(NamedTuple):
    """Bytes `start` to `stop` of a file, decompressed where it is compressed, or row `start` of a Parquet file."""

    file: Path
    start: int
    stop: int

    @property
    def where(self) -> str:
        return f"{self.file}, {'row' if kind_of(self.file) == '.parquet' else 'byte'} {self.start}"

    def read(self) -> bytes:
        """Its content.

        A compressed file is read from its beginning, or from the record that was last read where that lies before.

        Raises:
          EpisodeRejected: the file is gone or damaged.
        """
        try:
            match kind_of(self.file):
                case ".parquet":
                    return _read_row(self.file, self.start)
                case ".jsonl.gz":
                    return _read_bytes(_gzip(self.file, os.getpid(), threading.get_ident()), self.start, self.stop)
            with self.file.open("rb") as content:
                return _read_bytes(content, self.start, self.stop)
        except _DAMAGE as error:
            raise EpisodeRejected(self.where, f"it cannot be read ({error}); copy the file again") from error


class Records(Sequence[Record]):
    """Many records in little memory."""

    def __init__(self, files: Sequence[Path]):
        self._files = tuple(files)
        self._numbers, self._starts, self._stops = array("q"), array("q"), array("q")

    def extend(self, number: int, spans: Sequence[tuple[int, int]]):
        """Adds records of the file of this number, each from its start to its stop."""
        for start, stop in spans:
            self._numbers.append(number)
            self._starts.append(start)
            self._stops.append(stop)

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, position: Any) -> Record:
        return Record(self._files[self._numbers[position]], self._starts[position], self._stops[position])


def kind_of(file: Path) -> str:
    """Its suffix: `.txt`, `.jsonl.gz`."""
    return "".join(file.suffixes[-2:]) if file.suffix == ".gz" else file.suffix


def find_files(where: str | Path, kinds: Sequence[str]) -> list[Path]:
    """The file, or those of these kinds in the folder or below it, in order. Raises SourceError without any."""
    where = Path(where)
    files = [where] if where.is_file() else sorted(file for file in where.rglob("*") if file.is_file())
    if found := [file for file in files if kind_of(file) in kinds]:
        return found
    raise SourceError(f"{where}: no files of {', '.join(kinds)}; give one, or a folder of some")


def scan(
    files: Sequence[Path], keep: Callable[[Record, bytes], bool], said: str
) -> tuple[Records, tuple[Rejection, ...]]:
    """Reads all records once.

    Args:
      files: the files, of kinds that are read here.
      keep: (record, content) -> whether it is wanted. Raises EpisodeRejected where it is damaged.
      said: what this is, for the progress bar.

    Returns:
      The records that are wanted; and what is damaged, which is a whole file where its own format finds it so.
    """
    import tqdm

    records, rejected, size = Records(files), [], sum(file.stat().st_size for file in files)
    with tqdm.tqdm(total=size, desc=said, unit="B", unit_scale=True, delay=2) as progress:
        for number, file in enumerate(files):
            wanted: list[tuple[int, int]] = []
            damaged: list[Rejection] = []
            try:
                for start, stop, content in _contents(file):
                    try:
                        if keep(Record(file, start, stop), content):
                            wanted.append((start, stop))
                    except EpisodeRejected as error:
                        damaged.append(Rejection(error.location, error.reason))
            except EpisodeRejected as error:
                wanted, damaged = [], [Rejection(error.location, error.reason)]
            records.extend(number, wanted)
            rejected += damaged
            progress.update(file.stat().st_size)
    return records, tuple(rejected)


def _contents(file: Path) -> Iterator[tuple[int, int, bytes]]:
    """(start, stop, content) of each record. Raises EpisodeRejected where the file is damaged."""
    try:
        yield from _CONTENTS[kind_of(file)](file)
    except _DAMAGE as error:
        raise EpisodeRejected(str(file), f"it is damaged or cut short ({error}); copy it again") from error


def _whole(file: Path) -> Iterator[tuple[int, int, bytes]]:
    content = file.read_bytes()
    yield 0, len(content), content


def _lines(file: Path) -> Iterator[tuple[int, int, bytes]]:
    start = 0
    with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as lines:
        for line in lines:
            if line.strip():
                yield start, start + len(line), line
            start += len(line)


def _rows(file: Path) -> Iterator[tuple[int, int, bytes]]:
    row = itertools.count()
    for group in range(len(_group_stops(file))):
        for text in _texts(file, group):
            start = next(row)
            yield start, start + 1, text.as_py() or b""


_CONTENTS: dict[str, Callable[[Path], Iterator[tuple[int, int, bytes]]]] = {
    ".txt": _whole, ".md": _whole, ".jsonl": _lines, ".jsonl.gz": _lines, ".parquet": _rows
}  # fmt: skip


def _read_bytes(content: IO[bytes] | gzip.GzipFile, start: int, stop: int) -> bytes:
    content.seek(start)
    if len(read := content.read(stop - start)) < stop - start:
        raise EOFError("it has become shorter")
    return read


@functools.lru_cache(maxsize=16)
def _gzip(file: Path, process: int, thread: int) -> gzip.GzipFile:
    """Kept open, for seeking in it is slow: one for each thread of each process, as a file has one position."""
    return gzip.open(file)


def _read_row(file: Path, row: int) -> bytes:
    stops = _group_stops(file)
    group = bisect.bisect_right(stops, row)
    return _texts(file, group)[row - (stops[group - 1] if group else 0)].as_py() or b""


@functools.lru_cache(maxsize=64)
def _group_stops(file: Path) -> list[int]:
    """The number of the row after each row group."""
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(file) as table:
        if "text" not in table.schema_arrow.names:
            raise ValueError(f"it has no column 'text', but {', '.join(table.schema_arrow.names)}")
        groups = (table.metadata.row_group(group).num_rows for group in range(table.num_row_groups))
        return list(itertools.accumulate(groups))


@functools.lru_cache(maxsize=2)
def _texts(file: Path, group: int) -> Any:
    """The texts of a row group as bytes, for whether they are UTF-8 is asked later, of each alone."""
    import pyarrow
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(file, page_checksum_verification=True) as table:
        return table.read_row_group(group, columns=["text"])["text"].cast(pyarrow.large_binary()).combine_chunks()
