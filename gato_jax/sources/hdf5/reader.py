"""Reader of episodes in HDF5 files, in any of the layouts of HDF5_LAYOUTS or of any other with given fields."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from gato_jax.episodes import Episode, EpisodeError, Image, Text
from gato_jax.episodes.errors import nearest
from gato_jax.runtime.paths import split_name
from gato_jax.sources.assembly import assemble
from gato_jax.sources.contents import MissingFieldsError, missing_fields
from gato_jax.sources.field_paths import parse_path
from gato_jax.sources.fields import Fields
from gato_jax.sources.files import find_files, has_suffix
from gato_jax.sources.hdf5.contents import find_left_out
from gato_jax.sources.hdf5.file import EpisodePlace, Hdf5Episode, find_node, iter_datasets, open_file
from gato_jax.sources.hdf5.layouts import HDF5_LAYOUTS, Hdf5Layout
from gato_jax.sources.reader import (
    EpisodeRejected,
    NoSplitError,
    RecordedEpisodes,
    Rejection,
    SourceError,
    fingerprint_files,
    weigh_damaged_files,
)

_Address: TypeAlias = tuple[Path, EpisodePlace]  # a file, and the place of an episode in it

_MAX_INSPECTED = 20  # files whose layout and fields are inspected before opening fails


def open_hdf5(path: str | Path, split: str = "train", *, fields: Fields | None = None) -> RecordedEpisodes:
    """Open one split of an HDF5 file, or of all `*.hdf5` and `*.h5` files at or below a folder.

    Args:
      path: PATH, or PATH#LAYOUT with a key of HDF5_LAYOUTS. Default: the layout is recognised by the content of the
        files.
      split: name of a mask of a robomimic file, or of a group of episodes; "train" for files without them and for all
        other layouts.
      fields: the fields to read and their meaning. Only robomimic files define their fields, so all other layouts
        need this argument. A path is that of a dataset relative to the group of the episode.

    Raises:
      SourceError: there is no HDF5 file, the layout or the fields are unknown, there is no such split, `fields` is
        None and the files define different tasks, or none of the episodes has a number of steps that can be read. If
        some have, a damaged file or episode does not raise, and is listed in `rejected`. Values are not read: damage in
        them raises EpisodeRejected when the episode is read.
    """
    root, name = split_name(str(path))
    if name and name not in HDF5_LAYOUTS:
        raise SourceError(f"{path}: no layout {name!r}; nearest known: {nearest(name, HDF5_LAYOUTS)}")
    found_files = find_files(Path(root), has_suffix(".hdf5", ".h5"))
    files, rejected = found_files.files, found_files.rejected
    if not files:
        refused = f" The first that is refused: {rejected[0]}" if rejected else ""
        raise SourceError(
            f"{root}: no *.hdf5 or *.h5 file at or below this path. Give the path of a recording.{refused}"
        )
    are_inferred = fields is None
    name, fields = _choose_layout(path, files, name, fields)
    layout = HDF5_LAYOUTS[name]
    import tqdm

    splits: set[str] = set()
    steps: dict[_Address, int] = {}
    files_by_task: dict[str, list[str]] = {}
    for file in tqdm.tqdm(files, desc=f"{root}: lengths", unit=" files", delay=2.0):
        found = _scan_file(file, layout, split, fields, are_inferred)
        splits.update(found.splits)
        steps.update(found.steps)
        rejected.extend(found.rejected)
        if found.task is not None:
            files_by_task.setdefault(found.task, []).append(file.name)
    if len(files_by_task) > 1:
        listed = "; ".join(f"{task} ({files[0]})" for task, files in itertools.islice(files_by_task.items(), 10))
        raise SourceError(
            f"{path}: its files hold {len(files_by_task)} tasks, expected one: {listed}. Open one file at a time, or "
            "pass fields that describe all as one task. The instruction of a LIBERO file is their field "
            "problem_info/language_instruction."
        )
    if splits and split not in splits:
        raise NoSplitError(f"{path}: no split {split!r}; it has {', '.join(sorted(splits))}")
    if not steps:
        reasons = "; ".join(map(str, rejected[:3]))
        raise SourceError(f"{path}: split {split!r} has no episode that can be read. {reasons}")
    readable = list(dict.fromkeys(file for file, _ in steps))
    sidecars = [sidecar for file in readable for sidecar in layout.list_sidecars(file)]
    return RecordedEpisodes(
        spec=fields.spec,
        split=split,
        addresses=tuple(steps),
        lengths=np.array([*steps.values()], np.int64),
        fingerprint=fingerprint_files([*readable, *sidecars], name, split, fields.to_json(), label=root),
        read=functools.partial(_read, layout=name, fields=fields),
        rejected=tuple(weigh_damaged_files(rejected, files, len(steps))),
        fields=fields,
        find_left_out=functools.partial(find_left_out, Path(root), found_files, name, split, fields, tuple(steps)),
    )


def _read(address: _Address, *, layout: str, fields: Fields) -> Episode:
    """Read one episode, or raise EpisodeRejected if it is damaged.

    Args:
      address: the file, and the place of the episode in it.
      layout: key of HDF5_LAYOUTS, because a layout itself cannot be pickled.
      fields: the fields to read.
    """
    (file, place), location = address, address[1].locate(address[0])
    images = [path.name for path, modality in fields.paths if isinstance(modality, Image)]
    try:
        with open_file(file) as root:
            episode = Hdf5Episode(
                file=file,
                group=find_node(root, place.path),
                steps=_count_steps(root, place, fields),
                images=frozenset(images),
                rows=place.rows,
            )
            read_field = functools.partial(HDF5_LAYOUTS[layout].read_field, episode)
            provenance = HDF5_LAYOUTS[layout].read_provenance(episode, fields.provenance)
            flags = HDF5_LAYOUTS[layout].step_flags
            return assemble(fields, read_field, location, provenance=provenance, step_flags=flags)
    except EpisodeRejected:
        raise
    except (SourceError, EpisodeError) as error:
        raise EpisodeRejected(location, str(error)) from None
    except KeyError as error:  # the group of the episode; a missing field is rejected by `assemble`
        raise EpisodeRejected(location, f"it has changed since it was opened ({error.args[0]})") from None


def _choose_layout(path: str | Path, files: list[Path], name: str, fields: Fields | None) -> tuple[str, Fields]:
    """Return the name of the layout and the fields.

    An empty `name` and `fields` of None are inferred, both from the same file: the first, among the first 20 files,
    that allows the inference.

    Raises:
      SourceError: none of these files allows the inference. The message gives the reason of the first file.
    """
    if name and fields is not None:
        return name, fields
    reasons = []
    for file in files[:_MAX_INSPECTED]:
        try:
            with open_file(file) as root:
                layout = name or _recognise_layout(root)
                return layout, fields or HDF5_LAYOUTS[layout].infer_fields(root, file.name)
        except MissingFieldsError as error:
            raise missing_fields(f"hdf5:{path}", error.contents, f"{file.name}: {error}") from None
        except SourceError as error:
            reasons.append(f"{file}: {error}")
    raise SourceError(reasons[0])


def _recognise_layout(root: Any) -> str:
    """Return the name of the only layout that recognises the open file.

    Raises:
      SourceError: no layout or several layouts recognise it.
    """
    known = {name: layout for name, layout in HDF5_LAYOUTS.items() if layout.content}
    names = [name for name, layout in known.items() if layout.recognises(root)]
    if len(names) == 1:
        return names[0]
    found = ", ".join(path for path, _ in itertools.islice(iter_datasets(root), 20)) or "nothing"
    problem = f"its layout may be {' or '.join(names)}" if names else "its layout is unknown"
    layouts = "; ".join(f"#{name} has {layout.content}" for name, layout in known.items())
    raise SourceError(
        f"{problem}; it holds {found}. Append the layout to the path: {layouts}; #flat is one episode in each file."
    )


class _ScannedFile(NamedTuple):
    """The content of a file.

    Attributes:
      splits: names of its splits.
      steps: {address: number of steps} of the episodes of one split.
      rejected: the damaged episodes of that split, or the file if it is damaged. Such a file has no splits.
      task: name of the task that the file itself defines. None if it was not asked for, or the file is damaged.
    """

    splits: Set[str]
    steps: Mapping[_Address, int]
    rejected: Sequence[Rejection]
    task: str | None


def _scan_file(file: Path, layout: Hdf5Layout, split: str, fields: Fields, asks_for_task: bool) -> _ScannedFile:
    """List the episodes of one split of a file, without reading values.

    Args:
      file: the file.
      layout: its layout.
      split: name of the split.
      fields: the fields to read.
      asks_for_task: whether to infer the file's own fields, for the name of its task.
    """
    splits: dict[str, list[EpisodePlace]] = {}
    steps: dict[_Address, int] = {}
    rejected, task = [], None
    try:
        with open_file(file) as root:
            splits = layout.list_splits(root)
            task = layout.infer_fields(root, file.name).spec.name if asks_for_task else None
            for place in splits.get(split, ()):
                try:
                    steps[file, place] = _count_steps(root, place, fields)
                except SourceError as error:
                    rejected.append(Rejection(place.locate(file), str(error)))
    except SourceError as error:
        rejected.append(Rejection(str(file), str(error)))
    except KeyError as error:  # the layout was named by the caller, but the file has another
        rejected.append(Rejection(str(file), f"it has another layout than the one named ({error.args[0]})"))
    return _ScannedFile(splits=set(splits), steps=steps, rejected=rejected, task=task)


def _count_steps(root: Any, place: EpisodePlace, fields: Fields) -> int:
    """Return the number of steps of the episode at a place, without reading values.

    It is the number of its rows, or the length of the first field that is not text, where actions come before
    observations.

    Raises:
      SourceError: all fields are text, or that first field is missing, is a group, a scalar or a dataset of length 0,
        or has its values in another file.
    """
    sides = (*fields.action.values(), *fields.observation.values())
    paths = [parse_path(path).name for path, modality in sides if not isinstance(modality, Text)]
    if not paths:
        raise SourceError("its fields are all text. Add a field with a number or an image at each step.")
    try:
        shape = getattr(find_node(find_node(root, place.path), paths[0]), "shape", None)
    except KeyError as error:
        raise SourceError(f"it has no field {paths[0]!r} ({error.args[0]})") from None
    if not shape or shape[0] == 0:
        raise SourceError(f"it has no steps: the shape of {paths[0]!r} is {shape}")
    return shape[0] if place.rows is None else place.rows[1] - place.rows[0]
