"""Paths that may be in a bucket: `as_path` returns a `pathlib.Path` for a local path and for an address like gs://b/x.

An address becomes a `BucketPath`, a `pathlib.Path` whose files are opened through `etils.epath`, so functions that
take a `pathlib.Path` and use only its methods work in both places. Three rules follow for them:

- Convert text with `as_path`, never with `pathlib.Path`, which takes gs://b/x for a local path.
- Hand no path to a library that opens files by itself; open the file, or use `atomic_file` to write it.
- Rename no folder and lock no file.
"""

from __future__ import annotations

import contextlib
import io
import os
import pathlib
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from typing import Any, NoReturn

# By default etils.epath starts TensorFlow to open gs://; with this variable, set before its first use, it uses gcsfs.
os.environ.setdefault("EPATH_USE_TF", "false")

CACHE_VARIABLE = "GATO_CACHE"

# {scheme that etils.epath opens: package of fsspec that it needs}
SCHEMES = {"gs": "gcsfs", "s3": "s3fs", "az": "adlfs"}


class BucketError(ValueError):
    """A bucket that cannot be used, or not for this purpose; the message names the address and the remedy."""


def is_bucket(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is an address in a bucket, such as gs://bucket/folder."""
    return isinstance(path, BucketPath) or "://" in os.fspath(path)


def as_path(path: str | os.PathLike[str]) -> pathlib.Path:
    """Return a path as a `pathlib.Path`; one that is an address in a bucket as a `BucketPath`.

    Raises:
      BucketError: The scheme of the address is unknown, or the address names no bucket.
    """
    if isinstance(path, pathlib.Path):
        return path
    if not is_bucket(path):
        return pathlib.Path(path)
    scheme, _, rest = os.fspath(path).partition("://")
    if scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise BucketError(f"{path}: scheme is {scheme}://, expected one of {known}. Name a folder or such an address.")
    if not rest.strip("/"):
        raise BucketError(f"{path}: names no bucket. Write {scheme}://BUCKET/FOLDER.")
    return BucketPath(os.fspath(path))


def require_local(path: str | os.PathLike[str], what: str, remedy: str) -> pathlib.Path:
    """Return a path that has to be on a disk.

    Args:
      path: The path.
      what: What the path is, the beginning of the message, e.g. `--output`.
      remedy: Sentence at the end of the message.

    Raises:
      BucketError: The path is in a bucket.
    """
    if is_bucket(path):
        raise BucketError(f"{what} is {path}, expected a path on a disk. {remedy}")
    return pathlib.Path(path)


def cache_folder() -> pathlib.Path:
    """Return the folder for files that can be made again: the variable GATO_CACHE, or ~/.cache/gato_jax.

    An empty variable counts as unset. The folder is not made.

    Raises:
      BucketError: The variable names a bucket, in which files cannot be locked.
    """
    folder = os.environ.get(CACHE_VARIABLE) or "~/.cache/gato_jax"
    if is_bucket(folder):
        raise BucketError(
            f"{CACHE_VARIABLE} is {folder}, expected a folder of this machine. Name a local or mounted one."
        )
    return pathlib.Path(folder).expanduser().absolute()


def split_name(where: str) -> tuple[str, str]:
    """Split `WHERE#NAME` into WHERE and NAME, which is "" if it is not given.

    A path that exists is WHERE, whatever it holds: the folder `run#3` is no `run` of the name `3`. Of several marks
    that may begin the NAME, the last one does whose WHERE exists, or the last one of all.
    """
    if "#" not in where or _exists(where):
        return where, ""
    marks = [position for position, character in enumerate(where) if character == "#"]
    mark = next((mark for mark in reversed(marks) if _exists(where[:mark])), marks[-1])
    root, name = where[:mark], where[mark + 1 :]
    is_path = "/" in name and where.startswith(("/", ".", "~"))  # of which nothing exists
    return (where, "") if is_path and not _exists(root) else (root, name)


def _exists(path: str) -> bool:
    try:
        return as_path(path).expanduser().exists()
    except (OSError, ValueError):  # too long, or with a NUL
        return False


@contextlib.contextmanager
def local_file(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yield a path on a disk: `path` itself, or that of a copy of the object in a bucket, removed after the block."""
    if not isinstance(path, BucketPath):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="gato-download-") as folder:
        copy = pathlib.Path(folder) / path.name
        path.download(copy)
        yield copy


def remove_tree(folder: pathlib.Path):
    """Remove a folder and all that is in it, on a disk or in a bucket; do nothing if there is none."""
    if isinstance(folder, BucketPath):
        if folder.is_dir():
            folder.remote.rmtree(missing_ok=True)
    else:
        shutil.rmtree(folder, ignore_errors=True)


class BucketPath(pathlib.PosixPath):
    """The address of an object in a bucket, or of a folder: the objects whose names begin with it and a slash.

    Names and parents are those of `pathlib`; the methods that touch files use `etils.epath`. There are no empty
    folders, so `mkdir` does nothing. A file is written whole when it is closed; it cannot be opened to append to it.
    Methods that a bucket has no equal for, such as `chmod`, raise BucketError.
    """

    def __str__(self) -> str:
        scheme = self.parts[0].removesuffix(":") if self.parts else ""
        if scheme in SCHEMES and self.parts[0].endswith(":"):
            return f"{scheme}://{'/'.join(self.parts[1:])}"
        return "/".join(self.parts) or "."  # relative to a folder of a bucket

    def __fspath__(self) -> str:
        return str(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __reduce__(self):
        return type(self), (str(self),)

    def as_posix(self) -> str:
        return str(self)

    def as_uri(self) -> str:
        return str(self)

    def is_absolute(self) -> bool:
        return is_bucket(str(self))

    def resolve(self, strict: bool = False) -> BucketPath:
        return self

    def absolute(self) -> BucketPath:
        return self

    def expanduser(self) -> BucketPath:
        return self

    @property
    def remote(self) -> Any:
        """The same address as an `etils.epath.Path`."""
        if not self.is_absolute() or len(self.parts) < 2:
            raise BucketError(f"{self}: names no bucket. Write gs://BUCKET/FOLDER.")
        return _epath(str(self))

    @property
    def bucket(self) -> BucketPath:
        """The address of the bucket itself."""
        return type(self)(*self.parts[:2])

    def exists(self, **_) -> bool:
        return len(self.parts) > 1 and self.remote.exists()

    def is_dir(self, **_) -> bool:
        return len(self.parts) > 1 and self.remote.is_dir()

    def is_file(self, **_) -> bool:
        return self.exists() and not self.remote.is_dir()

    def is_symlink(self) -> bool:
        return False

    def stat(self, **_) -> os.stat_result:
        """Return size and time of the object; the other fields are 0."""
        found = self.remote.stat()
        mode = stat.S_IFDIR if found.is_directory else stat.S_IFREG
        return os.stat_result((mode, 0, 0, 0, 0, 0, found.length or 0, found.mtime, found.mtime, found.mtime))

    lstat = stat

    def iterdir(self) -> Iterator[BucketPath]:
        return (self / child.name for child in self.remote.iterdir())

    def glob(self, pattern: str, **_) -> Iterator[BucketPath]:
        return (type(self)(os.fspath(found)) for found in self.remote.glob(pattern))

    def rglob(self, pattern: str, **_) -> Iterator[BucketPath]:
        """Yield the objects below this folder whose last part matches a pattern without slashes."""
        for child in self.iterdir():
            if child.is_dir():
                yield from child.rglob(pattern)
            elif child.match(pattern):
                yield child

    def open(self, mode: str = "r", buffering: int = -1, encoding=None, errors=None, newline=None) -> Any:
        action = re.sub("[bt]", "", mode)
        if action not in ("r", "w", "x"):
            raise BucketError(f"{self}: cannot be opened as {mode!r}. Objects of a bucket are read or written whole.")
        if action == "x" and self.exists():
            raise FileExistsError(f"{self}: exists already")
        raw = self.remote.open("rb" if action == "r" else "wb")
        return raw if "b" in mode else io.TextIOWrapper(raw, encoding or "utf-8", errors, newline)

    def read_bytes(self) -> bytes:
        with self.open("rb") as file:
            return file.read()

    def read_text(self, encoding=None, errors=None, newline=None) -> str:
        with self.open("r", encoding=encoding, errors=errors, newline=newline) as file:
            return file.read()

    def write_bytes(self, data) -> int:
        with self.open("wb") as file:
            return file.write(data)

    def write_text(self, data: str, encoding=None, errors=None, newline=None) -> int:
        with self.open("w", encoding=encoding, errors=errors, newline=newline) as file:
            return file.write(data)

    def touch(self, mode: int = 0o666, exist_ok: bool = True):
        if not self.exists():
            self.write_bytes(b"")
        elif not exist_ok:
            raise FileExistsError(f"{self}: exists already")

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False):
        if not exist_ok and self.exists():
            raise FileExistsError(f"{self}: exists already")

    def rmdir(self):
        pass

    def unlink(self, missing_ok: bool = False):
        self.remote.unlink(missing_ok=missing_ok)

    def upload(self, file: pathlib.Path):
        """Write the content of a local file to this object, in place of one that is there."""
        _epath(os.fspath(file)).copy(self.remote, overwrite=True)

    def download(self, file: pathlib.Path):
        """Write the content of this object to a local file, in place of one that is there."""
        self.remote.copy(_epath(os.fspath(file)), overwrite=True)

    def _refuse(self, *_, **__) -> NoReturn:
        raise BucketError(f"{self}: a bucket has no links, renames, owners or rights. Use a path on a disk for this.")

    rename = replace = chmod = lchmod = symlink_to = hardlink_to = readlink = owner = group = _refuse


def _epath(path: str) -> Any:
    """Return an `etils.epath.Path`, with the settings of fsspec that buckets with several writers need.

    Raises:
      BucketError: The package that opens such addresses is not installed.
    """
    import fsspec.config
    from etils import epath

    # Listings are not cached, because orbax and other processes write to the bucket as well.
    for protocol in ("gcs", "gs", "s3", "az"):
        fsspec.config.conf.setdefault(protocol, {}).setdefault("use_listings_cache", False)
    scheme = path.partition("://")[0]
    if scheme in SCHEMES:
        try:
            fsspec.get_filesystem_class("gcs" if scheme == "gs" else scheme)
        except ImportError as error:
            raise BucketError(f"{path}: {error}. Run pip install {SCHEMES[scheme]} to open {scheme}://.") from None
    return epath.Path(path)
