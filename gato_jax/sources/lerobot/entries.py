"""Entries of the list of episodes of a LeRobot dataset, and the lines and paths that they are read from."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gato_jax.sources.files import resolve_within

_PLACEHOLDER = re.compile(r"\{(\w+)(?::0?(\d)d)?\}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class VideoPart:
    """Part of a video file that shows one episode.

    Attributes:
      file: The video file.
      start: Start of the part in seconds from the beginning of the file.
      stop: End of the part in seconds from the beginning of the file; None for the end of the file.
    """

    file: Path
    start: float = 0.0
    stop: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeRobotEpisode:
    """Location of one episode in the files of a dataset.

    Attributes:
      index: Number of the episode in the dataset.
      length: Number of steps.
      data: Parquet file with one row for each step. The file may hold several episodes.
      first_row: Row of the first step in `data`, from 0.
      videos: {name of a camera's feature: part of its video}.
    """

    index: int
    length: int
    data: Path
    first_row: int
    videos: Mapping[str, VideoPart]

    @property
    def location(self) -> str:
        """File and number of the episode, for messages, `FILE: episode NUMBER`."""
        return f"{self.data}: episode {self.index}"


def fill_path(root: Path, template: str, values: Mapping[str, Any]) -> Path:
    """Fill the placeholders of a path template and return the path below `root`.

    Only the forms `{name}`, `{name:03d}` and `{name:3d}` are replaced, with any one digit for the width 3; the last two
    both pad with zeros. `str.format` would also evaluate attributes and any width, which is unsafe for a
    template from a downloaded file.

    Raises:
      KeyError: `values` lacks the name of a placeholder.
      SourceError: The path leads out of `root`.
    """

    def fill(placeholder: re.Match) -> str:
        value, width = values[placeholder[1]], placeholder[2]
        return f"{value:0{width}d}" if width else str(value)

    return _path_within(root, _PLACEHOLDER.sub(fill, template))


@functools.lru_cache(maxsize=1024)  # many episodes share a file
def _path_within(root: Path, name: str) -> Path:
    """Return `root / name`; raise SourceError if it leads out of `root`, by `..` or by a link. See `resolve_within`."""
    resolve_within(root, name)
    return root / name


def read_integer(row: Mapping[str, Any], key: str) -> int:
    """Return an entry of a parsed line, or raise TypeError if it is not an integer."""
    value = row[key]
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{key} is {value!r}, expected an integer")
    return value


def read_lines(file: Path) -> Iterator[tuple[str, bytes]]:
    """Yield location, for messages, and content of each line of a file that is not blank. Lines end at newlines only.

    Raises:
      OSError: The file is missing or cannot be read.
    """
    for number, line in enumerate(file.read_bytes().split(b"\n"), start=1):
        if line.strip():
            yield f"{file}, line {number}", line
