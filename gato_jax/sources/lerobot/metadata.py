"""What a LeRobot dataset (v2.0, v2.1, v3.0) says of itself: its features, tasks, and where each episode lies."""

from __future__ import annotations

import collections
import dataclasses
import functools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gato_jax.sources.parquet.table import parquet_errors
from gato_jax.sources.reader import EpisodeRejected, SourceError, resolve_within

_PLACEHOLDER = re.compile(r"\{(\w+)(?::0?(\d)d)?\}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Feature:
    """What a dataset declares of one column, or of the videos of one camera.

    Attributes:
      dtype: as NumPy calls it, or `string`, `image` or `video`.
      shape: of the value at one step.
      names: of the axes of an image, of the elements of a vector; empty where they are not told.
    """

    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...]

    @classmethod
    def from_json(cls, declared: Mapping[str, Any]) -> Feature:
        """The feature as info.json has it. Raises KeyError, TypeError or ValueError for what LeRobot does not write."""
        shape = tuple(map(int, declared["shape"]))
        if min(shape, default=0) < 0:
            raise ValueError(f"the shape {shape}")
        return cls(dtype=str(declared["dtype"]), shape=shape, names=tuple(map(str, declared.get("names") or ())))


@dataclasses.dataclass(frozen=True, kw_only=True)
class VideoPart:
    """The part of a video that shows one episode, in seconds; to its end where `stop` is None."""

    file: Path
    start: float = 0.0
    stop: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeRobotEpisode:
    """Where one episode lies: `length` rows of a Parquet file from `first_row`, and a part of a video a camera."""

    index: int
    length: int
    data: Path
    first_row: int
    videos: Mapping[str, VideoPart]

    @property
    def where(self) -> str:
        """Begins the message of whatever is wrong with it."""
        return f"{self.data}: episode {self.index}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeRobotMetadata:
    """The folder `meta` of a dataset.

    Attributes:
      root: the dataset's folder.
      version: `v2.0`, `v2.1` or `v3.0`.
      fps: frames, which are steps, a second.
      tasks: {task_index: instruction}.
      episodes: all of them, of every split.
      splits: {name: the indices of its episodes}.
      robot: its type, None where it is not told.
    """

    root: Path
    version: str
    fps: float
    features: Mapping[str, Feature]
    tasks: Mapping[int, str]
    episodes: tuple[LeRobotEpisode, ...]
    splits: Mapping[str, range]
    robot: str | None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of `meta`, in order."""
        return tuple(sorted(file for file in (self.root / "meta").rglob("*") if file.is_file()))

    def is_video(self, feature: str) -> bool:
        """Whether a feature lies in videos, not in the Parquet files."""
        return feature in self.features and self.features[feature].dtype == "video"

    def limits(self, feature: str) -> tuple[np.ndarray, np.ndarray]:
        """The least and the greatest value of each element of a feature, row-major, by the dataset's own statistics.

        Raises:
          SourceError: the dataset has none.
        """
        whole, each = self.root / "meta/stats.json", self.root / "meta/episodes_stats.jsonl"
        try:
            if whole.is_file():
                statistics = [json.loads(whole.read_text())[feature]]
            else:
                statistics = [line["stats"][feature] for line in _lines(each)]
            low = np.min([np.ravel(one["min"]) for one in statistics], axis=0)
            high = np.max([np.ravel(one["max"]) for one in statistics], axis=0)
            low, high = np.stack([low, high]).astype(np.float64)
        except (OSError, LookupError, TypeError, ValueError) as error:
            raise SourceError(
                f"{self.root}: no statistics of {feature!r} ({error!r}); give fields with limits"
            ) from None
        return low, high


def read_metadata(root: Path) -> LeRobotMetadata:
    """Reads `meta`. Raises SourceError where it is damaged, of another version, or names files outside of `root`."""
    file = root / "meta/info.json"
    try:
        info = json.loads(file.read_text())
        version = str(info["codebase_version"])
        features = {name: Feature.from_json(declared) for name, declared in info["features"].items()}
        splits = {name: range(*map(int, part.split(":"))) for name, part in info["splits"].items()}
        count, fps = int(info["total_episodes"]), float(info["fps"])
        robot = info.get("robot_type")
    except (OSError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise SourceError(
            f"{file}: not a LeRobot dataset ({error!r}); give the folder that holds meta/info.json"
        ) from None
    readers = {"v2.0": (_v2_tasks, _v2_episodes), "v2.1": (_v2_tasks, _v2_episodes), "v3.0": (_v3_tasks, _v3_episodes)}
    if version not in readers:
        raise SourceError(
            f"{file}: format {version!r}; convert it with LeRobot's own script to one of {', '.join(readers)}"
        )
    if not 0 < fps < float("inf"):
        raise SourceError(f"{file}: fps is {fps}; correct it")
    cameras = [name for name, feature in features.items() if feature.dtype == "video"]
    read_tasks, read_episodes = readers[version]
    try:
        tasks, episodes = dict(read_tasks(root)), tuple(read_episodes(root, info, cameras))
    except SourceError:
        raise
    except (OSError, LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise SourceError(f"{root / 'meta'}: damaged ({error!r}); download it again") from None
    if len({episode.index for episode in episodes}) != count:
        raise SourceError(f"{root / 'meta'}: lists {len(episodes)} of {count} episodes; download it again")
    return LeRobotMetadata(
        root=root, version=version, fps=fps, features=features, tasks=tasks, episodes=episodes, splits=splits,
        robot=robot if isinstance(robot, str) and robot not in ("", "unknown") else None,
    )  # fmt: skip


def _v2_tasks(root: Path) -> Iterator[tuple[int, str]]:
    return ((int(line["task_index"]), str(line["task"])) for line in _lines(root / "meta/tasks.jsonl"))


def _v3_tasks(root: Path) -> Iterator[tuple[int, str]]:
    table = _table(root / "meta/tasks.parquet")
    (text,) = (name for name in table if name != "task_index")  # `task`, or the nameless index of a pandas table
    return zip(table["task_index"], table[text], strict=True)


def _v2_episodes(root: Path, info: Mapping[str, Any], cameras: list[str]) -> Iterator[LeRobotEpisode]:
    for line in _lines(root / "meta/episodes.jsonl"):
        index = int(line["episode_index"])
        at = {"episode_index": index, "episode_chunk": index // int(info["chunks_size"])}
        yield LeRobotEpisode(
            index=index,
            length=int(line["length"]),
            data=_path(root, info["data_path"], at),
            first_row=0,
            videos={key: VideoPart(file=_path(root, info["video_path"], at | {"video_key": key})) for key in cameras},
        )


def _v3_episodes(root: Path, info: Mapping[str, Any], cameras: list[str]) -> Iterator[LeRobotEpisode]:
    names = ["episode_index", "length", "data/chunk_index", "data/file_index", "dataset_from_index"]
    ends = ("chunk_index", "file_index", "from_timestamp", "to_timestamp")
    names += [f"videos/{key}/{end}" for key in cameras for end in ends]
    rows = collections.defaultdict(list)
    for file in sorted((root / "meta/episodes").glob("*/*.parquet")):
        for name, values in _table(file, names).items():
            rows[name] += values
    first: dict[Path, int] = {}  # the number, in the whole dataset, of each file's first row
    episodes = [dict(zip(rows, values, strict=True)) for values in zip(*rows.values(), strict=True)]
    for row in sorted(episodes, key=lambda row: row["dataset_from_index"]):
        data = _path(root, info["data_path"], _place(row, "data"))
        videos = {
            key: VideoPart(
                file=_path(root, info["video_path"], _place(row, f"videos/{key}") | {"video_key": key}),
                start=float(row[f"videos/{key}/from_timestamp"]),
                stop=float(row[f"videos/{key}/to_timestamp"]),
            )
            for key in cameras
        }
        start = int(row["dataset_from_index"])
        yield LeRobotEpisode(
            index=int(row["episode_index"]),
            length=int(row["length"]),
            data=data,
            first_row=start - first.setdefault(data, start),
            videos=videos,
        )


def _place(row: Mapping[str, Any], prefix: str) -> dict[str, int]:
    return {name: int(row[f"{prefix}/{name}"]) for name in ("chunk_index", "file_index")}


def _path(root: Path, template: str, values: Mapping[str, Any]) -> Path:
    """`{name}` and `{name:03d}` filled in, and nothing else that `str.format` would do with what a stranger wrote."""

    def fill(placeholder: re.Match) -> str:
        value, width = values[placeholder[1]], placeholder[2]
        return f"{value:0{width}d}" if width else str(value)

    return _inside(root, _PLACEHOLDER.sub(fill, template))


@functools.lru_cache(maxsize=1024)  # for a file of many episodes
def _inside(root: Path, name: str) -> Path:
    resolve_within(root, name, through_links=True)
    return root / name


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in file.read_text().splitlines() if line.strip())


def _table(file: Path, columns: list[str] | None = None) -> dict[str, list[Any]]:
    """The columns of a Parquet file. Raises SourceError where one is not there or the file is damaged."""
    import pyarrow.parquet as pq

    try:
        with parquet_errors(str(file)), pq.ParquetFile(file) as parquet:
            table = parquet.read(columns).to_pydict()
    except EpisodeRejected as error:
        raise SourceError(f"{error}; download it again") from None
    if missing := [name for name in columns or () if name not in table]:
        raise SourceError(f"{file}: has no column {missing[0]!r}; download it again, or convert it anew")
    return table
