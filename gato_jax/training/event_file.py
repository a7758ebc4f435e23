"""A file of TensorBoard events, on a disk or in a bucket."""

from __future__ import annotations

import pathlib
import uuid
from typing import Any

import numpy as np
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto import event_pb2
from tensorboardX.record_writer import register_writer_factory

from gato_jax.runtime.appended_files import AppendedFile
from gato_jax.runtime.paths import SCHEMES, as_path, is_bucket


class _BucketEvents:
    """Opener of event files by their addresses, for the registry of tensorboardX.

    TensorboardX itself would need another package for each kind of bucket.
    """

    def open(self, path: str) -> AppendedFile:
        return AppendedFile(as_path(path), fresh=True)

    def directory_check(self, path: str):
        pass


for _scheme in SCHEMES:
    register_writer_factory(_scheme, _BucketEvents())


_Event: Any = getattr(event_pb2, "Event")  # noqa: B009 (made when the module is imported)


class EventFile:
    """Writer of a new file of events.

    Events are written by the thread that adds them, so that it gets the error of a full disk. (The SummaryWriter of
    tensorboardX writes in a thread, which ends with a traceback, and the eleventh event after that waits forever.)

    In a bucket, the file is written when it is closed, and before that at a flush, but not at every flush.

    Args:
      folder: Folder of the events, which is made.

    Raises:
      OSError: The file cannot be written; so do all methods.
    """

    def __init__(self, folder: pathlib.Path):
        if not is_bucket(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self._writer = EventsWriter(str(folder / "events"), f".{uuid.uuid4().hex[:8]}")

    def add_scalar(self, name: str, value: float | int, step: int, seconds: float):
        """Add a number of a step; `seconds` is the time since the epoch."""
        self._writer.write_event(_Event(wall_time=seconds, step=step, summary=summary.scalar(name, value)))

    def add_image(self, name: str, image: np.ndarray, step: int, seconds: float):
        """Add an image (H, W, 3) of uint8 of a step; `seconds` is the time since the epoch."""
        shown = summary.image(name, image, dataformats="HWC")
        self._writer.write_event(_Event(wall_time=seconds, step=step, summary=shown))

    def flush(self):
        """Pass on all events, to a bucket only now and then."""
        self._writer.flush()

    def close(self):
        """Write what is left and close the file."""
        self._writer.close()
