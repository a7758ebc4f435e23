"""TensorBoard events in buckets. TensorboardX itself would need another package for each kind of bucket."""

from __future__ import annotations

import pathlib
from typing import Any

from tensorboardX import SummaryWriter
from tensorboardX.record_writer import register_writer_factory

from gato_jax.runtime.appended_files import AppendedFile
from gato_jax.runtime.paths import SCHEMES, as_path


class _BucketEvents:
    """Opener of event files by their addresses, for the registry of tensorboardX."""

    def open(self, path: str) -> AppendedFile:
        return AppendedFile(as_path(path), fresh=True)

    def directory_check(self, path: str):
        pass


for _scheme in SCHEMES:
    register_writer_factory(_scheme, _BucketEvents())


def summary_writer(folder: pathlib.Path, **options: Any) -> SummaryWriter:
    """Return a SummaryWriter of tensorboardX for a folder on a disk or in a bucket.

    In a bucket, an event file is written when it is closed, and before that at a flush, but not at every flush.
    """
    return SummaryWriter(str(folder), **options)
