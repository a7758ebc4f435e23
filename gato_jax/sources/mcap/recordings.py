"""Recordings of ROS 2 in a folder: single files, and files that rosbag2 has split one recording into."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gato_jax.episodes.errors import describe_error
from gato_jax.sources.mcap.rosbag2 import COMPRESSED_SUFFIX, SQLITE_SUFFIX
from gato_jax.sources.reader import NoSplitError, Rejection, SourceError, resolve_within

SUFFIXES = (".mcap", SQLITE_SUFFIX)
METADATA_FILE = "metadata.yaml"


class Recording(NamedTuple):
    """The files of one episode, in the order of their times.

    Attributes:
      files: one file or more.
      metadata: the `metadata.yaml` that lists them; None for a file that no such file lists.
    """

    files: tuple[Path, ...]
    metadata: Path | None = None

    @property
    def location(self) -> str:
        """The path of the file, or the paths of the first and the name of the last, for messages."""
        first, *others = self.files
        return f"{first} to {others[-1].name}" if others else str(first)


def list_recordings(path: Path, split: str) -> tuple[list[Recording], list[Rejection]]:
    """Return the recordings of a split, sorted by path, and a rejection of each that lacks a file.

    A recording is the files that a `metadata.yaml` of rosbag2 lists, in its order, or else a single file. A `path`
    that is a file is a recording of its own.

    Args:
      path: a file, or a folder with files at any depth. If it has a subfolder named as the split, that is searched.
      split: name of the split.

    Raises:
      SourceError: there is no such split, or the split has no files.
    """
    if (path / split).is_dir():
        path = path / split
    elif split != "train":
        raise NoSplitError(f"{path}: no split {split!r}, which would be a folder of this name; it has train")
    if path.is_file():
        return [Recording((path,))], []
    patterns = [f"*{suffix}{end}" for suffix in SUFFIXES for end in ("", COMPRESSED_SUFFIX)]
    files = sorted(file for pattern in patterns for file in path.rglob(pattern))
    recordings, rejected = [], []
    listed: set[Path] = set()
    for folder in dict.fromkeys(file.parent for file in files):
        if not (metadata := folder / METADATA_FILE).is_file():
            continue
        try:
            names = _read_names(metadata)
            parts = tuple(_find_part(folder, name, files) for name in names)
        except SourceError as error:
            rejected.append(Rejection(str(metadata), str(error)))
            listed.update(file for file in files if file.parent == folder)
            continue
        recordings.append(Recording(parts, metadata))
        listed.update(parts)
    recordings += [Recording((file,)) for file in files if file not in listed]
    if not files:
        raise SourceError(f"{path}: no *.mcap or *.db3 file at or below this path. Give the path of a recording.")
    return sorted(recordings, key=lambda one: one.files), rejected


def _find_part(folder: Path, name: str, files: Sequence[Path]) -> Path:
    """Return the path of a file that a `metadata.yaml` lists, or raise SourceError if it does not exist in its folder.

    Old versions write the name of the folder before that of the file.
    """
    for candidate in (name, os.path.basename(name)):
        resolve_within(folder, candidate, through_links=True)
        if folder / candidate in files:
            return folder / candidate
    raise SourceError(
        f"it lists {name!r}, which is not there, so that the recording has a gap. Copy the file there, or remove "
        f"{METADATA_FILE} to read each file as an episode."
    )


def _read_names(metadata: Path) -> list[str]:
    """Return the names of the files of a recording in order, each once.

    Raises:
      SourceError: `metadata.yaml` cannot be read, or does not list names.
    """
    import yaml

    try:
        content: Any = yaml.safe_load(metadata.read_text())
        names = content["rosbag2_bagfile_information"]["relative_file_paths"]
    except (OSError, ValueError, LookupError, TypeError, yaml.YAMLError) as error:
        raise SourceError(f"it lists no files ({describe_error(error)}). Mend it with `ros2 bag reindex`.") from None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise SourceError(f"relative_file_paths is {names!r:.60}, expected names. Mend it with `ros2 bag reindex`.")
    return list(dict.fromkeys(names))
