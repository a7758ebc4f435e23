"""The files of a recording: which exist, which links are followed, and which are not read.

All readers follow links alike. A link may lead to any place within the folder of the recording, or, in a cache of the
Hugging Face Hub, whose files are links to `../../blobs`, to a blob of the same repository. A link that leads elsewhere
is refused, because a recording from the internet must not read other files of the user; so is a link to a folder that
contains the link.
"""

from __future__ import annotations

import collections
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from gato_jax.sources.reader import Omission, Rejection, SourceError

# Files beside a recording that gato_jax itself reads or writes.
_OWN = ("fields.json", "provenance.json")
_REMEDY = "Copy what it leads to into the folder."
_HIDDEN = "its name begins with a dot, and hidden files are not read"


class FoundFiles(NamedTuple):
    """The files at or below a path.

    Attributes:
      files: those to read, sorted.
      rejected: those to read that are links which are refused.
      others: the other files, sorted.
      left_out: links that are refused, or that lead to one of `files`, which would be read twice.
    """

    files: list[Path]
    rejected: list[Rejection]
    others: list[Path]
    left_out: list[Omission]


def find_files(path: Path, is_read: Callable[[Path], bool], *, within: Path | None = None) -> FoundFiles:
    """Find the files at any depth of a folder, or take `path` itself if it is a file.

    Args:
      path: a file or a folder. It may itself be a link to any place.
      is_read: whether a file is one of those to read.
      within: folder that links must not leave. Default: `path`.
    """
    if path.is_file():
        return FoundFiles([path], [], [], [])
    if not path.is_dir():
        return FoundFiles([], [], [], [])
    roots = _allowed_roots(within or path)
    found = list(_Walk(path, roots).files(path, frozenset([_resolve(path)])))
    lost = [one for one in found if one.problem and is_read(one.path) and not one.is_hidden]
    left_out = [Omission(str(one.path), one.problem) for one in found if one.problem and one not in lost]
    matching = [one for one in found if not one.problem and is_read(one.path)]
    files = [one.path for one in matching if not one.is_linked]
    places = {_resolve(file): file for file in files}
    for file in (one.path for one in matching if one.is_linked):
        target = _resolve(file)
        # In a cache of the Hub, files with the same content are links to the same blob.
        if target in places and target.is_relative_to(roots[0]):
            left_out.append(Omission(str(file), f"it is a link to {places[target]}, which is read"))
        else:
            files.append(file)
            places.setdefault(target, file)
    return FoundFiles(
        files=sorted(files),
        rejected=[Rejection(str(one.path), one.problem) for one in lost],
        others=sorted(one.path for one in found if not one.problem and not is_read(one.path)),
        left_out=left_out,
    )


def has_suffix(*suffixes: str) -> Callable[[Path], bool]:
    """Return a function that tells whether a path has one of the suffixes, such as `.h5`."""
    return lambda path: path.suffix in suffixes


def unread_files(path: Path, others: Iterable[Path], reason: str, read: Collection[Path] = ()) -> list[Omission]:
    """Return an omission of each file that is not read; a folder of such files alone is one omission.

    Args:
      path: folder of the recording.
      others: files that are not recordings.
      reason: why they are not, such as "a recording is *.h5".
      read: all files that are read. Those that gato_jax keeps beside a recording are not listed either.
    """
    kept = {folder for file in read for folder in file.parents}
    folders: collections.Counter[Path] = collections.Counter()
    omissions = []
    for file in others:
        if file in read or _is_own(file):
            continue
        inside = [folder for folder in reversed(file.parents) if folder != path and folder.is_relative_to(path)]
        if folder := next((folder for folder in inside if folder not in kept), None):
            folders[folder] += 1
        else:
            omissions.append(Omission(str(file), reason))
    for folder, count in folders.items():
        files = "its only file is not read" if count == 1 else f"none of its {count} files is read"
        omissions.append(Omission(str(folder), f"{files}: {reason}"))
    return omissions


def _is_own(file: Path) -> bool:
    return file.name in _OWN or (file.name.startswith("episode_lengths-") and file.suffix == ".npz")


class _Walk:
    """A search of a folder for files.

    Attributes:
      real: the folder, with all links resolved.
      roots: resolved folders that links may lead into.
    """

    def __init__(self, folder: Path, roots: list[Path]):
        self.real, self.roots = _resolve(folder), roots
        self._followed: set[Path] = set()  # folders that a link led to, because many links to one would multiply files

    def files(self, folder: Path, ancestors: frozenset[Path], is_linked: bool = False) -> Iterator[_Found]:
        """Yield all files at any depth of a folder, and what is neither read nor searched.

        Args:
          folder: the folder.
          ancestors: this folder and those that contain it, resolved.
          is_linked: whether a link leads to it.
        """
        with os.scandir(folder) as entries:
            # `entry.is_dir()` raises an error for links that lead in a circle.
            found = sorted((entry.name, entry.is_symlink(), os.path.isdir(entry.path)) for entry in entries)
        for name, is_link, is_folder in found:
            path = folder / name
            if name.startswith("."):
                yield _Found(path, _HIDDEN, is_hidden=True)
            elif is_link and (problem := _link_problem(path, self.roots)):
                yield _Found(path, problem)
            elif is_folder:
                target = _resolve(path)
                if problem := self._folder_problem(target, ancestors) if is_link else "":
                    yield _Found(path, problem)
                    continue
                yield from self.files(path, ancestors | {target}, is_linked or is_link)
            elif path.is_file():
                yield _Found(path, is_linked=is_linked or is_link)
            else:
                yield _Found(path, "it is neither a file nor a folder")

    def _folder_problem(self, target: Path, ancestors: frozenset[Path]) -> str:
        """Return why a link to a folder is not followed, or an empty string if it is."""
        if target in ancestors:
            return f"it is a link to {target}, which contains it. Remove the link."
        inside = target.relative_to(self.real).parts if target.is_relative_to(self.real) else (".",)
        if target in self._followed or not any(name.startswith(".") for name in inside):
            return f"it is a link to {target}, whose files are read already"
        self._followed.add(target)
        return ""


class _Found(NamedTuple):
    """A file, or a place that is not searched because of a problem; `is_linked` if a link leads to it."""

    path: Path
    problem: str = ""
    is_linked: bool = False
    is_hidden: bool = False


def _link_problem(path: Path, roots: list[Path]) -> str:
    """Return why a link is refused, or an empty string if it leads to an existing place in one of the folders."""
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):  # RuntimeError if links lead in a circle
        return f"it is a link to {os.readlink(path)}, which does not exist. Copy the folder again."
    if not any(target.is_relative_to(root) for root in roots):
        return f"it is a link to {target}, which lies outside of its folder. {_REMEDY}"
    return ""


def _allowed_roots(folder: Path) -> list[Path]:
    """Return the resolved folders that links may lead into: the folder itself, and the blobs of a cache of the Hub."""
    real = _resolve(folder)
    # .../datasets--OWNER--NAME/snapshots/REVISION/FILE is a link to .../datasets--OWNER--NAME/blobs/DIGEST.
    caches = (one.parent / "blobs" for one in (real, *real.parents) if one.name == "snapshots")
    return [real, *(blobs for blobs in caches if blobs.is_dir())]


def _resolve(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return Path(os.path.abspath(path))


def resolve_within(root: Path, name: str) -> Path:
    """Return the absolute path of `root / name` with all links resolved, and refuse to leave `root`.

    File names inside a recording are not trusted: `../secret` must not be read. The file need not exist.

    Args:
      root: folder of the recording.
      name: path relative to `root`, as the recording gives it. An absolute path must lie below `root`.

    Raises:
      SourceError: the path or a link on it leads out of `root` and its cache, or the name holds a NUL or
        half of a surrogate pair, which no path can.
    """
    if "\0" in name or any("\ud800" <= character <= "\udfff" for character in name):
        raise SourceError(
            f"{root}: the recording names the file {name!r}, expected a name without NUL and halves of characters. "
            "Copy it again."
        )
    path = _resolve(root / name)
    # A blob is reached through a link within the folder only, not by a name such as ../../blobs/DIGEST.
    is_inside = Path(os.path.abspath(root / name)).is_relative_to(os.path.abspath(root))
    roots = _allowed_roots(root) if is_inside else [_resolve(root)]
    if not any(path.is_relative_to(one) for one in roots):
        raise SourceError(
            f"{root}: the recording names the file {name!r}, which lies outside of its folder. Copy the file into the "
            "folder and name it by a relative path."
        )
    return path
