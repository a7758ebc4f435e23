"""Episodes in HDF5 files: robomimic, ALOHA, raw DROID, RoboNet, or any whose fields are named."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from gato_jax.episodes import Episode, EpisodeError, Image, Text
from gato_jax.episodes.errors import nearest
from gato_jax.sources.assembly import assemble
from gato_jax.sources.fields import Fields, split_path
from gato_jax.sources.hdf5.file import Hdf5Episode, find, has, walk
from gato_jax.sources.hdf5.layouts import HDF5_LAYOUTS, Hdf5Layout
from gato_jax.sources.reader import (
    EpisodeRejected,
    RecordedEpisodes,
    Rejection,
    SourceError,
    fingerprint_files,
    resolve_within,
)

Place: TypeAlias = tuple[Path, str]  # a file, and the group in it that is an episode

_ASKED_AT_MOST = 20  # files, for their layout


def open_hdf5(where: str | Path, split: str = "train", *, fields: Fields | None = None) -> RecordedEpisodes:
    """Opens one split of the HDF5 file `where`, or of all `*.hdf5` and `*.h5` in or below that folder.

    Args:
      where: PATH, or PATH#LAYOUT with one of HDF5_LAYOUTS, which is otherwise recognised from what the files hold.
      split: for robomimic one of its masks, or `train` where it has none and for all others.
      fields: what is wanted and what it means, which only robomimic's recordings say themselves.

    Raises:
      SourceError: the layout or the fields are not known, there is no such split, or nothing of it can be read.
    """
    path, _, name = str(where).partition("#")
    if name and name not in HDF5_LAYOUTS:
        raise SourceError(f"{where}: no layout {name!r}; nearest known: {nearest(name, HDF5_LAYOUTS)}")
    files, rejected = _list_files(Path(path))
    name, fields = _understand(files, name, fields)
    layout = HDF5_LAYOUTS[name]
    import tqdm

    splits: set[str] = set()
    steps: dict[Place, int] = {}
    for file in tqdm.tqdm(files, desc=f"{path}: lengths", unit=" files", delay=2.0):
        found = _survey(file, layout, split, fields)
        splits.update(found[0])
        steps.update(found[1])
        rejected.extend(found[2])
    if splits and split not in splits:
        raise SourceError(f"{where}: no split {split!r}; it has {', '.join(sorted(splits))}")
    if not steps:
        reasons = "; ".join(f"{at}: {reason}" for at, reason in rejected[:3])
        raise SourceError(f"{where}: split {split!r} has no episode that can be read. {reasons}")
    whole = list(dict.fromkeys(file for file, _ in steps))
    further = [beside for file in whole for beside in layout.beside(file)]
    return RecordedEpisodes(
        spec=fields.spec,
        split=split,
        addresses=tuple(steps),
        lengths=np.array([*steps.values()], np.int64),
        fingerprint=fingerprint_files([*whole, *further], name, split, fields.to_json()),
        read=functools.partial(_read, layout=name, fields=fields),
        rejected=tuple(rejected),
    )


def _read(place: Place, *, layout: str, fields: Fields) -> Episode:
    where = _said(*place)
    images = [split_path(path)[0] for path, modality in fields.observation.values() if isinstance(modality, Image)]
    try:
        with _opened(place[0]) as root:
            episode = Hdf5Episode(
                file=place[0],
                group=find(root, place[1]),
                steps=_count_steps(root, place[1], fields),
                images=frozenset(images),
            )
            column = functools.partial(HDF5_LAYOUTS[layout].column, episode)
            provenance = HDF5_LAYOUTS[layout].provenance(episode, fields.provenance)
            return assemble(fields, column, where, provenance=provenance)
    except EpisodeRejected:
        raise
    except (SourceError, EpisodeError) as error:
        raise EpisodeRejected(where, str(error)) from None


def _list_files(path: Path) -> tuple[list[Path], list[Rejection]]:
    """The files at or below `path`, and those that are links out of it."""
    if path.is_file():
        return [path], []
    files, rejected = [], []
    for file in sorted(file for pattern in ("*.hdf5", "*.h5") for file in path.rglob(pattern) if file.is_file()):
        try:
            resolve_within(path, str(file.relative_to(path)))
            files.append(file)
        except SourceError as error:
            rejected.append(Rejection(str(file), str(error)))
    if not files:
        raise SourceError(f"{path}: no *.hdf5 or *.h5 in or below it; name a file or folder that holds them")
    return files, rejected


def _understand(files: list[Path], name: str, fields: Fields | None) -> tuple[str, Fields]:
    """The layout's name and the fields; what is not given is that of the first file that says it."""
    if name and fields is not None:
        return name, fields
    reasons = []
    for file in files[:_ASKED_AT_MOST]:
        try:
            with _opened(file) as root:
                layout = name or _recognise(root)
                return layout, fields or HDF5_LAYOUTS[layout].fields(root, file.name)
        except SourceError as error:
            reasons.append(f"{file}: {error}")
    raise SourceError(reasons[0])


def _recognise(root: Any) -> str:
    known = {name: layout.marks for name, layout in HDF5_LAYOUTS.items() if layout.marks}
    names = [name for name, marks in known.items() if all(has(root, mark) for mark in marks)]
    if len(names) == 1:
        return names[0]
    found = ", ".join(path for path, _ in itertools.islice(walk(root), 20)) or "nothing"
    says = f"it may be {' or '.join(names)}" if names else "its layout is not known"
    layouts = "; ".join(f"#{name} has {' and '.join(marks)}" for name, marks in known.items())
    raise SourceError(f"{says}; it holds {found}. Add the layout to the path: {layouts}; #flat is one episode a file")


def _survey(
    file: Path, layout: Hdf5Layout, split: str, fields: Fields
) -> tuple[set[str], dict[Place, int], list[Rejection]]:
    """The splits of a file, the steps of each episode of one of them, and what is damaged of it."""
    splits: dict[str, list[str]] = {}
    steps: dict[Place, int] = {}
    rejected = []
    try:
        with _opened(file) as root:
            splits = layout.splits(root)
            for name in splits.get(split, ()):
                try:
                    steps[file, name] = _count_steps(root, name, fields)
                except SourceError as error:
                    rejected.append(Rejection(_said(file, name), str(error)))
    except SourceError as error:
        rejected.append(Rejection(str(file), str(error)))
    return set(splits), steps, rejected


def _count_steps(root: Any, name: str, fields: Fields) -> int:
    """How many rows the first of the fields has that is no text, actions first. Reads none of them."""
    sides = (*fields.action.values(), *fields.observation.values())
    paths = [split_path(path)[0] for path, modality in sides if not isinstance(modality, Text)]
    if not paths:
        raise SourceError("its fields are all text; name one that has a number or a picture at each step")
    try:
        shape = getattr(find(find(root, name), paths[0]), "shape", None)
    except KeyError as error:
        raise SourceError(f"it has no field {paths[0]!r} ({error.args[0]})") from None
    if not shape or shape[0] == 0:
        raise SourceError(f"it has no steps; the shape of {paths[0]!r} is {shape}")
    return shape[0]


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[Any]:
    import h5py

    try:
        with h5py.File(file, "r") as root:
            yield root
    except (OSError, RuntimeError) as error:  # HDF5 has the second for damage that it meets in its own structures
        raise SourceError(f"it cannot be read, and may be cut short or damaged ({error})") from None


def _said(file: Path, name: str) -> str:
    return f"{file}: {name}" if name else str(file)
