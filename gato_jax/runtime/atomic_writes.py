"""Writes that appear whole or not at all: of one file, or of one folder with all that is in it.

Content is first written into a folder `NAME.partial` beside its destination and renamed when it is complete. A process
that is killed leaves that folder behind; the next write to the same destination removes it. An object in a bucket
appears whole by itself: `atomic_file` writes it on the disk and then uploads it. Folders are written on a disk only.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from gato_jax.runtime.file_locks import NO_LOCKS, locked_file, writer_lock
from gato_jax.runtime.paths import BucketPath, require_local

PARTIAL = ".partial"
_LOCK = "writing.lock"
_MAX_NAME = 255  # bytes, of the name of a file


@contextlib.contextmanager
def atomic_file(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """Yield the path of a new file, which replaces `path` when the block ends without an error.

    The block creates the file at the yielded path. If the block raises, `path` stays as it was and the new file is
    removed. The content is flushed to the disk before the file is renamed, so a power failure cannot leave an empty
    file.

    Args:
      path: the destination. Missing parent folders are made. If another process writes it, the block begins when
        that one is done.
      shared: whether not to wait for other processes that write this file. Each then uses a folder with a name of its
        own, `NAME.partial-ID`, which the next write does not remove if a process is killed.
    """
    if isinstance(path, BucketPath):
        with tempfile.TemporaryDirectory(prefix="gato-upload-") as folder:
            yield (written := Path(folder) / path.name)
            path.upload(written)
        return
    ending = f"{PARTIAL}-{uuid.uuid4().hex}" if shared else PARTIAL
    partial = path.with_name(_shorten(path.name, _MAX_NAME - len(ending)) + ending)
    with _only_writer(partial):
        written = partial / path.name
        yield written
        with written.open("rb") as content:
            os.fsync(content.fileno())
        written.replace(path)


@contextlib.contextmanager
def _only_writer(partial: Path) -> Iterator[None]:
    """Wait until no other process writes into a folder, empty it, and remove it after the block."""
    if partial.is_symlink() or partial.is_file():
        partial.unlink(missing_ok=True)
    lock = partial / _LOCK
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked_file(lock, on_wait=lambda: None))
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            partial.mkdir(parents=True, exist_ok=True)
        _empty(partial)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                _empty(partial)
                lock.unlink(missing_ok=True)  # last, as another process may be waiting for it
            remove_if_empty(partial)


def _empty(partial: Path):
    for left in partial.iterdir():
        if left.name != _LOCK:
            _remove(left)


@contextlib.contextmanager
def atomic_folder(directory: Path) -> Iterator[Path]:
    """Yield an empty folder, which replaces `directory` when the block ends without an error.

    If the block raises, `directory` stays as it was and the new folder is removed.

    Raises:
      FolderInUseError: another process is writing the same folder; it is not waited for.
      BucketError: the folder is in a bucket.
    """
    require_local(directory, "the output folder", "Write to a disk, then copy the folder to the bucket.")
    partial = directory.with_name(f"{directory.name}{PARTIAL}")
    content = partial / "content"
    try:
        with writer_lock(partial):
            try:
                _remove(content)
                content.mkdir()
                yield content
                replace_folder(content, directory)
            finally:
                shutil.rmtree(content, ignore_errors=True)
    finally:
        remove_if_empty(partial)


def remove_if_empty(folder: Path):
    """Remove a folder unless it holds something, e.g. because another process has begun to write there."""
    with contextlib.suppress(OSError):
        folder.rmdir()


@contextlib.contextmanager
def made_folder(folder: Path) -> Iterator[None]:
    """Make a folder and its parents for the block; those that were missing are removed after it if they are empty."""
    missing = [] if isinstance(folder, BucketPath) else [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for one in missing:
            remove_if_empty(one)


def replace_folder(source: Path, directory: Path):
    """Rename the folder `source` to `directory`, on the same file system.

    A folder that is there is first renamed to `NAME.replaced`, and then removed.
    """
    replaced = directory.with_name(f"{directory.name}.replaced")
    _remove(replaced)
    if directory.exists():
        directory.rename(replaced)
    source.rename(directory)
    _remove(replaced)


def _shorten(name: str, size: int) -> str:
    """Return a name of at most `size` bytes, which stands for this name alone."""
    if len(os.fsencode(name)) <= size:
        return name
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
    return name.encode(errors="ignore")[: size - len(digest)].decode(errors="ignore") + digest


def _remove(path: Path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
