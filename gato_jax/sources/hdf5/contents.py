"""The content of HDF5 files that is not read."""

from __future__ import annotations

import collections
import contextlib
import fnmatch
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gato_jax.sources.contents import FoundField, unnamed_fields
from gato_jax.sources.fields import Fields
from gato_jax.sources.files import FoundFiles, unread_files
from gato_jax.sources.hdf5.datasets import iter_found
from gato_jax.sources.hdf5.file import EpisodePlace, list_names, open_file
from gato_jax.sources.hdf5.layouts import HDF5_LAYOUTS
from gato_jax.sources.reader import Omission, SourceError


def find_left_out(
    path: Path,
    found: FoundFiles,
    layout: str,
    split: str,
    fields: Fields,
    episodes: Sequence[tuple[Path, EpisodePlace]],
) -> list[Omission]:
    """List what the files at or below a path hold and what is not read of it.

    Args:
      path: path of the recording.
      found: its files.
      layout: key of HDF5_LAYOUTS.
      split: name of the split.
      fields: the fields that are read.
      episodes: the episodes that are read, each a file and the place in it.
    """
    groups = collections.defaultdict(set)
    for file, place in episodes:
        groups[file].add(place.path)
    sidecars = {one for file in groups for one in HDF5_LAYOUTS[layout].list_sidecars(file) if _is_named(one, fields)}
    omissions = [
        *found.left_out,
        *unread_files(path, found.others, "a recording is *.hdf5 or *.h5", {*found.files, *sidecars}),
    ]
    fields_found: dict[str, FoundField] = {}
    counts = collections.Counter()
    for file, names in groups.items():
        try:
            with open_file(file) as root:
                places = HDF5_LAYOUTS[layout].list_splits(root)
                splits = {name: [place.path for place in listed] for name, listed in places.items()}
                omissions += _listed_twice(file, places.get(split, ()))
                omissions += _other_episodes(file, root, names, splits, split)
                for name in sorted(names):
                    for one in iter_found(root[name] if name else root):
                        fields_found.setdefault(one.path, one)
                        counts[one.path] += 1
                omissions += _outside(file, root, names)
        except (SourceError, KeyError) as error:
            omissions.append(Omission(str(file), f"its content cannot be listed ({error})"))
    omissions += _files_of_other_splits((file for file in found.files if file not in groups), layout, split)
    total, unit = sum(map(len, groups.values())), "files" if layout in ("d4rl", "flat") else "episodes"
    frames = {parent for parent, _, _ in (field.name.rpartition("/") for field, _ in fields.paths)}
    listed = [
        FoundField(**{**vars(one), "note": f"in {counts[name]} of {total} {unit}"})
        for name, one in fields_found.items()
        if not (re.fullmatch(r".*/frame\d+", name) and name.rpartition("/")[0] in frames)
    ]
    return [*omissions, *unnamed_fields(str(path), listed, fields, _bounds(layout))]


def _bounds(layout: str) -> tuple[str, ...]:
    """Return the datasets that a layout reads to find the episodes."""
    return ("terminals", "timeouts") if layout == "d4rl" else ()


def _is_named(file: Path, fields: Fields) -> bool:
    """Return whether a sidecar of an episode is read: metadata always, a video if a field may name it."""
    patterns = [re.sub(r"\{\w+\}", "*", path.name) for path, _ in fields.paths]
    return file.suffix == ".json" or any(fnmatch.fnmatch(file.name, pattern.rpartition("/")[2]) for pattern in patterns)


def _files_of_other_splits(files: Iterable[Path], layout: str, split: str) -> Iterator[Omission]:
    """Yield an omission of each file without the split; files that cannot be read are rejected, and not listed here."""
    for file in files:
        with contextlib.suppress(SourceError, KeyError), open_file(file) as root:
            if split not in (splits := HDF5_LAYOUTS[layout].list_splits(root)):
                others = ", ".join(map(repr, sorted(splits))) or "none"
                yield Omission(str(file), f"it has no split {split!r}; its splits: {others}", tuple(sorted(splits)))


def _listed_twice(file: Path, places: Iterable[EpisodePlace]) -> Iterator[Omission]:
    """Yield an omission of each episode that a split lists several times, as a mask may; it is read once."""
    for place, count in collections.Counter(places).items():
        if count > 1:
            yield Omission(place.locate(file), f"the split lists it {count} times, and it is read once")


def _other_episodes(
    file: Path, root: Any, names: Iterable[str], splits: Mapping[str, Sequence[str]], split: str
) -> Iterator[Omission]:
    """Yield an omission of each group beside those of the episodes of a split that no episode of it is in."""
    listed = set(splits.get(split, ()))
    for parent in sorted({name.rpartition("/")[0] for name in names if name}):
        for child in list_names(root[parent]) if parent else ():
            group = f"{parent}/{child}"
            if group in listed:
                continue
            others = tuple(name for name, groups in splits.items() if group in groups)
            reason = f"it belongs to {', '.join(map(repr, others))}" if others else "it belongs to no split"
            yield Omission(f"{file}: {group}", f"{reason}, not to {split!r}", others)


def _outside(file: Path, root: Any, names: Iterable[str]) -> Iterator[Omission]:
    """Yield an omission of each dataset that is in no group beside those of the episodes, and in no mask."""
    parents = {name.rpartition("/")[0] for name in names}
    if "" in parents and "" in names:
        return
    for one in iter_found(root, skipped={"mask", *parents}):
        yield Omission(f"{file}: {one.path}", f"it is outside of the episodes; it is {one.describe()}")
