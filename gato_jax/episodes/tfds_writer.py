"""A TFDS dataset in ArrayRecord files that comes to be whole or not at all, whoever's features it has."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

_EXAMPLES_A_FILE = 1000
_EXAMPLES_A_CALL = 16  # TFDS rewrites its description at each call, which costs 5 ms


class StoreError(ValueError):
    """A dataset that cannot be written; the message names the path, or the episode, and the remedy."""


@contextlib.contextmanager
def staged(directory: Path) -> Iterator[Path]:
    """An empty folder beside `directory` that takes its name, and its place, when the block ends without an error.

    A killed process leaves `VERSION.incomplete`, which no reader takes for a dataset and the next writer empties; the
    lock on it, which dies with its process, keeps two writers apart.
    """
    staging, replaced = (directory.with_name(f"{directory.name}.{state}") for state in ("incomplete", "replaced"))
    with disk_errors(directory):
        staging.mkdir(parents=True, exist_ok=True)
        handle = os.open(staging, os.O_RDONLY)
    try:
        with disk_errors(directory):
            _lock(staging, handle)
            for leftover in staging.iterdir():
                leftover.unlink()
        yield staging
        with disk_errors(directory):
            shutil.rmtree(replaced, ignore_errors=True)
            if directory.exists():
                directory.rename(replaced)
            staging.rename(directory)
            shutil.rmtree(replaced, ignore_errors=True)
    except BaseException as error:
        if not isinstance(error.__cause__, BlockingIOError):  # then the folder is the other writer's
            shutil.rmtree(staging, ignore_errors=True)
        raise
    finally:
        os.close(handle)


def _lock(staging: Path, handle: int) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise StoreError(
            f"{staging}: another process writes this dataset; wait for it or choose another root"
        ) from error


def write_examples(
    staging: Path, directory: Path, features: Any, splits: Mapping[str, Iterable[Any]]
) -> dict[str, int]:
    """Writes TFDS's own files into `staging`; returns how many examples each split got.

    Args:
      staging: an empty folder, from `staged`.
      directory: where the dataset will lie, `.../NAME/VERSION`: TFDS writes both names into its description.
      features: the `tfds.features.FeaturesDict`.
      splits: examples as the features encode them. Consumed one split after the other, a few examples at a time.

    Raises:
      StoreError: a split is empty, or the disk refuses. Errors of the iterables pass through.
    """
    import tensorflow_datasets as tfds

    name, version = directory.parts[-2:]
    identity = tfds.core.DatasetIdentity(
        name=name, version=tfds.core.Version(version), data_dir=str(staging), module_name=__name__
    )
    info = tfds.core.DatasetInfo(builder=identity, features=features, description=name, disable_shuffling=True)
    with disk_errors(directory):
        writer = tfds.core.SequentialWriter(info, _EXAMPLES_A_FILE, file_format="array_record")
        writer.initialize_splits(list(splits))
    counts = {}
    for split, examples in splits.items():
        counts[split], examples = 0, iter(examples)
        # Examples are drawn outside of `disk_errors`: a fault of whoever makes them is not one of the disk.
        while batch := list(itertools.islice(examples, _EXAMPLES_A_CALL)):
            counts[split] += len(batch)
            with disk_errors(directory):
                writer.add_examples({split: batch})
        if not counts[split]:
            raise StoreError(f"{directory}: split {split!r} would hold no episodes; leave the split out")
    with disk_errors(directory):
        writer.close_all()
        for split, count in counts.items():
            if (readable := _count_records(record_files(staging, split))) != count:
                raise OSError(f"{count} episodes of split {split!r} were written, {readable} can be read back")
    return counts


def record_files(directory: Path, split: str) -> list[Path]:
    """The ArrayRecord files of a split, in order."""
    return sorted(directory.glob(f"*-{split}.array_record-*"))


def _count_records(files: list[Path]) -> int:
    """ArrayRecord says nothing when a file was cut short, so what was written is counted."""
    from array_record.python.array_record_module import ArrayRecordReader  # pyright: ignore: compiled

    count = 0
    for file in files:
        reader = ArrayRecordReader(str(file))
        count += reader.num_records()
        reader.close()
    return count


@contextlib.contextmanager
def disk_errors(directory: Path) -> Iterator[None]:
    """Names the dataset and the remedy when the disk refuses. ArrayRecord says so in a RuntimeError."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise StoreError(
            f"{directory}: cannot be written ({error}); free space there, make it writable or choose another root"
        ) from error
