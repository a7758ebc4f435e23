"""Locks between processes: on a file that they share, and on a folder that has one writer at a time."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import pathlib
from collections.abc import Callable, Iterator

from gato_jax.runtime.bucket_locks import claimed
from gato_jax.runtime.paths import BucketPath
from gato_jax.runtime.writers import Writer, has_ended, read_writer, this_writer

WRITER = "writer.lock"
_CLAIM = "writer.claim"
LOCK_FILES = (WRITER, _CLAIM)  # files that `writer_lock` puts into a folder
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}  # errors of flock on a file system without locks


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
    handle = _acquire(path, on_wait)
    try:
        yield
    finally:
        os.close(handle)


def _acquire(path: pathlib.Path, on_wait: Callable[[], None] | None) -> int:
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)  # NFS needs an open for writing
        except FileNotFoundError:  # another process removed the folder when it was done
            continue
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

    Some network file systems have no locks. There the file `writer.claim` is the lock, and one that a killed process of
    this machine left is recognised by the process that it names. One of another machine is for the user to judge.

    Raises:
      FolderInUseError: Another process writes the folder; it is not waited for.
    """
    path = folder / WRITER
    with contextlib.ExitStack() as stack:
        if isinstance(path, BucketPath):
            if not stack.enter_context(claimed(path, this_writer())):
                raise FolderInUseError(_refusal(folder, read_writer(path)))
            yield
            return
        try:
            stack.enter_context(locked_file(path))
        except LockedError:
            raise FolderInUseError(_refusal(folder, read_writer(path))) from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            stack.enter_context(_claim(folder))
        stack.callback(path.unlink, missing_ok=True)
        path.write_text(json.dumps(this_writer()))
        yield


@contextlib.contextmanager
def _claim(folder: pathlib.Path) -> Iterator[None]:
    """Hold the file `writer.claim` of a folder during the block, which exists only while a process writes the folder.

    Raises:
      FolderInUseError: The file names another process that may still be running.
    """
    path = folder / _CLAIM
    while True:
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            break
        except FileExistsError:
            holder = read_writer(path)
            if holder is None or not has_ended(holder):
                remedy = f" If that process has ended, delete {path}."
                raise FolderInUseError(_refusal(folder, holder) + remedy) from None
            path.unlink(missing_ok=True)
    try:
        with os.fdopen(handle, "w") as claim:
            claim.write(json.dumps(this_writer()))
        yield
    finally:
        path.unlink(missing_ok=True)


def _refusal(folder: pathlib.Path, holder: Writer | None) -> str:
    """Return the message that a folder is in use by a writer, which is None if it has not named itself yet."""
    if holder is None:
        who = "another process"
    else:
        words = " ".join([pathlib.Path(holder["command"][0]).name, *holder["command"][1:]])
        who = f"process {holder['process']} on {holder['host']}, started at {holder['started']} as `{words}`,"
    return f"{folder}: {who} is writing there. Wait until it has ended, or name another folder."
