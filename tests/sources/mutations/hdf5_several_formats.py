"""HDF5 with several episodes in a file, as D4RL, ManiSkill and others write it: written and read by h5py."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests.sources.made_hdf5 import D4RL_FIELDS, GROUP_FIELDS, d4rl, groups
from tests.sources.mutations.harness import Format, Row
from tests.sources.mutations.hdf5_formats import OF_DATASETS, walk

_NAME = re.compile(r"(?i)(episode|ep|demo|demonstration|traj|trajectory|rollout|trial|run)[_-]?([0-9]+)")


def _write_d4rl(folder: Path):
    d4rl(folder / "hopper.hdf5", terminals=(2, 9), timeouts=(5,))
    (folder / "more").mkdir()
    d4rl(folder / "more" / "hopper_2.hdf5", terminals=(3,), timeouts=(7,), steps=8)


def _write_groups(folder: Path):
    groups(folder / "a.h5", ("episode_0", "episode_1", "episode_10"))
    groups(folder / "b.h5", ("data/run2", "data/run3"))


def _write_maniskill(folder: Path):
    groups(folder / "a.h5", ("traj_0", "traj_1"), final=1)
    groups(folder / "b.h5", ("traj_7",))


def _read_d4rl(root: Any) -> Iterator[Row | None]:
    """Yield the episodes as D4RL's `sequence_dataset` divides the rows: after each terminal row and each timeout."""
    columns = {
        "observation/observation": root["observations"][()],
        "action/action": root["actions"][()],
        "reward": root["rewards"][()],
        "is_terminal": root["terminals"][()].reshape(-1),
    }
    timeouts = root["timeouts"][()].reshape(-1)
    if len({len(timeouts), *map(len, columns.values())}) > 1:
        raise ValueError("arrays of different lengths")
    start = 0
    for row, ends in enumerate(columns["is_terminal"].astype(bool) | timeouts.astype(bool)):
        if ends or row == len(timeouts) - 1:
            yield {name: values[start : row + 1] for name, values in columns.items()}
            start = row + 1


def _episodes(root: Any) -> list[Any]:
    """Return the groups that are named as episodes: those of the file, else those of its groups that hold episodes."""
    places = [root] if any(map(_NAME.fullmatch, root)) else [node for node in root.values() if hasattr(node, "keys")]
    return [node[name] for node in places for name in node if _NAME.fullmatch(name)]


def _read_groups(root: Any) -> Iterator[Row | None]:
    for group in _episodes(root):
        if isinstance(group, h5py.Group):
            yield _row(group, 0)


def _read_maniskill(root: Any) -> Iterator[Row | None]:
    for group in _episodes(root):
        if isinstance(group, h5py.Group):
            yield _row(group, 1)


def _row(group: Any, most_final: int) -> Row | None:
    """Return the values of an episode; None if it has fewer observations than actions, or too many more."""
    try:
        states, actions = group["obs"][()], group["actions"][()]
        if not 0 <= len(states) - len(actions) <= most_final:
            return None
        return {"observation/state": states[: len(actions)], "action/action": np.asarray(actions)}
    except Exception:  # noqa: BLE001  h5py raises errors of many types
        return None


FORMATS = {
    "hdf5_d4rl": Format(
        write=_write_d4rl,
        source="hdf5:{}#d4rl",
        read=walk(_read_d4rl),
        damages=OF_DATASETS,
        fields=D4RL_FIELDS,
    ),
    "hdf5_groups": Format(
        write=_write_groups,
        source="hdf5:{}#groups",
        read=walk(_read_groups),
        damages=OF_DATASETS,
        fields=GROUP_FIELDS,
    ),
    "hdf5_maniskill": Format(
        write=_write_maniskill,
        source="hdf5:{}#maniskill",
        read=walk(_read_maniskill),
        damages=OF_DATASETS,
        fields=GROUP_FIELDS,
    ),
}
