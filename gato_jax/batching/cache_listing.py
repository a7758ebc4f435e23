"""The entries of the cache of token records: listed, verified and removed."""

from __future__ import annotations

import dataclasses
import pathlib
import shutil
import time
from collections.abc import Iterable
from typing import Any

from gato_jax.batching.cache import LAST_USED_FILE, cache_root, entries_in_use, lock_path
from gato_jax.batching.records import RecordsError, RecordsMeta, TokenRecords
from gato_jax.runtime.atomic_writes import PARTIAL
from gato_jax.runtime.file_locks import LockedError, locked_file
from gato_jax.tokenization import ContractError, Tokenization

_DAY = 24 * 60 * 60


@dataclasses.dataclass(frozen=True, kw_only=True)
class CacheEntry:
    """One entry of the cache.

    Attributes:
      directory: Its folder.
      task: Name of its task; empty if the entry is not complete.
      origin: Description of the dataset that it was made from, by the run that made the entry; empty if there is no
        description or the entry is not complete.
      bytes: Size of all its files, those of an unfinished copy included.
      last_used: Seconds since 1970 at which a run opened it last; if no run has, at which its newest file was
        written; 0 if it has no files.
      tokenization: {setting: value} of the settings that differ from the defaults, which are the paper's; {} if the
        entry is not complete.
      complete: Whether it has a meta.json that this version can read; its other files are not checked. An entry is
        incomplete while it is made, and after its maker was killed.
      in_use: Whether a running process uses, makes or opens it.
    """

    directory: pathlib.Path
    task: str
    origin: str
    bytes: int
    last_used: float
    tokenization: dict[str, Any]
    complete: bool
    in_use: bool

    @property
    def name(self) -> str:
        """Name of its folder, TASK-KEY (see `entry_name`)."""
        return self.directory.name

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON, with `directory` as a string."""
        return {**dataclasses.asdict(self), "directory": str(self.directory)}


def cache_entries() -> list[CacheEntry]:
    """Return all entries of the cache, incomplete ones too, the one that was used last first; [] without a cache."""
    root = cache_root()
    used, folders = entries_in_use(root), (root / "records").glob("*")
    names = {folder.name.removesuffix(PARTIAL) for folder in folders if folder.is_dir()}
    entries = [_describe(root / "records" / name, used) for name in names]
    return sorted(entries, key=lambda entry: (-entry.last_used, entry.name))


def prune_cache(*, older_than_days: float = 0.0, max_gib: float = 0.0) -> list[CacheEntry]:
    """Remove entries that no process uses or makes, and return them, the one that was used longest ago first.

    With both defaults, every entry that no process uses or makes is removed, incomplete ones too.

    Args:
      older_than_days: Remove only entries whose `last_used` is at least this number of days ago.
      max_gib: Remove the entries that were used longest ago, until all that are left, those in use included, have at
        most this size in GiB together; 0 removes every entry that the other conditions allow.
    """
    entries, removed = cache_entries(), []
    left = sum(entry.bytes for entry in entries)
    for entry in reversed(entries):
        if max_gib and left <= max_gib * 2**30:
            break
        if time.time() - entry.last_used < older_than_days * _DAY:
            continue
        if _remove(entry.directory):
            removed.append(entry)
            left -= entry.bytes
    return removed


def verify_cache(entries: Iterable[CacheEntry]) -> dict[str, str]:
    """Read complete entries whole, and return {name: message} of those that are damaged; skip incomplete ones."""
    problems = {}
    for entry in entries:
        if entry.complete:
            try:
                TokenRecords.open(entry.directory).verify()
            except (RecordsError, ContractError) as error:
                problems[entry.name] = str(error)
    return problems


def _describe(directory: pathlib.Path, used: set[str]) -> CacheEntry:
    partial = directory.with_name(directory.name + PARTIAL)
    meta = RecordsMeta.read(directory)
    files = [path for folder in (directory, partial) for path in folder.rglob("*") if path.is_file()]
    stats = [stat for path in files if (stat := _stat(path)) is not None]
    last_used = _stat(directory / LAST_USED_FILE)
    return CacheEntry(
        directory=directory,
        task="" if meta is None else ", ".join(meta.contract.get("tasks", {})),
        origin="" if meta is None else meta.origin,
        bytes=sum(stat.st_size for stat in stats),
        last_used=last_used.st_mtime if last_used else max((stat.st_mtime for stat in stats), default=0.0),
        tokenization={} if meta is None else _changed_settings(meta),
        complete=meta is not None,
        in_use=directory.name in used or _is_locked(directory),
    )


def _changed_settings(meta: RecordsMeta) -> dict[str, Any]:
    """Return {name: value} of the top-level tokenization settings that differ from the defaults of `Tokenization`."""
    defaults = dataclasses.asdict(Tokenization())
    settings = meta.contract.get("tokenization", {})
    return {name: value for name, value in settings.items() if value != defaults.get(name)}


def _remove(directory: pathlib.Path) -> bool:
    """Remove an entry and its unfinished copy, and return True; return False if a process uses or makes the entry.

    Files that cannot be removed are left without an error.
    """
    partial = directory.with_name(directory.name + PARTIAL)
    try:
        with locked_file(lock_path(directory)):
            # A process notes the entry that it uses while it holds this lock, so the list is complete.
            if directory.name in entries_in_use(directory.parent.parent):
                return False
            shutil.rmtree(directory, ignore_errors=True)
            shutil.rmtree(partial, ignore_errors=True)
            lock_path(directory).unlink(missing_ok=True)
            return True
    except LockedError:
        return False


def _is_locked(directory: pathlib.Path) -> bool:
    """Return whether a process makes or opens an entry at this moment. Its lock file is made if it is missing."""
    try:
        with locked_file(lock_path(directory)):
            return False
    except LockedError:
        return True


def _stat(path: pathlib.Path):
    """Return the status of a file, None if it is gone: another process may be making or removing the entry."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None
