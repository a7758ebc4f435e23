"""The runs below a folder, and the state of each: in training, ended or killed."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

from gato_jax.runtime.file_locks import LOCK_FILES
from gato_jax.runtime.writers import has_ended, read_writer

METRICS = "metrics.jsonl"
DEPTH = 3  # folders between the searched one and a run


def find_runs(folder: Path) -> dict[str, Path]:
    """Return {name: folder of the run} of all runs in a folder.

    A run is a folder with metrics.jsonl or checkpoints. Its name is its path below `folder`, whose own name it is if
    `folder` is a run itself; characters that cannot be printed are replaced. A run is not searched for others, and
    neither are hidden folders, folders deeper than DEPTH and links that lead out of `folder`.
    """
    if _is_run(folder):
        return {_printable(folder.resolve().name or str(folder)): folder}
    return {_printable(path.relative_to(folder).as_posix()): path for path in _search(folder, DEPTH, folder.resolve())}


def _search(folder: Path, depth: int, root: Path) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith(".") and _is_folder(entry))
    except OSError:  # removed meanwhile, or not ours to read
        return
    for path in (folder / name for name in names):
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            continue
        if _is_run(path):
            yield path
        elif depth > 1:
            yield from _search(path, depth - 1, root)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_run(folder: Path) -> bool:
    try:
        return (folder / METRICS).is_file() or (folder / "checkpoints").is_dir()
    except OSError:
        return False


def _printable(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "replace")


@dataclasses.dataclass(frozen=True)
class State:
    """The state of a run.

    Attributes:
      name: "training", "ended" or "killed".
      note: A remark, "" for none.
    """

    name: str
    note: str = ""


def read_state(folder: Path) -> State:
    """Return the state of a run, by the file that a process leaves in the folder for as long as it writes there.

    The lock itself is not tried, as a training that starts at this moment would be refused. A process of another
    machine cannot be seen from here; its file says that the run is in training.
    """
    for lock in (folder / name for name in LOCK_FILES):
        if not lock.exists():
            continue
        writer = read_writer(lock)
        if writer is None:
            return State("training", "the process has not named itself")
        who = f"process {writer['process']} on {writer['host']}"
        return State("killed", f"{who} is gone") if has_ended(writer) else State("training", who)
    return State("ended")
