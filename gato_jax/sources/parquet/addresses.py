"""Addresses of episodes in Parquet files: one row, or consecutive rows that may continue in the next file."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gato_jax.sources.parquet.numbering import STEP_COLUMNS, Part, Run, join_runs
from gato_jax.sources.parquet.table import count_rows, list_depth, read_column, read_schema, to_values
from gato_jax.sources.reader import EpisodeRejected, Rejection

_BAR_DELAY = 2.0  # seconds before a progress bar appears


class Address(NamedTuple):
    """The address of an episode.

    Attributes:
      location: file and row, or file and value of the episode column, the beginning of error messages, such as
        "a.parquet: row 3" or "a.parquet: episode_index 7".
      parts: the rows that hold the episode, in order.
      steps: number of steps of the episode.
    """

    location: str
    parts: tuple[Part, ...]
    steps: int


def addresses_by_row(files: Sequence[Path], list_path: str | None) -> tuple[list[Address], list[Rejection]]:
    """Return the address of each episode if every row is one, and a rejection of each empty row or damaged file.

    Args:
      files: the files of a split, in order.
      list_path: path of a column of lists with one value for each step, which gives the number of steps. A null counts
        as an empty list. None if every row is a single step.
    """
    addresses, rejected = [], []
    for file in _show_progress(files):
        try:
            lengths = _count_steps_by_row(file, list_path)
        except EpisodeRejected as error:
            rejected.append(Rejection(error.location, error.reason))
            continue
        for row, steps in enumerate(lengths.tolist()):
            address = Address(f"{file}: row {row}", (Part(file, row, row + 1),), steps)
            if steps:
                addresses.append(address)
            else:
                rejected.append(Rejection(address.location, "it has no steps"))
    return addresses, rejected


def _count_steps_by_row(file: Path, list_path: str | None) -> np.ndarray:
    """Return the number of steps in each row of a Parquet file, (rows,) int.

    Args:
      file: the file.
      list_path: path of a column whose lists have one value for each step; a null counts as 0 steps. None if every row
        is one step.

    Raises:
      EpisodeRejected: the file cannot be read, has no such column, or the column does not hold lists.
    """
    location = str(file)
    if list_path is None:
        return np.ones(count_rows(file, location), np.int64)
    array = read_column(file, list_path, location)
    if not list_depth(array.type):
        raise EpisodeRejected(location, f"field {list_path!r} has type {array.type}, expected lists as in other files")
    return array.value_lengths().fill_null(0).to_numpy()


def addresses_by_column(
    files: Sequence[Path], column: str, refused: Collection[Path] = ()
) -> tuple[list[Address], list[Rejection]]:
    """Return the address of each episode if consecutive rows with one value in `column` form an episode.

    An episode may continue in the next file, and each file may number its episodes anew; see `join_runs`. An episode is
    rejected if its rows are scattered, if a damaged file or row may hold some of them, or if nothing tells whether it
    continues in the next file.

    Args:
      files: the files of a split, in order.
      refused: files of the split that are not read, which may hold further steps of the episodes beside them.
      column: name of the column that numbers or names the episodes. A file without this column, or with values in it
        that are neither integers nor strings, counts as damaged. A row without a value counts as damaged, too.

    Returns:
      The addresses, in the order of the rows, and a rejection of each damaged file or row, of each episode that may be
      incomplete, and of each place of an episode whose rows are scattered.
    """
    runs, rejected = _list_runs(files, column, refused)
    addresses = []
    for episode in join_runs(runs, column):
        parts = tuple(run.part for run in episode.runs)
        location = f"{parts[0].file}: {column} {episode.runs[0].episode}"
        if episode.problem:
            rejected.append(Rejection(location, episode.problem))
        elif any(run.cut for run in episode.runs):
            rejected.append(
                Rejection(location, "it may continue in the previous or next row or file, which is not read")
            )
        else:
            addresses.append(Address(location, parts, sum(part.stop - part.start for part in parts)))
    return addresses, rejected


def _list_runs(files: Sequence[Path], column: str, refused: Collection[Path]) -> tuple[list[Run], list[Rejection]]:
    """Return all runs of equal values in a column, file by file, and a rejection of each damaged file or row.

    An episode that continues in the next file has one run in each of the two. The runs beside a refused file are cut.
    """
    runs: list[Run] = []
    rejected, cut = [], False

    def cut_here():
        nonlocal cut
        runs[-1:] = [run._replace(cut=True) for run in runs[-1:]]
        cut = True

    for file in _show_progress(sorted({*files, *refused})):
        if file in refused:
            cut_here()
            continue
        try:
            values, steps = _read_episodes(file, column), _read_steps(file)
        except EpisodeRejected as error:
            rejected.append(Rejection(error.location, error.reason))
            cut_here()
            continue
        for episode, rows in itertools.groupby(range(len(values)), values.__getitem__):
            numbers = list(rows)
            start, last = numbers[0], numbers[-1]
            if episode is None:
                rejected += [Rejection(f"{file}: row {row}", f"its {column} is null") for row in numbers]
                cut_here()
                continue
            ends = None if steps is None else (steps[start], steps[last])
            runs.append(Run(episode, Part(file, start, last + 1), cut, ends))
            cut = False
    return runs, rejected


def _read_episodes(file: Path, column: str) -> list[int | str | None]:
    """Return the value of the episode column in each row; None for a null.

    Numbers may be stored as floats, as pandas does if some are missing.

    Raises:
      EpisodeRejected: the file cannot be read, has no such column, or its values are neither integers nor strings.
    """
    import pyarrow.types as types

    array = read_column(file, column, str(file))
    kind = array.type.value_type if types.is_dictionary(array.type) else array.type
    if types.is_temporal(kind):  # which to_values would make integers
        raise EpisodeRejected(str(file), f"{column!r} has type {array.type}, expected integers or strings")
    is_missing = array.is_null().to_numpy(zero_copy_only=False)
    present = np.asarray(to_values(array.drop_null(), column, str(file)))
    if present.dtype.kind == "f" and (present == np.round(present)).all():
        present = present.astype(np.int64)
    if len(present) and (present.ndim != 1 or present.dtype.kind not in "iuU"):
        raise EpisodeRejected(str(file), f"{column!r} has type {present.dtype}, expected integers or strings")
    values = iter(present.tolist())
    return [None if missing else next(values) for missing in is_missing.tolist()]


def _read_steps(file: Path) -> list[int] | None:
    """Return the number of each row within its episode, from the first of STEP_COLUMNS that holds integers, or None.

    Raises:
      EpisodeRejected: the file cannot be read.
    """
    names = read_schema(file, str(file)).names
    for column in STEP_COLUMNS:
        if column in names:
            array = read_column(file, column, str(file))
            if not array.null_count and str(array.type).startswith(("int", "uint")):
                return array.to_pylist()
    return None


def _show_progress(files: Sequence[Path]) -> Iterable[Path]:
    """Iterate over files, with a progress bar that appears after two seconds."""
    import tqdm

    return tqdm.tqdm(files, desc="lengths of episodes", unit=" files", delay=_BAR_DELAY)
