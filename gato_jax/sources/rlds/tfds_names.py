"""Names and folders of datasets that TFDS prepared: NAME or NAME/CONFIG, with or without a version.

A folder of TFDS holds NAME/VERSION, or NAME/CONFIG/VERSION for a dataset that has configs.
"""

from __future__ import annotations

import fnmatch
import json
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gato_jax.runtime.paths import BucketError, BucketPath, as_path
from gato_jax.sources.reader import SourceError

INFO_FILE = "dataset_info.json"
_VERSION = re.compile(r"\d+\.\d+\.\d+")
_AT_VERSION = re.compile(r"[/:](\d+|\*)\.(\d+|\*)\.(\d+|\*)$")  # /1.2.0, or :1.2.0 and :1.*.* as TFDS writes it
_MOST_PARTS = 2  # of a name without its version

_log = logging.getLogger(__name__)


class AmbiguousConfigError(SourceError):
    """A name of a dataset without a config, where several are on disk; the message lists them."""


def to_epath(path: str | os.PathLike[str]) -> Any:
    """Return the path as an `etils.epath.Path`, which also opens buckets, without TensorFlow.

    Raises:
      BucketError: The path is in a bucket that cannot be opened.
    """
    path = as_path(path)
    if isinstance(path, BucketPath):
        return path.remote
    from etils import epath

    return epath.Path(path)


def tfds_folder() -> Any:
    """Return TFDS's own folder, $TFDS_DATA_DIR or ~/tensorflow_datasets, as an `etils.epath.Path`.

    Raises:
      BucketError: The folder is in a bucket that cannot be opened.
    """
    return to_epath(os.environ.get("TFDS_DATA_DIR") or Path.home() / "tensorflow_datasets")


def find_tfds_folder(path: str | os.PathLike[str]) -> Any:
    """Return the folder of a prepared dataset, NAME/VERSION or NAME/CONFIG/VERSION, as an `etils.epath.Path`.

    Args:
      path: The folder itself; a folder NAME or NAME/CONFIG that holds its versions; or a name that is looked up in
        TFDS's own folder: NAME or NAME/CONFIG, which may end in a version, `/1.1.0`, `:1.1.0` or `:1.*.*`. Without a
        version, the newest is taken. Without a config, the only one is taken. A folder that does not exist is looked up
        in TFDS's own folder by the name that its path ends in.

    Raises:
      SourceError: The path is a name, and there is no such dataset. An existing folder is returned as it is.
      AmbiguousConfigError: It has several configs and `path` names none.
      BucketError: The path is in a bucket that cannot be opened.
    """
    text = os.fspath(path)
    name, pattern = _split_version(text)
    if (there := to_epath(text)).is_dir() and (there / INFO_FILE).exists():
        return there
    if (found := _newest(to_epath(name), pattern, text)) is not None:
        return found
    if "://" in text:
        return there  # the caller says what it lacks
    root = tfds_folder()
    for ending in _endings(name):
        if (found := _newest(root / ending, pattern, text)) is None or not _is_called(found, ending):
            continue
        if ending != name:
            _log.info("%s does not exist, %s is taken", text, found)
        return found
    if there.is_dir():
        return there  # the caller says what it lacks
    raise SourceError(
        f"cannot open {text}: it is neither a folder nor a dataset in {root}. Set $TFDS_DATA_DIR to the folder of your "
        "datasets."
    )


def missing_tfds(path: str | os.PathLike[str]) -> str | None:
    """Return why a dataset is not on disk, as a clause; None if it is, or if only opening it can tell what is wrong.

    `path` is that of `find_tfds_folder`.
    """
    try:
        found = (find_tfds_folder(path) / INFO_FILE).exists()
    except AmbiguousConfigError:
        return None
    except (SourceError, BucketError):
        found = False
    folders = dict.fromkeys([os.fspath(path), os.fspath(tfds_folder() / path)])
    return None if found else f"{' and '.join(folders)} not found"


def _split_version(text: str) -> tuple[str, str]:
    """Return a name or path without the version at its end, and the version; the version is `*` if there is none."""
    if (match := _AT_VERSION.search(text)) is None:
        return text.rstrip("/"), "*"
    return text[: match.start()], match[0][1:]


def _endings(name: str) -> Iterator[str]:
    """Yield a name without a version, and the shorter names that it ends in, if it is a path, the longest first."""
    parts = [part for part in Path(name).parts if part not in ("/", ".", "~")]
    for count in range(min(len(parts), _MOST_PARTS), 0, -1):
        yield "/".join(parts[-count:])


def _newest(folder: Any, pattern: str, text: str) -> Any:
    """Return the newest version in a folder NAME or NAME/CONFIG that fits the pattern; None if there is none.

    In a folder NAME without versions, the only config that has one is taken, if the dataset is called NAME.

    Raises:
      AmbiguousConfigError: Several configs have one; `text`, which the user gave, is named in the message.
    """
    if (found := _newest_in(folder, pattern)) is not None or not folder.is_dir():
        return found
    newest = {config: _newest_in(config, pattern) for config in sorted(folder.glob("*"))}
    configs = [config for config, version in newest.items() if version and _is_called(version, folder.name)]
    if len(configs) > 1:
        names = ", ".join(config.name for config in configs)
        raise AmbiguousConfigError(f"cannot open {text}: it has the configs {names}. Name one, as NAME/CONFIG.")
    return newest[configs[0]] if configs else None


def _newest_in(folder: Any, pattern: str) -> Any:
    """Return the newest version that lies in a folder and fits the pattern; None if there is none."""
    folders = [one for one in (folder.glob("*") if folder.is_dir() else ()) if _VERSION.fullmatch(one.name)]
    versions = [one for one in folders if fnmatch.fnmatch(one.name, pattern) and (one / INFO_FILE).exists()]
    return max(versions, key=lambda version: tuple(map(int, version.name.split("."))), default=None)


def _is_called(folder: Any, name: str) -> bool:
    """Return True if the description in a dataset's folder has the first part of a name, or cannot be read."""
    try:
        return json.loads((folder / INFO_FILE).read_text())["name"] == name.split("/")[0]
    except (OSError, ValueError, KeyError, TypeError):
        return True  # whoever reads the dataset says what is wrong
