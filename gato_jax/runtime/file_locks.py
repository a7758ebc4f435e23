"""Locks between processes: on a file that they share, and on a folder that has one writer at a time."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import pathlib
import socket
import sys
from collections.abc import Callable, Iterator

from gato_jax.runtime.bucket_locks import claimed
from gato_jax.runtime.paths import BucketPath

WRITER = "writer.lock"


class LockedError(OSError):
    """Failure to lock a file at once because another process holds the lock."""


class FolderInUseError(ValueError):
    """A folder that another process writes; the message names the folder, the process and the remedy."""


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


@contextlib.contextmanager
def writer_lock(folder: pathlib.Path) -> Iterator[None]:
    """Be the only writer of a folder during the block. The folder is made if it is missing.

    The folder holds a file `writer.lock` during the block, with host, process, start time and command of the writer in
    JSON. The operating system releases the lock when the process ends in any way, so a file that a killed process
    left behind locks nothing. Lock a folder once in a process: a second block is refused like another process. In a
    bucket nothing can be locked; `bucket_locks` says how a writer is known there, and it may take a minute.

    Raises:
      FolderInUseError: Another process writes the folder; it is not waited for.
    """
    path = folder / WRITER
    started = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    writer = {"host": socket.gethostname(), "process": os.getpid(), "started": started, "command": sys.argv}
    with contextlib.ExitStack() as stack:
        if isinstance(path, BucketPath):
            if not stack.enter_context(claimed(path, writer)):
                raise _in_use(folder)
            yield
            return
        try:
            stack.enter_context(locked_file(path))
        except LockedError:
            raise _in_use(folder) from None
        stack.callback(path.unlink, missing_ok=True)
        path.write_text(json.dumps(writer))
        yield


def _in_use(folder: pathlib.Path) -> FolderInUseError:
    writer = _describe_writer(folder / WRITER)
    return FolderInUseError(f"{folder}: {writer} is writing there. Wait until it has ended, or name another folder.")


def _describe_writer(path: pathlib.Path) -> str:
    """Return host, process, start and command of the writer that holds a lock, e.g. for a message."""
    try:
        writer = json.loads(path.read_text())
        command = " ".join([pathlib.Path(writer["command"][0]).name, *writer["command"][1:]])
        return f"process {writer['process']} on {writer['host']}, started at {writer['started']} as `{command}`,"
    except (OSError, ValueError, KeyError, IndexError, TypeError):  # it has the lock, and has not written the file yet
        return "another process"
