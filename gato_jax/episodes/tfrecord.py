"""Reader with random access and writer of TFRecord files, without TensorFlow.

A record is its length (uint64, little-endian), the CRC of the length (uint32), the bytes, and the CRC of the bytes
(uint32). The file has no index, so opening it walks over the lengths, which takes seconds for 60,000 episodes.
"""

from __future__ import annotations

import os
import struct
from typing import Any

import google_crc32c

_HEADER, _FOOTER = 12, 4


class RecordError(ValueError):
    """A record file that is damaged; the message names the file, the place and the remedy."""


class TFRecords:
    """Random access to the records of one file; the length counts those that can be read.

    A file that is cut short or damaged raises no error when it is opened: `problem` is set. A missing one raises
    OSError.

    Args:
      file: a `pathlib.Path` or an `etils.epath.Path`.

    Attributes:
      problem: the reason why records at the end of the file cannot be read; None if the file is whole.
    """

    def __init__(self, file: Any):
        self._file = file
        self._spans, self.problem = _find_records(file)

    def __len__(self) -> int:
        return len(self._spans)

    def end_of(self, count: int) -> int:
        """Return the size in bytes of the part of the file that holds its first `count` records."""
        if not count:
            return 0
        start, size = self._spans[count - 1]
        return start + size + _FOOTER

    def __getitem__(self, position: int) -> bytes:
        """Return the bytes of a record.

        Raises:
          IndexError: there is no such record.
          RecordError: the bytes differ from those that were written, as their CRC shows.
        """
        start, size = self._spans[position]
        with self._file.open("rb") as content:
            content.seek(start)
            record = content.read(size + _FOOTER)
        data, footer = record[:size], record[size:]
        if len(footer) < _FOOTER or struct.unpack("<I", footer)[0] != _masked_crc(data):
            raise RecordError(f"{self._file}: record {position} is damaged (its CRC differs); copy the file again")
        return data


class TFRecordWriter:
    """Writer of one TFRecord file.

    Args:
      file: path of the file.
      append: whether to write after the records of a file that is there. Otherwise such a file is a FileExistsError.
    """

    def __init__(self, file: str | os.PathLike[str], *, append: bool = False):
        self._file = open(file, "ab" if append else "xb")

    def write(self, record: bytes):
        length = struct.pack("<Q", len(record))
        self._file.write(length + struct.pack("<I", _masked_crc(length)))
        self._file.write(record + struct.pack("<I", _masked_crc(record)))

    def flush(self):
        """Pass what was written to the operating system, so that it stays when the process is killed."""
        self._file.flush()

    def close(self):
        self._file.close()


def _masked_crc(data: bytes) -> int:
    """Return the CRC-32C of some bytes as the uint32 that is stored: rotated right by 15 bits, plus a constant."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _find_records(file: Any) -> tuple[list[tuple[int, int]], str | None]:
    """Find the whole records of a file before the first damage; the CRCs of their contents are not checked.

    Returns:
      (offset, size) in bytes of the content of each record; and the problem that ends the file early, None if it is
      whole.
    """
    spans, headers, problem, position = [], [], None, 0
    with file.open("rb") as content:
        end = content.seek(0, os.SEEK_END)
        while position < end:
            content.seek(position)
            header = content.read(_HEADER)
            if len(header) == _HEADER:
                headers.append(header)
                size = struct.unpack("<Q", header[:8])[0]
            if len(header) < _HEADER or position + _HEADER + size + _FOOTER > end:
                problem = f"{file}: cut short at byte {end}, inside record {len(spans)}; copy the file again"
                break
            spans.append((position + _HEADER, size))
            position += _HEADER + size + _FOOTER
    for number, header in enumerate(headers):
        if _masked_crc(header[:8]) != struct.unpack("<I", header[8:])[0]:
            # The records after a wrong length cannot be found.
            return spans[:number], f"{file}: the length of record {number} is damaged; copy the file again"
    return spans, problem
