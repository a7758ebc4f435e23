"""Files of records in both formats of RLDS datasets, with random access, read and written without TensorFlow."""

from __future__ import annotations

import bisect
import functools
import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, get_args, runtime_checkable

from gato_jax.episodes.errors import describe_error
from gato_jax.episodes.tfrecord import RecordError, TFRecords, TFRecordWriter
from gato_jax.runtime.bucket_copies import local_copy
from gato_jax.runtime.paths import as_path

FileFormat = Literal["array_record", "tfrecord"]
FILE_FORMATS: tuple[FileFormat, ...] = get_args(FileFormat)


@runtime_checkable
class Records(Protocol):
    """Random access to the records of one file, from position 0; the length counts those that can be read.

    Opening a damaged file raises nothing and sets `problem`; reading a damaged record raises RecordError.
    """

    @property
    def problem(self) -> str | None:
        """The reason why records at the end of the file, or all, cannot be read; None if the file is whole."""
        ...

    def __len__(self) -> int: ...
    def __getitem__(self, position: int) -> bytes: ...


@runtime_checkable
class RecordWriter(Protocol):
    """Writer of the records of one file, which is complete only after `close`."""

    def write(self, record: bytes) -> None: ...
    def close(self) -> None: ...


class ArrayRecords:
    """Random access to the records of one ArrayRecord file.

    The index is at the end of the file, so a file that was cut short has no readable records. Opening such a file
    raises nothing: its length is 0, and `problem` names the reason. A file without records counts as damaged as well.
    """

    def __init__(self, file: Any):
        from array_record.python.array_record_module import ArrayRecordReader  # pyright: ignore: compiled

        self._file, self.problem, self._count = file, None, 0
        try:
            self._reader = ArrayRecordReader(os.fspath(file), "readahead_buffer_size:0")
            self._count = self._reader.num_records()
        except (RuntimeError, ValueError, IndexError) as error:
            self.problem = f"{file}: no readable ArrayRecord file ({describe_error(error)}); copy the file again"
        if not self._count:
            self.problem = self.problem or f"{file}: holds no records, or was cut short; copy the file again"

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, position: int) -> bytes:
        try:
            (record,) = self._reader.read([position])
        except (RuntimeError, ValueError, IndexError) as error:
            raise RecordError(
                f"{self._file}: record {position} is damaged ({describe_error(error)}); copy the file again"
            ) from None
        return record


def open_records(file: Path | Any) -> Records:
    """Open a record file: TFRecord if `.tfrecord` is in its name, else ArrayRecord.

    A damaged file is opened with the records that can be read, and `problem` set.

    Raises:
      OSError: the file does not exist or cannot be read.
    """
    if ".tfrecord" in file.name:
        return TFRecords(file)
    if not file.exists():
        raise FileNotFoundError(f"{file}: no such file")
    return ArrayRecords(local_copy(as_path(file)))  # array_record reads files on a disk only


def record_writer(file: str | os.PathLike[str], file_format: FileFormat) -> RecordWriter:
    """Return a writer of a new file at the path `file`, which must not exist yet, in the format `file_format`."""
    if file_format == "tfrecord":
        return TFRecordWriter(file)
    from array_record.python.array_record_module import ArrayRecordWriter  # pyright: ignore: compiled

    return ArrayRecordWriter(os.fspath(file), "group_size:1")


class SplitRecords:
    """Random access to the records of all files of a split, numbered from 0 across the files in their order.

    The files are opened at the first access. Negative positions are not supported.
    """

    def __init__(self, files: Sequence[Path]):
        self._files = tuple(files)

    @functools.cached_property
    def _opened(self) -> tuple[list[Records], list[int]]:
        opened = [open_records(file) for file in self._files]
        return opened, list(itertools.accumulate(map(len, opened), initial=0))

    def __len__(self) -> int:
        return self._opened[1][-1]

    def __getitem__(self, position: int) -> bytes:
        opened, starts = self._opened
        number = bisect.bisect_right(starts, position) - 1
        return opened[number][position - starts[number]]
