"""Copies of files in buckets on the local disk, for readers that need a real file.

    CACHE/buckets/gs/BUCKET/FOLDER/FILE     the copy of gs://BUCKET/FOLDER/FILE
    CACHE/buckets/gs/BUCKET/FOLDER/.FILE.version     size and version of the object that was copied

CACHE is `cache_folder()`. A file whose object has not changed is not copied again, so a copy that was interrupted goes
on. Nothing is ever removed but files of objects that are gone; delete the folder to have its room back.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import logging
import pathlib
import shutil
from collections.abc import Iterable
from typing import Any, NamedTuple

from gato_jax.runtime.file_locks import locked_file
from gato_jax.runtime.paths import BucketError, BucketPath, cache_folder, is_bucket, split_name

_log = logging.getLogger(__name__)

_THREADS = 8
_RESERVE_BYTES = 1 << 28  # left free on the disk
_VERSIONS = ("generation", "etag", "ETag", "md5Hash", "LastModified", "updated", "mtime", "created")  # keys in fsspec


class _Object(NamedTuple):
    """An object to copy.

    Attributes:
      name: Its path below the folder that is copied, "" for a single file.
      size: Bytes.
      version: Text that changes when the object does.
    """

    name: str
    size: int
    version: str


def local_copy(path: pathlib.Path) -> pathlib.Path:
    """Return `path` itself, or the path of a copy on this disk of a file or folder in a bucket.

    The copy is made now if it is missing or old, under a progress bar. Of several processes that ask for one copy, one
    makes it and the others wait.

    Raises:
      FileNotFoundError: There is nothing at this address.
      BucketError: The disk has no room for the copy.
    """
    if not isinstance(path, BucketPath):
        return path
    bucket = _place(path.bucket)
    copy = _place(path)
    objects = _list_objects(path)
    if not _list_old(copy, objects):
        return copy
    wait = functools.partial(_log.info, "%s: another process is copying from this bucket; waiting for it", path)
    with locked_file(bucket.with_name(f"{bucket.name}.lock"), on_wait=wait):
        if old := _list_old(copy, objects):
            _require_room(path, sum(one.size for one in old))
            _copy(path, copy, old)
        if objects[0].name:
            _remove_others(copy, {one.name for one in objects})
    return copy


def local_source(path: str) -> str:
    """Return the path of a recording, with a copy on this disk in place of an address in a bucket.

    Args:
      path: The path or address, which may end in `#NAME`.
    """
    if not is_bucket(path):
        return path
    address, name = split_name(path)
    return f"{local_copy(BucketPath(address))}{'#' if name else ''}{name}"


def _place(path: BucketPath) -> pathlib.Path:
    scheme, _, rest = str(path).partition("://")
    if ".." in path.parts:
        raise BucketError(f"{path}: has the part '..', which means nothing in a bucket. Write the address without it.")
    return cache_folder() / "buckets" / scheme / rest


def _list_objects(path: BucketPath) -> list[_Object]:
    import fsspec

    files, root = fsspec.core.url_to_fs(str(path))
    found: dict[str, Any] = files.find(root, detail=True)
    objects = []
    for name, about in sorted(found.items()):
        below = name.removeprefix(root.rstrip("/")).strip("/")
        if not name.endswith("/"):  # an empty object that stands for a folder
            version = next((str(about[key]) for key in _VERSIONS if about.get(key) is not None), "")
            objects.append(_Object(below, int(about["size"]), version))
    if not objects:
        raise FileNotFoundError(f"{path}: there is nothing at this address. Check its spelling.")
    return objects


def _copy(path: BucketPath, copy: pathlib.Path, objects: Iterable[_Object]):
    import tqdm

    objects = list(objects)

    def download(one: _Object) -> int:
        file = copy / one.name
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f".{file.name}.partial")
        (path / one.name).download(partial)
        if partial.stat().st_size != one.size:
            raise BucketError(f"{path / one.name}: changed while it was copied. Run again.")
        partial.replace(file)
        _version_file(file).write_text(f"{one.size} {one.version}")
        return one.size

    bar = tqdm.tqdm(total=sum(one.size for one in objects), desc=f"copy {path}", unit="B", unit_scale=True, delay=2)
    with bar, concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
        try:
            for done in concurrent.futures.as_completed([threads.submit(download, one) for one in objects]):
                bar.update(done.result())
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise


def _version_file(file: pathlib.Path) -> pathlib.Path:
    return file.with_name(f".{file.name}.version")


def _read_version(file: pathlib.Path) -> tuple[int, str] | None:
    """Return size and version of the object that a file is a copy of, None if there is no whole copy."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, ValueError):
        size, _, version = _version_file(file).read_text().partition(" ")
        if file.stat().st_size == int(size):
            return int(size), version
    return None


def _list_old(copy: pathlib.Path, objects: Iterable[_Object]) -> list[_Object]:
    """Return the objects whose copies are missing, not whole, or of an earlier version."""
    return [one for one in objects if _read_version(copy / one.name) != (one.size, one.version)]


def _require_room(path: BucketPath, needed: int):
    """Raise BucketError if the disk of the cache, whose folder exists, has not as many free bytes as are needed."""
    if (free := shutil.disk_usage(cache_folder()).free) < needed + _RESERVE_BYTES:
        raise BucketError(
            f"{path}: its copy needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free in {cache_folder()}. Free "
            "space, or set GATO_CACHE to a folder with more."
        )


def _remove_others(copy: pathlib.Path, names: set[str]):
    """Remove the copies of objects that are no longer in the bucket."""
    for version in list(copy.rglob(".*.version")):
        file = version.with_name(version.name[1:].removesuffix(".version"))
        if file.relative_to(copy).as_posix() not in names:
            file.unlink(missing_ok=True)
            version.unlink()
