"""A file to which lines or records are added during a long job, on a disk or in a bucket."""

from __future__ import annotations

import pathlib
import time
from typing import IO

from gato_jax.runtime.paths import is_bucket

INTERVAL = 10.0  # seconds between two writes of an object while content is added; buckets limit how often it changes


class AppendedFile:
    """Writer that adds bytes to the end of a file.

    On a disk, `flush` passes what was written to the operating system. An object in a bucket cannot grow: the writer
    keeps its content in memory, and `flush` writes all of it again unless it did so less than `interval` seconds ago.
    Call `sync` where the content must be there if the process is killed afterwards.

    Args:
      path: The file. What is in it is kept.
      fresh: Whether to empty it first.
      interval: Shortest time between two writes by `flush` of an object in a bucket, in seconds.
    """

    def __init__(self, path: pathlib.Path, *, fresh: bool = False, interval: float = INTERVAL):
        self.path, self.interval = path, interval
        self.closed = False
        self._file: IO[bytes] | None = None
        self._content = bytearray()
        self._written, self._written_at = -1, float("-inf")  # size and time of the last write of the object
        if is_bucket(path):
            if not fresh and path.exists():
                self._content += path.read_bytes()
                self._written = len(self._content)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("wb" if fresh else "ab")

    def write(self, content: bytes):
        """Add bytes, which may stay in memory until `flush`, `sync` or `close`."""
        if self._file is not None:
            self._file.write(content)
        else:
            self._content += content

    def flush(self):
        """Pass on what was written, to a bucket at most every `interval` seconds."""
        if self._file is not None:
            self._file.flush()
        elif time.monotonic() - self._written_at > self.interval:
            self.sync()

    def sync(self):
        """Pass on what was written, to a bucket in any case."""
        if self._file is not None:
            self._file.flush()
        elif self._written != len(self._content):
            self.path.write_bytes(bytes(self._content))
            self._written, self._written_at = len(self._content), time.monotonic()

    def close(self):
        """Pass on what was written and close the file; closing it again does nothing."""
        if not self.closed:
            self.sync()
            self.closed = True
            if self._file is not None:
                self._file.close()
