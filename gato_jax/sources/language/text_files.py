"""Random access to the records of text files: whole text files, lines of JSON Lines, JSON values, rows of Parquet."""

from __future__ import annotations

import bisect
import codecs
import contextlib
import functools
import gzip
import itertools
import json
import os
import re
import threading
import zlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from gato_jax.runtime.content_digests import file_key
from gato_jax.sources.files import FoundFiles, find_files
from gato_jax.sources.reader import EpisodeRejected, Rejection, SourceError

_WHITESPACE = re.compile(r"[ \t\r\n]*")  # of JSON
# Descriptions that lie beside texts. They are no collections of dialogues.
_DESCRIPTIONS = ("provenance.json", "fields.json", "dataset_info.json", "dataset_infos.json", "dataset_dict.json")
# The exceptions that the formats' libraries raise for damaged files.
_READ_ERRORS = (OSError, EOFError, ValueError, LookupError, RuntimeError, zlib.error)


class Record(NamedTuple):
    """Location of one text in a file.

    Attributes:
      file: The file.
      start: First byte of the text in the decompressed file; in a Parquet file, its row in the file, from 0.
      stop: Byte after the text; in a Parquet file, `start` + 1.
    """

    file: Path
    start: int
    stop: int

    @property
    def location(self) -> str:
        """File and position of the record, for messages, such as "a.jsonl, byte 120" or "a.parquet, row 3"."""
        return f"{self.file}, {'row' if file_suffix(self.file) == '.parquet' else 'byte'} {self.start}"

    def read(self) -> bytes:
        """Read the bytes of the text; in a JSON Lines file they are the whole line, with its line break.

        A compressed file is decompressed from its start, or from the end of the record that the thread read last in it,
        if that lies before this record.

        Raises:
          EpisodeRejected: The file is missing or damaged.
        """
        try:
            match file_suffix(self.file):
                case ".parquet":
                    return _read_row(self.file, self.start)
                case ".jsonl.gz":
                    opened = _open_gzip(file_key(self.file), os.getpid(), threading.get_ident())
                    return _read_bytes(opened, self.start, self.stop)
            with self.file.open("rb") as content:
                return _read_bytes(content, self.start, self.stop)
        except _READ_ERRORS as error:
            raise EpisodeRejected(self.location, f"it cannot be read ({error}). Copy the file again.") from error


class Records(Sequence[Record]):
    """Sequence of records that takes 24 bytes of memory for each. It is empty at first; slices are not supported."""

    def __init__(self, files: Sequence[Path]):
        self._files = tuple(files)
        self._file_numbers, self._starts, self._stops = array("q"), array("q"), array("q")

    def extend(self, file_number: int, spans: Sequence[tuple[int, int]]):
        """Append records of one file.

        Args:
          file_number: Index of the file among the `files` of the constructor.
          spans: (start, stop) of each record.
        """
        for start, stop in spans:
            self._file_numbers.append(file_number)
            self._starts.append(start)
            self._stops.append(stop)

    def __len__(self) -> int:
        return len(self._file_numbers)

    def __getitem__(self, position: Any) -> Record:
        return Record(self._files[self._file_numbers[position]], self._starts[position], self._stops[position])


def file_suffix(file: Path) -> str:
    """Return the last suffix of a file, such as `.txt`, or the last two if it ends in `.gz`, such as `.jsonl.gz`.

    A name without a dot has the suffix "". The case is kept, so `.TXT` is another suffix than `.txt`.
    """
    return "".join(file.suffixes[-2:]) if file.suffix == ".gz" else file.suffix


def find_texts(path: str | Path, suffixes: Sequence[str]) -> FoundFiles:
    """Find the files with one of the suffixes: `path` itself if it is a file, else all files below it.

    Suffixes are those of `file_suffix`. Descriptions such as `provenance.json` are not among the files to read.

    Raises:
      SourceError: There are no such files.
    """
    path = Path(path)
    found = find_files(path, lambda file: file_suffix(file) in suffixes and file.name not in _DESCRIPTIONS)
    if found.files and file_suffix(found.files[0]) in suffixes:
        return found
    refused = f" {found.rejected[0]}" if found.rejected else ""
    raise SourceError(
        f"cannot open {path}: no files of {', '.join(suffixes)}. Name such a file, or a folder of them.{refused}"
    )


def select_records(
    files: Sequence[Path], is_selected: Callable[[Record, bytes], bool], description: str
) -> tuple[Records, tuple[Rejection, ...]]:
    """Read all records once and select some of them.

    Args:
      files: Files with suffixes that this module reads.
      is_selected: Function from a record and its bytes to whether it is selected. It raises EpisodeRejected if the
        record is damaged.
      description: Label of the progress bar.

    Returns:
      The selected records, in the order of the files, and the rejected records. If a file cannot be read to its end,
      there is one rejection for the whole file, and none of its records is selected.
    """
    import tqdm

    records, rejected, size = Records(files), [], sum(file.stat().st_size for file in files)
    with tqdm.tqdm(total=size, desc=description, unit="B", unit_scale=True, delay=2) as progress:
        for number, file in enumerate(files):
            selected: list[tuple[int, int]] = []
            damaged: list[Rejection] = []
            try:
                for start, stop, content in _iterate_records(file):
                    try:
                        if is_selected(Record(file, start, stop), content):
                            selected.append((start, stop))
                    except EpisodeRejected as error:
                        damaged.append(Rejection(error.location, error.reason))
            except EpisodeRejected as error:
                selected, damaged = [], [Rejection(error.location, error.reason)]
            records.extend(number, selected)
            rejected += damaged
            progress.update(file.stat().st_size)
    return records, tuple(rejected)


def _iterate_records(file: Path) -> Iterator[tuple[int, int, bytes]]:
    """Yield (start, stop, content) of each record of a file, with positions as in `Record`.

    Raises:
      EpisodeRejected: The file is damaged. It may be raised after some records.
    """
    try:
        yield from _ITERATORS[file_suffix(file)](file)
    except _READ_ERRORS as error:
        raise EpisodeRejected(str(file), f"it is damaged or cut short ({error}). Copy it again.") from error


def _iterate_file(file: Path) -> Iterator[tuple[int, int, bytes]]:
    """Yield a whole file as one record: (0, size, content)."""
    content = file.read_bytes()
    yield 0, len(content), content


def _iterate_lines(file: Path) -> Iterator[tuple[int, int, bytes]]:
    """Yield (start, stop, content) of each line that is not blank, in bytes of the decompressed file.

    The content includes the line break.
    """
    start = 0
    with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as lines:
        for line in lines:
            if line.strip():
                yield start, start + len(line), line
            start += len(line)


def _iterate_values(file: Path) -> Iterator[tuple[int, int, bytes]]:
    """Yield (start, stop, content) of each JSON value of a file, in bytes: elements of its array, or values in a row.

    Raises:
      ValueError: the file does not hold JSON values alone. It may be raised after some records.
    """
    content = file.read_bytes()
    # In Latin-1 a character is a byte, and all bytes of UTF-8 but those of ASCII are characters inside of strings.
    text, decoder = content.decode("latin-1"), json.JSONDecoder()

    def skip(position: int) -> int:
        return _WHITESPACE.match(text, position).end()  # pyright: ignore[reportOptionalMemberAccess]

    start = skip(3 if content.startswith(codecs.BOM_UTF8) else 0)
    is_array = text[start : start + 1] == "["
    start = skip(start + is_array)
    ends = text[start : start + 1] == "]" and is_array
    while not ends and start < len(text):
        _, stop = decoder.raw_decode(text, start)
        yield start, stop, content[start:stop]
        start = skip(stop)
        if is_array:
            ends = text[start : start + 1] == "]"
            if not ends and text[start : start + 1] != ",":
                raise ValueError(f"expected a comma at byte {start}")
            start = skip(start + 1) if not ends else start
    if is_array and (not ends or skip(start + 1) < len(text)):
        raise ValueError(f"its array does not end at byte {start}, or something follows it")


def _iterate_rows(file: Path) -> Iterator[tuple[int, int, bytes]]:
    """Yield (row, row + 1, text as bytes) of each row of a Parquet file, from its column `text`; a null yields b""."""
    row = itertools.count()
    for group in range(len(_row_group_stops(file_key(file)))):
        for text in _row_group_texts(file_key(file), group):
            start = next(row)
            yield start, start + 1, text.as_py() or b""


_ITERATORS: dict[str, Callable[[Path], Iterator[tuple[int, int, bytes]]]] = {
    ".txt": _iterate_file,
    ".md": _iterate_file,
    ".json": _iterate_values,
    ".jsonl": _iterate_lines,
    ".jsonl.gz": _iterate_lines,
    ".parquet": _iterate_rows,
}


def _read_bytes(content: IO[bytes] | gzip.GzipFile, start: int, stop: int) -> bytes:
    """Read the bytes [start, stop) of an open file; raise EOFError if the file ends before `stop`."""
    content.seek(start)
    if len(read := content.read(stop - start)) < stop - start:
        raise EOFError(f"it ends before byte {stop} and has changed since it was opened")
    return read


@functools.lru_cache(maxsize=16)
def _open_gzip(key: tuple[Any, ...], process: int, thread: int) -> gzip.GzipFile:
    """Open a compressed file and keep it open, because seeking from the start is slow.

    An open file has one position, so each thread of each process has its own: their ids are part of the cache key.
    `key` is the `file_key` of the file.
    """
    return gzip.open(key[0])


def _read_row(file: Path, row: int) -> bytes:
    """Return the value of the column `text` in one row of a Parquet file as bytes; b"" for a null."""
    key = file_key(file)
    stops = _row_group_stops(key)
    group = bisect.bisect_right(stops, row)
    return _row_group_texts(key, group)[row - (stops[group - 1] if group else 0)].as_py() or b""


@functools.lru_cache(maxsize=64)
def _row_group_stops(key: tuple[Any, ...]) -> list[int]:
    """Return, for each row group of a Parquet file, the number of the first row after it, such as [100, 200, 250].

    Raises:
      ValueError: The file has no column `text`.
    """
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(key[0]) as table:
        if "text" not in table.schema_arrow.names:
            raise ValueError(f"it has the columns {', '.join(table.schema_arrow.names)}, expected a column 'text'")
        groups = (table.metadata.row_group(group).num_rows for group in range(table.num_row_groups))
        return list(itertools.accumulate(groups))


@functools.lru_cache(maxsize=2)
def _row_group_texts(key: tuple[Any, ...], group: int) -> Any:
    """Return the column `text` of a row group, by its number in the file, as a pyarrow array of bytes.

    Bytes are not decoded here, so that one text that is not UTF-8 does not make the others unreadable.
    """
    import pyarrow
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(key[0], page_checksum_verification=True) as table:
        return table.read_row_group(group, columns=["text"])["text"].cast(pyarrow.large_binary()).combine_chunks()


def column_names(file: Path) -> dict[str, int]:
    """Return {name: number of records that have it} of the fields of JSON or the columns of Parquet; else {}.

    Records and files that are damaged have none.
    """
    counts: dict[str, int] = {}
    try:
        if file_suffix(file) == ".parquet":
            import pyarrow.parquet

            with pyarrow.parquet.ParquetFile(file) as table:
                return dict.fromkeys(map(str, table.schema_arrow.names), int(table.metadata.num_rows))
        if ".json" in file_suffix(file):
            for _, _, line in _iterate_records(file):
                with contextlib.suppress(ValueError):
                    record = json.loads(line)
                    for name in record if isinstance(record, dict) else ():
                        counts[name] = counts.get(name, 0) + 1
    except (*_READ_ERRORS, EpisodeRejected):
        return counts
    return counts
