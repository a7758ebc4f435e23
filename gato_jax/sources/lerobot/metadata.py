"""Metadata of a LeRobot dataset (v2.0, v2.1, v3.0): features, tasks, and the files of each episode."""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gato_jax.episodes.errors import describe_error
from gato_jax.sources.files import resolve_within
from gato_jax.sources.lerobot.entries import LeRobotEpisode, read_lines
from gato_jax.sources.lerobot.v2 import read_v2_episodes, read_v2_tasks
from gato_jax.sources.lerobot.v3 import read_v3_episodes, read_v3_tasks
from gato_jax.sources.reader import Rejection, SourceError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Feature:
    """Declaration of one column of a dataset, or of the videos of one camera.

    Attributes:
      dtype: Name of a NumPy dtype, or `string`, `image` or `video`.
      shape: Shape of the value at one step. The channels of an image may come first or last.
      names: Names of an image's axes or of a vector's elements; empty if they are not declared.
    """

    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...]

    @classmethod
    def from_json(cls, declared: Mapping[str, Any]) -> Feature:
        """Read a feature from its declaration in info.json.

        Raises:
          KeyError, TypeError, ValueError: The declaration lacks `shape` or `dtype`, or a value has the wrong type or is
            negative.
        """
        shape = tuple(map(int, declared["shape"]))
        if min(shape, default=0) < 0:
            raise ValueError(f"shape is {shape}, expected no negative number")
        return cls(dtype=str(declared["dtype"]), shape=shape, names=tuple(map(str, declared.get("names") or ())))


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeRobotMetadata:
    """Content of the folder `meta` of a dataset.

    Attributes:
      root: Folder of the dataset.
      version: `v2.0`, `v2.1` or `v3.0`.
      fps: Steps per second, which are also video frames per second.
      features: {name: declaration of the column or camera}.
      tasks: {task_index: instruction}.
      missing_tasks: Sentence that says why instructions cannot be looked up, or not all of them; "" if all can.
      episodes: The episodes of all splits.
      rejected: Damaged entries of the list of episodes.
      splits: {name: range of `LeRobotEpisode.index`}.
      robot: Type of the robot, or None if it is not declared.
    """

    root: Path
    version: str
    fps: float
    features: Mapping[str, Feature]
    tasks: Mapping[int, str]
    missing_tasks: str
    episodes: tuple[LeRobotEpisode, ...]
    rejected: tuple[Rejection, ...]
    splits: Mapping[str, range]
    robot: str | None

    @property
    def files(self) -> tuple[Path, ...]:
        """All files at any depth of the folder `meta`, sorted. The folder is searched on every access."""
        return tuple(sorted(file for file in (self.root / "meta").rglob("*") if file.is_file()))

    def is_video(self, feature: str) -> bool:
        """Return whether a feature is stored in videos instead of the Parquet files; False for an unknown feature."""
        return feature in self.features and self.features[feature].dtype == "video"

    def limits(self, feature: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the smallest and largest value of each element of a feature, from the dataset's statistics.

        The statistics are read on every call from `meta/stats.json`, or, if that file does not exist, from
        `meta/episodes_stats.jsonl`.

        Args:
          feature: Name of the feature.

        Returns:
          Two float64 arrays with one number for each element, in row-major order.

        Raises:
          SourceError: The file of statistics does not exist, is damaged or lacks this feature.
        """
        by_dataset, by_episode = self.root / "meta/stats.json", self.root / "meta/episodes_stats.jsonl"
        if not by_dataset.is_file() and not by_episode.is_file():
            raise SourceError(
                f"cannot find the limits of {feature!r}: {self.root} has no statistics of it (neither "
                f"meta/{by_dataset.name} nor meta/{by_episode.name} exists). Give fields with limits."
            )
        try:
            if by_dataset.is_file():
                statistics = [json.loads(by_dataset.read_text())[feature]]
            else:
                statistics = [json.loads(line)["stats"][feature] for _, line in read_lines(by_episode)]
            low = np.min([np.ravel(one["min"]) for one in statistics], axis=0)
            high = np.max([np.ravel(one["max"]) for one in statistics], axis=0)
            low, high = np.stack([low, high]).astype(np.float64)
        except (OSError, LookupError, TypeError, ValueError) as error:
            file = by_dataset if by_dataset.is_file() else by_episode
            raise SourceError(
                f"cannot find the limits of {feature!r}: {file} has no statistics of it ({describe_error(error)}). "
                "Give fields with limits."
            ) from None
        return low, high


def read_metadata(root: Path) -> LeRobotMetadata:
    """Read the folder `meta` of the dataset at `root`. Files of data and videos are neither opened nor checked.

    Raises:
      SourceError: A file is missing or damaged, the version of the format is not supported, fps is not positive, the
        number of episodes differs from `total_episodes`, or a path leads out of `root`.
    """
    file = root / "meta/info.json"
    for name in ("info.json", "stats.json", "tasks.jsonl", "tasks.parquet", "episodes.jsonl", "episodes"):
        resolve_within(root, f"meta/{name}")
    try:
        info = json.loads(file.read_text())
        version = str(info["codebase_version"])
        features = {name: Feature.from_json(declared) for name, declared in info["features"].items()}
        splits = {name: range(*map(int, part.split(":"))) for name, part in info["splits"].items()}
        count, fps = int(info["total_episodes"]), float(info["fps"])
        robot = info.get("robot_type")
    except (OSError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise SourceError(
            f"cannot open {root}: {file} is not the info of a LeRobot dataset ({describe_error(error)}). Give the "
            "folder that contains meta/info.json."
        ) from None
    v2, v3 = (read_v2_tasks, read_v2_episodes), (read_v3_tasks, read_v3_episodes)
    readers = {"v2.0": v2, "v2.1": v2, "v3.0": v3}
    if version not in readers:
        raise SourceError(
            f"cannot open {root}: codebase_version is {version!r}, expected one of {', '.join(readers)}. Convert it "
            "with LeRobot's own script."
        )
    if not 0 < fps < float("inf"):
        raise SourceError(f"cannot open {root}: fps is {fps}, expected a positive number. Correct it in {file}.")
    cameras = [name for name, feature in features.items() if feature.dtype == "video"]
    read_tasks, read_episodes = readers[version]
    tasks, missing_tasks = _collect_tasks(read_tasks, root)
    try:
        entries = list(read_episodes(root, info, cameras))
    except SourceError:
        raise
    except (OSError, LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise SourceError(
            f"cannot read {root / 'meta'}: it is damaged ({describe_error(error)}). Download it again."
        ) from None
    episodes, rejected = _split_entries(entries)
    if len(entries) < count or len(episodes) > count:
        first = f" The first of {len(rejected)} that are damaged: {rejected[0]}." if rejected else ""
        raise SourceError(
            f"cannot open {root}: {root / 'meta'} lists {len(entries)} of {count} episodes.{first} Download it again."
        )
    return LeRobotMetadata(
        root=root, version=version, fps=fps, features=features, tasks=tasks, missing_tasks=missing_tasks,
        episodes=tuple(episodes), rejected=tuple(rejected), splits=splits,
        robot=robot if isinstance(robot, str) and robot not in ("", "unknown") else None,
    )  # fmt: skip


def _collect_tasks(
    read: Callable[[Path], Iterator[tuple[int, str] | Rejection]], root: Path
) -> tuple[dict[int, str], str]:
    """Return {task_index: instruction}, and a sentence on the instructions that are missing, "" if none are.

    A task_index with two instructions has none.
    """
    tasks: dict[int, str] = {}
    problems, twice = [], set()
    try:
        for task in read(root):
            if isinstance(task, Rejection):
                problems.append(f"{task.location}: {task.reason}")
            elif tasks.setdefault(task[0], task[1]) != task[1] and task[0] not in twice:
                twice.add(task[0])
                problems.append(f"{root / 'meta'}: task_index {task[0]} has two instructions")
    except (OSError, SourceError) as error:
        problems.append(describe_error(error))
    return {number: text for number, text in tasks.items() if number not in twice}, "; ".join(problems[:3])


def _split_entries(
    entries: Sequence[LeRobotEpisode | Rejection],
) -> tuple[list[LeRobotEpisode], list[Rejection]]:
    """Return the episodes that are listed once, and the rejections; an episode that is listed twice is rejected."""
    times = collections.Counter(entry.index for entry in entries if isinstance(entry, LeRobotEpisode))
    episodes: list[LeRobotEpisode] = []
    rejected: dict[str, Rejection] = {}
    for entry in entries:
        if isinstance(entry, Rejection):
            rejected[entry.location] = entry
        elif times[entry.index] == 1:
            episodes.append(entry)
        else:
            reason = f"episode_index {entry.index} is listed {times[entry.index]} times, expected once"
            rejected[entry.location] = Rejection(entry.location, reason)
    return episodes, list(rejected.values())
