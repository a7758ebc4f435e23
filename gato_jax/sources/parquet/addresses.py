"""Addresses of episodes in Parquet files: one row, or consecutive rows that may continue in the next file."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gato_jax.sources.parquet.table import count_rows, list_depth, read_column, to_values
from gato_jax.sources.reader import EpisodeRejected, Rejection

_BAR_DELAY = 2.0  # seconds before a progress bar appears


class Part(NamedTuple):
    """The rows [start, stop) of a file, counted from 0."""

    file: Path
    start: int
    stop: int


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


class _Run(NamedTuple):
    """Consecutive rows of one file that belong to the same episode.

    Attributes:
      episode: value of the episode column in these rows.
      part: the rows.
      cut: whether the previous or next file is damaged, so that rows of the episode may be missing.
    """

    episode: Any
    part: Part
    cut: bool


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
      EpisodeRejected: the file cannot be read, or the column does not hold lists.
    """
    location = str(file)
    if list_path is None:
        return np.ones(count_rows(file, location), np.int64)
    array = read_column(file, list_path, location)
    if not list_depth(array.type):
        raise EpisodeRejected(location, f"field {list_path!r} has type {array.type}, expected lists as in other files")
    return array.value_lengths().fill_null(0).to_numpy()


def addresses_by_column(files: Sequence[Path], column: str) -> tuple[list[Address], list[Rejection]]:
    """Return the address of each episode if consecutive rows with one value in `column` form an episode.

    An episode may continue in the next file. It is rejected if its rows are scattered, or if a damaged file may hold
    some of them.

    Args:
      files: the files of a split, in order.
      column: name of the column that numbers or names the episodes. A file where it does not hold integers or strings
        counts as damaged.

    Returns:
      The addresses, in the order of the rows, and a rejection of each damaged file or incomplete episode.
    """
    runs, rejected = _list_runs(files, column)
    groups = [(episode, list(group)) for episode, group in itertools.groupby(runs, lambda run: run.episode)]
    times = collections.Counter(episode for episode, _ in groups)
    addresses = []
    for episode, group in groups:
        parts = tuple(run.part for run in group)
        address = Address(f"{parts[0].file}: {column} {episode}", parts, sum(part.stop - part.start for part in parts))
        if times[episode] > 1:
            rejected.append(
                Rejection(
                    address.location, f"its rows are in {times[episode]} places, expected one. Sort them by {column}"
                )
            )
        elif any(run.cut for run in group):
            rejected.append(
                Rejection(address.location, "it may continue in the previous or next file, which is damaged")
            )
        else:
            addresses.append(address)
    return addresses, rejected


def _list_runs(files: Sequence[Path], column: str) -> tuple[list[_Run], list[Rejection]]:
    """Return all runs of equal values in a column, file by file, and a rejection of each damaged file.

    An episode that continues in the next file has one run in each of the two.
    """
    runs, rejected, cut = [], [], False
    for file in _show_progress(files):
        try:
            values = np.asarray(to_values(read_column(file, column, str(file)), column, str(file)))
            if len(values) and (values.ndim != 1 or values.dtype.kind not in "iuU"):
                raise EpisodeRejected(str(file), f"{column!r} has type {values.dtype}, expected integers or strings")
        except EpisodeRejected as error:
            rejected.append(Rejection(error.location, error.reason))
            runs[-1:] = [run._replace(cut=True) for run in runs[-1:]]
            cut = True
            continue
        starts = [0, *(np.flatnonzero(values[1:] != values[:-1]) + 1).tolist()] if len(values) else []
        for start, stop in itertools.pairwise([*starts, len(values)]):
            runs.append(_Run(values[start], Part(file, start, stop), cut))
            cut = False
    return runs, rejected


def _show_progress(files: Sequence[Path]) -> Iterable[Path]:
    """Iterate over files, with a progress bar that appears after two seconds."""
    import tqdm

    return tqdm.tqdm(files, desc="lengths of episodes", unit=" files", delay=_BAR_DELAY)
