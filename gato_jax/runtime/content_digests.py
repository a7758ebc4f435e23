"""Digests of the whole content of files, kept with their size, times and inode, so that an unchanged file is read once.

    GATO_CACHE/digests/KEY.json     {file name: [state, digest]} of the files of one folder

KEY is a hash of the folder's path. A digest is kept only if the file was last changed some seconds before it was read:
file systems store times in ticks, so that a file may change after it was read and keep the time that it had then. The
time of the last change of status counts too, because it cannot be set back as the time of the content can. Of an object
in a bucket, the generation or entity tag stands for all of these.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import hashlib
import json
import logging
import os
import pathlib
import time
import uuid
from collections.abc import Hashable, Iterable, Sequence

from gato_jax.runtime.paths import BucketPath, cache_folder

_log = logging.getLogger(__name__)

_SETTLED_NS = 2 * 10**9  # the coarsest tick in use is that of FAT, two seconds
_BLOCK_BYTES = 1 << 20
_THREADS = 8
_BAR_DELAY = 2.0  # seconds
_STRONG_VERSIONS = ("generation", "etag", "ETag", "md5Hash")  # keys in fsspec; a time alone may stand for two contents


def hash_file(path: pathlib.Path) -> str:
    """Read a file and return the 128-bit XXH3 hash of its content as 32 hexadecimal digits."""
    import xxhash

    content, block = xxhash.xxh3_128(), memoryview(bytearray(_BLOCK_BYTES))
    with path.open("rb") as file:
        while size := file.readinto(block):
            content.update(block[:size])
    return content.hexdigest()


def file_key(path: pathlib.Path) -> tuple[Hashable, ...]:
    """Return a key for caches within a process of anything that was read from a file on a disk.

    It changes when the file does. While the last change is less than some seconds ago it is another one at each call,
    so that nothing is found in the cache. An object in a bucket is not looked up: its key is its address.

    Raises:
      OSError: There is no such file.
    """
    if isinstance(path, BucketPath):
        return (str(path),)
    status = path.stat()
    return (str(path), *_state(status), 0 if _is_settled(status, time.time_ns()) else time.monotonic_ns())


def content_digests(files: Sequence[pathlib.Path], *, label: str = "") -> list[str]:
    """Return the digest of the content of each file, from the cache if the file is unchanged, else read now.

    Files are read by several threads, under a progress bar that appears after two seconds.

    Args:
      files: The files, on a disk or in a bucket.
      label: Name of the recording, for the progress bar.

    Returns:
      `hash_file` of each file, in order; for a file that cannot be read, a text with the reason, which other reads of
      it will give too.
    """
    import tqdm

    kept = {folder: _read_kept(folder) for folder in dict.fromkeys(_folder(file) for file in files)}
    new: dict[str, dict[str, tuple[list, str]]] = collections.defaultdict(dict)

    def find(file: pathlib.Path) -> tuple[pathlib.Path, str, list | None]:
        begun = time.time_ns()
        try:
            state, is_settled = _look_up(file, begun)
            known = kept[_folder(file)].get(file.name)
            if known is not None and known[0] == state:
                return file, known[1], None
            digest = hash_file(file)
            is_settled = is_settled and _look_up(file, begun)[0] == state  # unchanged while it was read
        except OSError as error:
            return file, f"unreadable: {error.strerror or type(error).__name__}", None
        return file, digest, state if is_settled else None

    digests: dict[pathlib.Path, str] = {}
    unique = list(dict.fromkeys(files))
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
        found = threads.map(find, unique)
        title = f"{label}: digests".lstrip(": ")
        for file, digest, state in tqdm.tqdm(found, title, len(unique), unit=" files", delay=_BAR_DELAY):
            digests[file] = digest
            if state is not None:
                new[_folder(file)][file.name] = (state, digest)
    for folder, entries in new.items():
        _keep(folder, kept[folder] | entries)
    return [digests[file] for file in files]


def _folder(file: pathlib.Path) -> str:
    return os.fspath(file.parent) if isinstance(file, BucketPath) else os.path.abspath(file.parent)


def _state(status: os.stat_result) -> tuple[int, ...]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _is_settled(status: os.stat_result, now: int) -> bool:
    return now - max(status.st_mtime_ns, status.st_ctime_ns) > _SETTLED_NS


def _look_up(file: pathlib.Path, now: int) -> tuple[list, bool]:
    """Return the state of a file, which JSON can hold, and whether a later change is bound to change the state."""
    if not isinstance(file, BucketPath):
        status = file.stat()
        return list(_state(status)), _is_settled(status, now)
    import fsspec

    _ = file.remote  # sets up fsspec, so that listings are not cached
    files, name = fsspec.core.url_to_fs(str(file))
    about = files.info(name)
    version = next((str(about[key]) for key in _STRONG_VERSIONS if about.get(key) is not None), None)
    return [int(about["size"]), version], version is not None


def _kept_file(folder: str) -> pathlib.Path:
    key = hashlib.sha256(os.fsencode(folder)).hexdigest()[:32]
    return cache_folder() / "digests" / f"{key}.json"


def _read_kept(folder: str) -> dict[str, tuple[list, str]]:
    """Return {file name: (state, digest)} of the files of a folder; {} if none are kept, or the file is damaged."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError):
        content = json.loads(_kept_file(folder).read_text())
        if content["folder"] == folder:
            return {str(name): (list(state), str(digest)) for name, (state, digest) in content["files"].items()}
    return {}


def _keep(folder: str, entries: dict[str, tuple[list, str]]):
    """Write the entries of a folder. Of several processes that do so at once the last wins; what is lost is read again.

    The file is not flushed to the disk, because a damaged one is ignored.
    """
    file = _kept_file(folder)
    written = file.with_name(f"{file.name}.{uuid.uuid4().hex}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        written.write_text(json.dumps({"folder": folder, "files": entries}))
        written.replace(file)
    except OSError as error:
        with contextlib.suppress(OSError):
            written.unlink()
        _log.warning(
            "cannot keep the digests of %s: %s cannot be written (%s). All files are read each time; set GATO_CACHE to "
            "a writable folder.", folder, file, error.strerror,
        )  # fmt: skip


def combine(parts: Iterable[str]) -> str:
    """Return 16 hexadecimal digits of a hash over some texts, each of which is delimited."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode(errors="surrogateescape")
        digest.update(len(content).to_bytes(8) + content)
    return digest.hexdigest()[:16]
