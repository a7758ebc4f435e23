"""Where each episode of some Parquet files lies: in one row, or in rows together that may go on in the next file."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gato_jax.sources.parquet.table import count_rows, list_depth, read_column, to_values
from gato_jax.sources.reader import EpisodeRejected, Rejection

_PATIENCE = 2.0  # seconds without a progress bar


class Part(NamedTuple):
    """Rows [start, stop) of a file."""

    file: Path
    start: int
    stop: int


class Place(NamedTuple):
    """An episode: what it is called, the parts of files that hold it, and how many steps they have."""

    where: str
    parts: tuple[Part, ...]
    steps: int


class _Run(NamedTuple):
    """Rows of a file, together, that are of one episode; `cut` where the file before or after is damaged."""

    episode: Any
    part: Part
    cut: bool


def places_by_row(files: Sequence[Path], list_path: str | None) -> tuple[list[Place], list[Rejection]]:
    """One episode a row, of as many steps as its list at `list_path` has values; of one step where that is None."""
    places, rejected = [], []
    for file in _progress(files):
        try:
            lengths = _steps_of_rows(file, list_path)
        except EpisodeRejected as error:
            rejected.append(Rejection(error.location, error.reason))
            continue
        for row, steps in enumerate(lengths.tolist()):
            place = Place(f"{file}: row {row}", (Part(file, row, row + 1),), steps)
            if steps:
                places.append(place)
            else:
                rejected.append(Rejection(place.where, "it has no steps"))
    return places, rejected


def _steps_of_rows(file: Path, list_path: str | None) -> np.ndarray:
    where = str(file)
    if list_path is None:
        return np.ones(count_rows(file, where), np.int64)
    array = read_column(file, list_path, where)
    if not list_depth(array.type):
        raise EpisodeRejected(where, f"field {list_path!r} has the type {array.type}, in other files it is a list")
    return array.value_lengths().fill_null(0).to_numpy()


def places_by_column(files: Sequence[Path], column: str) -> tuple[list[Place], list[Rejection]]:
    """One episode for the rows, together, that have the same value in `column`."""
    runs, rejected = _runs(files, column)
    together = [(episode, list(some)) for episode, some in itertools.groupby(runs, lambda run: run.episode)]
    times = collections.Counter(episode for episode, _ in together)
    places = []
    for episode, some in together:
        parts = tuple(run.part for run in some)
        place = Place(f"{parts[0].file}: {column} {episode}", parts, sum(part.stop - part.start for part in parts))
        if times[episode] > 1:
            rejected.append(Rejection(place.where, f"its rows are in {times[episode]} places; sort them by {column}"))
        elif any(run.cut for run in some):
            rejected.append(Rejection(place.where, "it may go on in a file beside, which is damaged"))
        else:
            places.append(place)
    return places, rejected


def _runs(files: Sequence[Path], column: str) -> tuple[list[_Run], list[Rejection]]:
    runs, rejected, cut = [], [], False
    for file in _progress(files):
        try:
            values = np.asarray(to_values(read_column(file, column, str(file)), column, str(file)))
            if len(values) and (values.ndim != 1 or values.dtype.kind not in "iuU"):
                raise EpisodeRejected(str(file), f"{column!r} has the type {values.dtype}, not integers or names")
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


def _progress(files: Sequence[Path]) -> Iterable[Path]:
    import tqdm

    return tqdm.tqdm(files, desc="lengths of episodes", unit=" files", delay=_PATIENCE)
