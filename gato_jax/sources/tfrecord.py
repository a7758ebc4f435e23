"""TFRecord files at random, without TensorFlow.

A record is its length (uint64, little-endian), the length's CRC (uint32), the bytes, the bytes' CRC (uint32). Nothing
says where the records are, so the first access walks over the lengths: 60,000 episodes in seconds, whatever their size.
The CRCs are not checked: a damaged record fails to parse.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gato_jax.sources.reader import SourceError

_HEADER, _FOOTER = 12, 4


class TFRecords:
    """The records of several files in order."""

    def __init__(self, files: Sequence[Path]):
        self._files = tuple(files)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, position: int) -> bytes:
        file, start, size = self._places[position]
        with self._files[file].open("rb") as records:
            records.seek(start)
            return records.read(size)

    @functools.cached_property
    def _places(self) -> np.ndarray:
        """(N, 3) int64: number of the file, first byte and bytes of each record."""
        places = [(number, *place) for number, file in enumerate(self._files) for place in walk(file)]
        return np.array(places, np.int64).reshape(-1, 3)


def walk(file: Path) -> list[tuple[int, int]]:
    """First byte and bytes of each record of a file. Raises SourceError where the file was cut short."""
    places, position, end = [], 0, file.stat().st_size
    with file.open("rb") as records:
        while position < end:
            header = records.read(_HEADER)
            size = struct.unpack("<Q", header[:8])[0] if len(header) == _HEADER else end
            following = position + _HEADER + size + _FOOTER
            if following > end:
                raise SourceError(f"{file}: cut short at byte {end}, inside a record; copy the file again")
            places.append((position + _HEADER, size))
            records.seek(following)
            position = following
    return places
