"""Recordings of ROS 2 in a folder: single files, and files that rosbag2 has split one recording into."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gato_jax.episodes.errors import describe_error
from gato_jax.sources.files import FoundFiles, find_files, resolve_within
from gato_jax.sources.mcap.rosbag2 import COMPRESSED_SUFFIX, SQLITE_SUFFIX
from gato_jax.sources.reader import NoSplitError, Omission, Rejection, SourceError

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


class ListedRecordings(NamedTuple):
    """The recordings of a split.

    Attributes:
      recordings: the recordings, sorted by path.
      rejected: those that lack a file, and files that are links which are refused.
      found: all files of the split.
    """

    recordings: list[Recording]
    rejected: list[Rejection]
    found: FoundFiles


def _is_recording(file: Path) -> bool:
    return file.name.removesuffix(COMPRESSED_SUFFIX).endswith(SUFFIXES)


def list_recordings(path: Path, split: str) -> ListedRecordings:
    """List the recordings of a split.

    A recording is the files that a `metadata.yaml` of rosbag2 lists, in its order, or else a single file. A `path`
    that is a file is a recording of its own.

    Args:
      path: a file, or a folder with files at any depth. If it has a subfolder named as the split, that is searched.
      split: name of the split.

    Raises:
      SourceError: there is no such split, or the split has no files.
    """
    folder = path
    if (path / split).is_dir():
        path = path / split
    elif split != "train":
        raise NoSplitError(f"{path}: no split {split!r}, which would be a folder of this name; it has train")
    found = find_files(path, _is_recording, within=folder)
    if path.is_file():
        return ListedRecordings([Recording((path,))], [], found)
    files = found.files
    recordings, rejected = [], [*found.rejected]
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
        refused = f" {rejected[0]}" if rejected else ""
        raise SourceError(
            f"{path}: no *.mcap or *.db3 file at or below this path. Give the path of a recording.{refused}"
        )
    if path != folder:
        found = found._replace(left_out=[*found.left_out, *_beside(folder, split)])
    return ListedRecordings(sorted(recordings, key=lambda one: one.files), rejected, found)


def _beside(folder: Path, split: str) -> list[Omission]:
    """Return an omission of each file and folder beside the folder of a split."""
    return [
        Omission(str(one), f"it is not in the folder {split!r}", (one.name,) if one.is_dir() else ())
        for one in sorted(folder.iterdir())
        if one.name not in (split, "fields.json", "provenance.json") and not one.name.startswith(".")
    ]


def _find_part(folder: Path, name: str, files: Sequence[Path]) -> Path:
    """Return the path of a file that a `metadata.yaml` lists, or raise SourceError if it does not exist in its folder.

    Old versions write the name of the folder before that of the file.
    """
    for candidate in (name, os.path.basename(name)):
        resolve_within(folder, candidate)
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
