"""Sizes, times and checksums of the files of token records: what tells a file that is as it was written."""

from __future__ import annotations

import dataclasses
import pathlib
import zlib

_BLOCK_BYTES = 1 << 24


class RecordFileError(ValueError):
    """A file of token records that is missing, changed or cannot be read; the message names the file."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileState:
    """A file as it was written.

    Attributes:
      size: Size in bytes.
      time: Time of the last change in nanoseconds.
      checksum: CRC-32 of the content; None for a file of records, each of which has a checksum of its own.
    """

    size: int
    time: int
    checksum: int | None = None

    @classmethod
    def of(cls, path: pathlib.Path, *, checksum: bool) -> FileState:
        """Return the state of a file, with its checksum if `checksum` is True. Raises OSError if it is missing."""
        stat = path.stat()
        return cls(size=stat.st_size, time=stat.st_mtime_ns, checksum=compute_checksum(path) if checksum else None)


def check_file(path: pathlib.Path, written: FileState | None, *, always: bool = False):
    """Check that a file is as it was written.

    Args:
      path: The file.
      written: Its state when it was written; None, for a file that meta.json does not list, raises the error. If its
        checksum is None, only the sizes are compared.
      always: Whether to compute the checksum of a file whose size and time are unchanged, too. By default, a checksum
        is computed only if the time differs.

    Raises:
      RecordFileError: The file is missing or cannot be read, its size or checksum differs, or `written` is None. A
        different time alone is no error.
    """
    if written is None:
        raise RecordFileError(f"{path} is not in the list of files of its meta.json")
    try:
        found = FileState.of(path, checksum=False)
        if found.size != written.size:
            raise RecordFileError(f"{path} has {found.size} bytes, it was written with {written.size}")
        if written.checksum is None or (found.time == written.time and not always):
            return
        if (checksum := compute_checksum(path)) != written.checksum:
            raise RecordFileError(f"{path}: its checksum is {checksum}, it was written with {written.checksum}")
    except OSError as error:
        raise RecordFileError(f"{path} cannot be read ({error.strerror})") from None


def compute_checksum(path: pathlib.Path) -> int:
    """Return the CRC-32 of the content of a file, in [0, 2^32)."""
    value = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            value = zlib.crc32(block, value)
    return value
