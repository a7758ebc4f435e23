"""Checksums of the files of a checkpoint, by which a damaged checkpoint is recognised before it is restored.

    STEP/checksums.json     size and CRC-32C of each file below STEP, and a CRC-32C of this list itself

The list is written when all other files of the checkpoint are complete and before the checkpoint counts as complete, so
every complete checkpoint has one. It covers every byte from which arrays and descriptions are restored, whatever the
sharding. Orbax writes two small files after it; they hold times and names, from which nothing is restored.
"""

from __future__ import annotations

import concurrent.futures
import json
from collections.abc import Collection, Mapping
from typing import NamedTuple

import google_crc32c
from etils import epath

CHECKSUMS_FILE = "checksums.json"

_WRITTEN_LATER = {CHECKSUMS_FILE, "_CHECKPOINT_METADATA", "commit_success.txt"}
_BLOCK_BYTES = 1 << 24
_THREADS = 8


class FileChecksum(NamedTuple):
    """Size of a file in bytes and CRC-32C of its content."""

    size: int
    crc32c: int


def write_checksums(folder: epath.Path):
    """Write the checksums of all files below the folder of a checkpoint, in place of an earlier list.

    Raises:
      OSError: A file cannot be read, or the list cannot be written.
    """
    names = sorted(set(_list_files(folder)) - _WRITTEN_LATER)
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
        checksums = threads.map(lambda name: _compute_checksum(folder / name), names)
        files = dict(zip(names, checksums, strict=True))
    content = {"files": files, "crc32c": _checksum_of_list(files)}
    (folder / CHECKSUMS_FILE).write_text(json.dumps(content))


def find_damage(
    folder: epath.Path, items: Collection[str] | None = None, *, share: tuple[int, int] = (0, 1)
) -> str | None:
    """Return a clause about the first damaged file of a checkpoint, such as `params/d/1f has 3 bytes, expected 4`.

    Args:
      folder: Folder of the checkpoint.
      items: Names of the folders below it whose files are read; None for all files. The list of checksums is checked
        in any case.
      share: (index, count) to read only every `count`-th file from the file `index` on, as one of several processes.

    Returns:
      None if no file is missing or changed.
    """
    try:
        files = _read_list(folder)
    except FileNotFoundError:
        return f"{CHECKSUMS_FILE} is missing, which is written with every checkpoint"
    except OSError as error:
        return f"{CHECKSUMS_FILE} cannot be read ({error.strerror})"
    except (ValueError, TypeError, KeyError, AttributeError):
        return f"{CHECKSUMS_FILE} is not as it was written"
    listed = {name.partition("/")[0] for name in files}
    if missing := sorted(set(items or ()) - listed):
        return f"it was written without {missing[0]}"
    index, count = share
    names = sorted(name for name in files if items is None or name.partition("/")[0] in items)[index::count]
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
        problems = threads.map(lambda name: _find_change(folder / name, name, files[name]), names)
        return next((problem for problem in problems if problem is not None), None)


def _read_list(folder: epath.Path) -> dict[str, FileChecksum]:
    """Return {path relative to the folder: checksum}. Raises several errors if the list is missing or damaged."""
    content = json.loads((folder / CHECKSUMS_FILE).read_bytes())
    files = {str(name): FileChecksum(*map(int, checksum)) for name, checksum in content["files"].items()}
    if content["crc32c"] != _checksum_of_list(files):
        raise ValueError(f"{CHECKSUMS_FILE} has another checksum than it says")
    return files


def _find_change(path: epath.Path, name: str, written: FileChecksum) -> str | None:
    """Return a clause about a file that is missing or was changed; None if it is as it was written."""
    try:
        found = _compute_checksum(path)
    except FileNotFoundError:
        return f"{name} is missing"
    except OSError as error:
        return f"{name} cannot be read ({error.strerror})"
    if found.size != written.size:
        return f"{name} has {found.size} bytes, expected {written.size}"
    if found.crc32c != written.crc32c:
        return f"{name} has the checksum {found.crc32c:08x}, expected {written.crc32c:08x}"
    return None


def _compute_checksum(path: epath.Path) -> FileChecksum:
    size = crc32c = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            size, crc32c = size + len(block), google_crc32c.extend(crc32c, block)
    return FileChecksum(size, crc32c)


def _checksum_of_list(files: Mapping[str, FileChecksum]) -> int:
    return google_crc32c.value(json.dumps(files, sort_keys=True).encode())


def _list_files(folder: epath.Path, prefix: str = "") -> list[str]:
    """Return the paths of all files below a folder, relative to it, with `prefix` in front."""
    names = []
    for path in folder.iterdir():
        name = f"{prefix}{path.name}"
        names += _list_files(path, f"{name}/") if path.is_dir() else [name]
    return names
