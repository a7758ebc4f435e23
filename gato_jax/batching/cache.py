"""The cache of token records: one entry for each content, shared by all runs of all processes of a machine.

    GATO_CACHE/records/TASK-KEY/    the token records of one dataset under one tokenization
    GATO_CACHE/in_use/ID            the entries that one process uses, one for each line; the process holds a lock on it

The key is a fingerprint of the episodes and of everything else that decides the bytes of the records. An entry is made
under a lock, so of several processes that want it one makes it and the others wait. The operating system releases the
lock of a process that is killed; the shards that it completed are kept for the next one.
"""

from __future__ import annotations

import dataclasses
import fcntl
import functools
import hashlib
import json
import logging
import multiprocessing
import os
import pathlib
import uuid

from gato_jax.batching.chunks import LAYOUT
from gato_jax.batching.record_writer import write_records
from gato_jax.batching.records import DAMAGED_FILE, META_FILE, SCHEMA, RecordsError, TokenRecords
from gato_jax.batching.task_texts import task_texts_of
from gato_jax.episodes import dataset_name
from gato_jax.runtime.file_locks import locked_file
from gato_jax.runtime.paths import BucketError, cache_folder
from gato_jax.sources import EpisodeReader
from gato_jax.sources.image_sizes import log_image_sizes
from gato_jax.tokenization import Contract, ContractError, Tokenization
from gato_jax.tokenization.codecs.image import ImageTokenizer

LAST_USED_FILE = "last_used"

_log = logging.getLogger(__name__)


class CacheError(ValueError):
    """A cache that cannot be used; the message names the reason and the remedy.

    Either GATO_CACHE names a bucket, or a script without `if __name__ == "__main__":` was run again by its own worker
    process.
    """


def cache_root() -> pathlib.Path:
    """Return the folder of the cache as an absolute path: the variable GATO_CACHE, or ~/.cache/gato_jax.

    An empty variable counts as unset. The folder is not made.

    Raises:
      CacheError: The variable contains `://`: it names a bucket, in which files cannot be locked.
    """
    try:
        return cache_folder()
    except BucketError as error:
        raise CacheError(str(error)) from None


def cached_records(
    reader: EpisodeReader,
    tokenization: Tokenization,
    image_tokenizer: ImageTokenizer | None = None,
    *,
    origin: str = "",
    workers: int | None = None,
) -> TokenRecords:
    """Return the token records of a dataset, from the cache if they are there, else made now and kept there.

    An entry that is damaged or of another version is made again, with a warning in the log. The index is verified now;
    a record is when it is read, and if it is damaged then, the next call makes the entry again. The call waits while
    another process makes the same entry. The entry counts as in
    use, so that `prune_cache` leaves it, until this process ends.

    Args:
      reader: The episodes.
      tokenization: Settings of all codecs.
      image_tokenizer: The tokenizer whose codes stand for images, if the settings name one.
      origin: Description of the dataset, for people who list the cache. It is kept only when the entry is made.
      workers: Number of processes that tokenize; None for one for each core.

    Raises:
      CacheError: GATO_CACHE names a bucket, or a worker process has imported the script of its parent.
      RecordsError, TokenizationError: The episodes cannot be tokenized (see `write_records`).
    """
    _require_main_guard()
    root, name = cache_root(), entry_name(reader, tokenization)
    directory = root / "records" / name

    def say_waiting():
        _log.info("waiting for another process that uses the token records of %s in %s", reader.spec.name, directory)

    with locked_file(lock_path(directory), on_wait=say_waiting):
        records = _open_entry(directory)
        if records is None:
            log_image_sizes([reader])
            records = write_records(
                directory, reader.spec, reader, reader.fingerprint, tokenization, image_tokenizer, workers=workers,
                resume=True, origin=origin,
            )  # fmt: skip
            records = dataclasses.replace(records, cached=True)
        mark_in_use(root, name)
        (directory / LAST_USED_FILE).touch()
    return records


def _require_main_guard():
    """Raise CacheError if this process is a worker that is still importing the script of its parent.

    A worker imports that script before it works. Without a guard, the script would open the same records again, and
    wait forever for the lock that its parent holds.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise CacheError(
            "a worker process that tokenizes has run the script that started it. Put the statements of the script "
            'below if __name__ == "__main__":.'
        )


def entry_name(reader: EpisodeReader, tokenization: Tokenization) -> str:
    """Return the name of the cache entry of a dataset under a tokenization, TASK-KEY.

    TASK is the task's name as `dataset_name` spells it, KEY 24 hexadecimal digits of a hash of episodes, split, format
    and contract: `babyai__go_to_red_ball_v0-0123456789abcdef01234567`.
    """
    contract = Contract.of(tokenization, [reader.spec], task_texts=task_texts_of(reader.spec, tokenization))
    content = [SCHEMA, LAYOUT, reader.fingerprint, reader.split, contract.to_json()]
    key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:24]
    return f"{dataset_name(reader.spec.name)}-{key}"


def lock_path(directory: pathlib.Path) -> pathlib.Path:
    """Return the path of the lock file of a cache entry, NAME.lock beside its folder; it is not made."""
    return directory.with_name(f"{directory.name}.lock")


def _open_entry(directory: pathlib.Path) -> TokenRecords | None:
    """Return the records of an entry; None if it has no meta.json, is damaged or of another version.

    Damage is logged as a warning. It is found in the files that are read now, the index among them, or was found in a
    record by an earlier run.
    """
    if not (directory / META_FILE).exists():
        return None
    if (directory / DAMAGED_FILE).exists():
        _log.warning("the token records in %s are damaged and made again: an earlier run found it", directory)
        return None
    try:
        return TokenRecords.open(directory, verify_index=True, cached=True)
    except (RecordsError, ContractError) as error:
        _log.warning("the token records in %s are damaged and made again: %s", directory, error)
        return None


@functools.cache
def _open_lease(root: pathlib.Path, process: int) -> int:
    """Return the descriptor of the open and locked file in which this process lists the entries that it uses.

    The first call makes the file `in_use/PROCESS-RANDOM` in `root`, the folder of the cache; later calls return the
    same descriptor. PROCESS is `process`, the id of this process, so that a fork gets a file of its own; RANDOM is 32
    random hexadecimal digits.
    """
    name = f"{process}-{uuid.uuid4().hex}"
    handle = os.open(root / name, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    fcntl.flock(handle, fcntl.LOCK_EX)
    (root / "in_use").mkdir(exist_ok=True)
    (root / name).rename(root / "in_use" / name)  # locked before anybody can take it for that of an ended process
    return handle


def mark_in_use(root: pathlib.Path, name: str):
    """Note that this process uses the entry `name` until the process ends. The caller holds the lock of the entry."""
    os.write(_open_lease(root, os.getpid()), f"{name}\n".encode())


def entries_in_use(root: pathlib.Path) -> set[str]:
    """Return the names of the entries that running processes use, this one included.

    The files below `in_use` of processes that have ended are removed.
    """
    names: set[str] = set()
    for path in (root / "in_use").glob("*"):
        with path.open("r+") as file:  # for writing, as network file systems need it
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                names.update(file.read().split())
            else:
                path.unlink(missing_ok=True)
    return names
