"""The lines of a metrics.jsonl that grows, read once each, in columns that take little memory."""

from __future__ import annotations

import array
import bisect
import io
import json
import math
import os
import threading
import uuid
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from gato_jax.web.console.downsampling import downsample

AXES = ("step", "tokens", "seconds")  # quantities that a curve may be drawn over
_CHUNK = 8_000_000  # bytes that one call reads at most, about half a second
_MARK = 64  # bytes before the end of what was read, by which a file is recognised
_LARGEST = float(np.finfo(np.float32).max)
_PROBLEMS = 3  # the most damaged lines that are named


class MetricsTail:
    """Reader of one metrics.jsonl that follows the file while it grows.

    A file that is replaced, as when a run goes on from an older checkpoint, or that got shorter, is read from its
    beginning again, under another `generation`. A last line without its end is not read yet. Values that are not
    finite are left out of the curves. Methods may be called from several threads.

    Args:
      path: The file; it may be missing.

    Attributes:
      generation: Text that is another one whenever the file is another one.
      offset: Number of bytes that were read.
      size: Size of the file in bytes at the last look.
    """

    def __init__(self, path: Path):
        self.path = path
        self._lock = threading.Lock()
        self._identity: tuple[int, int] | None = None
        self._forget()

    def advance(self, budget: int = _CHUNK):
        """Read lines that were added, up to about `budget` bytes."""
        with self._lock:
            try:
                file = self.path.open("rb")
            except FileNotFoundError:
                self._identity = None
                self._forget()
                return
            with file:
                status = os.fstat(file.fileno())
                identity = (status.st_dev, status.st_ino)
                if identity != self._identity or not self._continues(file, status.st_size):
                    self._identity = identity
                    self._forget()
                self.size = status.st_size
                file.seek(self.offset)
                content = file.read(budget)
                if len(content) == budget:
                    content += file.readline()
            whole = content[: content.rfind(b"\n") + 1]
            for line in io.BytesIO(whole):
                self.offset += len(line)
                self._add(line)
            self._mark = (self._mark + whole)[-_MARK:]

    def curves(self, keys: list[str], *, since: int = 0, generation: str = "", points: int = 600) -> dict[str, Any]:
        """Return the curves of some quantities after a place in the file, as JSON.

        Args:
          keys: The quantities; unknown ones have no curve.
          since: `offset` of an earlier answer, whose later lines are asked for.
          generation: `generation` of that answer. All lines are returned if it is not that of the file now.
          points: Largest number of points of a curve.

        Returns:
          `generation`, `offset`, `size`, `keys` of all quantities, `problems` of damaged lines, `fresh` (whether the
          curves begin at the first line) and `curves`: {key: {"step", "tokens", "seconds", "low", "high", "mean",
          "count": list with an item for each point}}, see `downsampling.Stretches`.
        """
        with self._lock:
            fresh = not since or generation != self.generation
            first = 0 if fresh else bisect.bisect_right(self._ends, since)
            return {
                "generation": self.generation,
                "offset": self.offset,
                "size": self.size,
                "fresh": fresh,
                "keys": sorted(self._columns),
                "problems": self._list_problems(),
                "curves": {key: self._curve(key, first, points) for key in keys if key in self._columns},
            }

    def problems(self) -> list[str]:
        """Return a sentence for each of the first damaged lines, and one for the others."""
        with self._lock:
            return self._list_problems()

    def _list_problems(self) -> list[str]:
        more = self._damaged - len(self._problems)
        return [*self._problems, *([f"{more} more lines are damaged."] if more else [])]

    def _forget(self):
        self.generation = uuid.uuid4().hex[:12]
        self.offset = self.size = self._lines = self._damaged = 0
        self._mark = b""
        self._problems: list[str] = []
        self._ends = array.array("q")  # offset of the end of each row
        self._axes = {name: array.array("d") for name in AXES}
        self._columns: dict[str, tuple[array.array[int], array.array[float]]] = {}  # {key: (rows, values)}

    def _continues(self, file: BinaryIO, size: int) -> bool:
        """Return whether the file still holds what was read of it, as far as its size and last bytes tell."""
        if size < self.offset:
            return False
        file.seek(self.offset - len(self._mark))
        return file.read(len(self._mark)) == self._mark

    def _add(self, line: bytes):
        self._lines += 1
        if not line.strip():
            return
        try:
            fields = json.loads(line)
            step = float(fields["step"])
            items = fields.items()
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
            self._damaged += 1
            if len(self._problems) < _PROBLEMS:
                where = f"{self.path.name}, line {self._lines}"
                self._problems.append(
                    f"{where} is {line.strip()[:40]!r}, expected a JSON object with a step. Delete the line."
                )
            return
        row = len(self._ends)
        self._ends.append(self.offset)
        self._axes["step"].append(step)
        for name in AXES[1:]:
            value = fields.get(name)
            self._axes[name].append(float(value) if isinstance(value, int | float) else math.nan)
        for key, value in items:
            if key in AXES or not isinstance(value, int | float) or not abs(value) < _LARGEST:
                continue
            if key not in self._columns:
                self._columns[key] = (array.array("I"), array.array("f"))
            rows, values = self._columns[key]
            rows.append(row)
            values.append(value)

    def _curve(self, key: str, first: int, points: int) -> dict[str, list[Any]]:
        rows, values = self._columns[key]
        begin = bisect.bisect_left(rows, first)
        # Copies, as an array cannot grow while a view of it is alive.
        parts = downsample(np.array(values[begin:], np.float32).astype(np.float64), points)
        at = [rows[begin + int(last)] for last in parts.last]
        curve: dict[str, list[Any]] = {name: [_finite(self._axes[name][row]) for row in at] for name in AXES}
        for name in ("low", "high", "mean"):
            curve[name] = [float(f"{value:.6g}") for value in getattr(parts, name)]
        return {**curve, "count": parts.count.tolist()}


def _finite(value: float) -> float | None:
    return float(f"{value:.12g}") if math.isfinite(value) else None
