"""Layouts of HDF5 files that hold several episodes: D4RL's flat arrays, and one group for each episode."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from gato_jax.sources.hdf5.file import EpisodePlace, Hdf5Episode, contains, find_node, is_numeric, list_names
from gato_jax.sources.reader import SourceError

# Flat arrays that tell where episodes begin and end, in one file or another.
_ENDS = ("terminals", "timeouts", "is_last")
_STARTS = ("is_first",)
_NUMBERS = ("episode_index", "episode_id", "episode_idx", "ep_idx")
_ONE_FOR_EACH = ("episode_ends", "meta/episode_ends", "episode_lengths", "ep_len", "ep_offset")

_NUMBERED = re.compile(r"(episode|ep|demo|demonstration|traj|trajectory|rollout|trial|run)[_-]?(\d+)", re.IGNORECASE)
_CONTAINERS = ("data", "episodes", "trajectories", "demos")  # groups of episodes that do not name a split


# D4RL (github.com/Farama-Foundation/D4RL): the steps of all episodes in one array for each field.


def list_d4rl_episodes(root: Any) -> dict[str, list[EpisodePlace]]:
    """Return the rows of each episode of a D4RL file, as split "train".

    An episode ends at each row where `terminals` or `timeouts` is 1. Rows after the last end are an episode that was
    cut off, whose last step is not terminal.

    Raises:
      SourceError: there are no `timeouts`, or the two arrays are not one flag for each row.
      KeyError: there are no `terminals`.
    """
    terminals = _read_flags(root, "terminals")
    if not contains(root, "timeouts"):
        raise SourceError(
            "it has no timeouts, without which episodes that ended at a time limit run into each other. Add them, as "
            "D4RL's newer versions have them"
        )
    timeouts = _read_flags(root, "timeouts")
    if len(terminals) != len(timeouts):
        raise SourceError(f"it has {len(terminals)} terminals and {len(timeouts)} timeouts, expected one of each a row")
    stops = [int(row) + 1 for row in np.flatnonzero(terminals | timeouts)]
    if len(terminals) > (stops[-1] if stops else 0):
        stops.append(len(terminals))
    return {
        "train": [EpisodePlace("", (start, stop)) for start, stop in zip([0, *stops[:-1]], stops, strict=True) if stops]
    }


def read_d4rl_field(episode: Hdf5Episode, path: str) -> Any:
    """Return the rows of an episode in a flat array; `is_terminal` is true where `terminals` is.

    A single value or string holds for all episodes.

    Raises:
      KeyError: there is no such field.
      SourceError: the field has another number of rows than `terminals`, or cannot be read.
    """
    if path == "is_terminal":
        path = "terminals"
    dataset = find_node(episode.group, path)
    if not getattr(dataset, "ndim", 0):
        return episode.read_values(dataset, path)
    if len(dataset) != (rows := len(find_node(episode.group, "terminals"))):
        raise SourceError(f"{path!r} has {len(dataset)} rows, terminals have {rows}")
    values = dataset if is_numeric(dataset) else episode.read_values(dataset, path)
    values = values[slice(*(episode.rows or (0, rows)))]
    return values.reshape(-1) if path == "terminals" else values


def _read_flags(root: Any, path: str) -> np.ndarray:
    """Return a flat array of zeros and ones as (N,) bool, or raise SourceError for any other dataset."""
    dataset = find_node(root, path)
    values = dataset[()] if is_numeric(dataset) and dataset.ndim in (1, 2) else np.zeros((0, 0))
    if values.size == 0 or values.size != len(values) or not np.isin(values, (0, 1)).all():
        raise SourceError(f"{path!r} has shape {getattr(dataset, 'shape', None)}, expected a 0 or 1 for each row")
    return values.reshape(-1).astype(bool)


def list_flat_episode(root: Any) -> dict[str, list[EpisodePlace]]:
    """Return the whole file as the only episode, of split "train".

    Raises:
      SourceError: an array of the file tells that it holds several episodes.
    """
    for path in (*_ENDS, *_STARTS, *_NUMBERS, *_ONE_FOR_EACH):
        if contains(root, path) and (count := _count_marked_episodes(find_node(root, path), path)) > 1:
            layout = "Name the layout #d4rl" if path in ("terminals", "timeouts") else "Write one file for each"
            raise SourceError(f"{path!r} tells of {count} episodes, expected one by the layout #flat. {layout}")
    return {"train": [EpisodePlace()]}


def _count_marked_episodes(dataset: Any, path: str) -> int:
    """Return the number of episodes that an array of one of the known names tells of; 1 for values it cannot have."""
    if not is_numeric(dataset) or not dataset.ndim or dataset.size != len(dataset):
        return 1
    values = dataset[()].reshape(-1)
    if path in _ENDS:
        return 1 + int(np.count_nonzero(values[:-1]))
    if path in _STARTS:
        return 1 + int(np.count_nonzero(values[1:]))
    return len(values) if path in _ONE_FOR_EACH else len(np.unique(values))


# One group for each episode.


def list_groups(root: Any) -> dict[str, list[EpisodePlace]]:
    """Return the groups named `episode_0`, `traj-1`, `demo2` and so on, ordered by number.

    They are in the file itself or in groups of it. A group named `data`, `episodes`, `trajectories` or `demos`, and the
    file itself, are split "train"; another group is the split of its name.

    Raises:
      KeyError: there are no such groups.
      SourceError: a link leads to another file or is broken, or the names of a group are damaged.
    """
    splits: dict[str, list[EpisodePlace]] = {}
    for name in ("", *list_names(root)):
        found = _numbered_groups(find_node(root, name))
        split = "train" if name in ("", *_CONTAINERS) else name
        splits.setdefault(split, []).extend(EpisodePlace(f"{name}/{group}".lstrip("/")) for group in found)
        if not name and found:
            break
    if not any(splits.values()):
        raise KeyError("no group named as episode_0")
    return {split: places for split, places in splits.items() if places}


def _numbered_groups(node: Any) -> list[str]:
    """Return the names of the groups of a group that are named as an episode, ordered by number."""
    import h5py

    if not isinstance(node, h5py.Group):
        return []
    numbers = {name: match[2] for name in list_names(node) if (match := _NUMBERED.fullmatch(name))}
    names = sorted(numbers, key=lambda name: (int(numbers[name]), name))
    return [name for name in names if isinstance(find_node(node, name), h5py.Group)]


def has_groups(root: Any) -> bool:
    """Return whether a file holds one group for each episode in no more particular layout."""
    return _first_group(root) is not None and not has_demonstrations(root) and not is_maniskill(root)


def has_demonstrations(root: Any) -> bool:
    """Return whether a file holds groups `data/demo_N`, as robomimic's do."""
    names = _numbered_groups(find_node(root, "data")) if contains(root, "data") else ()
    return any(re.fullmatch(r"demo_\d+", name) for name in names)


def is_maniskill(root: Any) -> bool:
    """Return whether a file holds groups `traj_N` with `obs` and `actions`, as ManiSkill's do."""
    group = _first_group(root)
    return group is not None and group.name.startswith("/traj_") and {"obs", "actions"} <= set(list_names(group))


def _first_group(root: Any) -> Any | None:
    """Return the group of the first episode, or None if the file has no groups named as episodes."""
    try:
        splits: Mapping[str, list[EpisodePlace]] = list_groups(root)
    except KeyError:
        return None
    return find_node(root, next(iter(splits.values()))[0].path)


def read_maniskill_field(episode: Hdf5Episode, path: str) -> Any:
    """Return the values of a field of ManiSkill (maniskill.readthedocs.io), without what follows the last action.

    There is one observation more than there are actions, which is dropped. Other lengths are not checked.

    Raises:
      KeyError: there is no such field.
      SourceError: the field cannot be read.
    """
    dataset = find_node(episode.group, path)
    if is_numeric(dataset) and dataset.ndim and len(dataset) == episode.steps + 1:
        return dataset[: episode.steps]
    return episode.read_values(dataset, path)
