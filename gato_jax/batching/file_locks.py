"""Locks between processes, on files of a folder that they share."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
from collections.abc import Callable, Iterator


class LockedError(OSError):
    """Failure to lock a file at once because another process holds the lock."""


@contextlib.contextmanager
def locked_file(path: pathlib.Path, *, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold an exclusive lock on a file during the block; the file and its folder are made if they are missing.

    The operating system releases the lock when the process ends in any way. The block may remove the file.

    Args:
      path: The file.
      on_wait: Called once if another process holds the lock, before waiting for it; None to raise an error instead.

    Raises:
      LockedError: Another process holds the lock, and there is no `on_wait`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = _acquire(path, on_wait)
    try:
        yield
    finally:
        os.close(handle)


def _acquire(path: pathlib.Path, on_wait: Callable[[], None] | None) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT)  # on network file systems a lock needs an open for writing
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if on_wait is None:
                    raise LockedError(f"{path}: another process holds the lock") from None
                on_wait()
                fcntl.flock(handle, fcntl.LOCK_EX)
            if path.exists() and os.path.samestat(os.fstat(handle), path.stat()):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # the file was removed while this process waited
