"""Checkpoints that were copied from a disk into a bucket, where orbax tells finished ones by a file of their own."""

from __future__ import annotations

import logging

import jax
from etils import epath

from gato_jax.checkpoints.checksums import CHECKSUMS_FILE, find_damage
from gato_jax.runtime.paths import is_bucket

_COMMITTED = "commit_success.txt"  # orbax writes it into a checkpoint and each of its items, in buckets only

_log = logging.getLogger(__name__)


def mark_copied(directory: epath.Path):
    """Mark the whole checkpoints of a run in a bucket as finished; do nothing on a disk.

    A checkpoint is whole if its files are those of its list of checksums, which is written when all others are there.
    Orbax removes checkpoints without a mark when the run goes on, as those of a process that was killed while it saved.

    Args:
      directory: Folder `checkpoints` of the run, which may be missing. Of several processes of a run, the first one
        marks, and does not wait for the others.
    """
    if not is_bucket(directory):
        return
    if jax.process_index() == 0 and directory.is_dir():
        for folder in directory.iterdir():
            if folder.name.isdigit() and not (folder / _COMMITTED).exists() and (folder / CHECKSUMS_FILE).exists():
                _mark(folder)


def _mark(folder: epath.Path):
    if (problem := find_damage(folder)) is not None:
        _log.warning("checkpoint %s is not whole and does not count: %s", folder, problem)
        return
    for item in folder.iterdir():
        if item.is_dir():
            (item / _COMMITTED).write_text("")
    (folder / _COMMITTED).write_text("")
