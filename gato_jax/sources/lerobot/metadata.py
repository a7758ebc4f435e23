"""Metadata of a LeRobot dataset (v2.0, v2.1, v3.0): features, tasks, and the files of each episode."""

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

from gato_jax.sources.files import resolve_within
from gato_jax.sources.parquet.table import reject_arrow_errors
from gato_jax.sources.reader import EpisodeRejected, SourceError

_PLACEHOLDER = re.compile(r"\{(\w+)(?::0?(\d)d)?\}")


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
class VideoPart:
    """Part of a video file that shows one episode.

    Attributes:
      file: The video file.
      start: Start of the part in seconds from the beginning of the file.
      stop: End of the part in seconds from the beginning of the file; None for the end of the file.
    """

    file: Path
    start: float = 0.0
    stop: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeRobotEpisode:
    """Location of one episode in the files of a dataset.

    Attributes:
      index: Number of the episode in the dataset.
      length: Number of steps.
      data: Parquet file with one row for each step. The file may hold several episodes.
      first_row: Row of the first step in `data`, from 0.
      videos: {name of a camera's feature: part of its video}.
    """

    index: int
    length: int
    data: Path
    first_row: int
    videos: Mapping[str, VideoPart]

    @property
    def location(self) -> str:
        """File and number of the episode, for messages, `FILE: episode NUMBER`."""
        return f"{self.data}: episode {self.index}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeRobotMetadata:
    """Content of the folder `meta` of a dataset.

    Attributes:
      root: Folder of the dataset.
      version: `v2.0`, `v2.1` or `v3.0`.
      fps: Steps per second, which are also video frames per second.
      features: {name: declaration of the column or camera}.
      tasks: {task_index: instruction}.
      episodes: The episodes of all splits.
      splits: {name: range of `LeRobotEpisode.index`}.
      robot: Type of the robot, or None if it is not declared.
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
        try:
            if by_dataset.is_file():
                statistics = [json.loads(by_dataset.read_text())[feature]]
            else:
                statistics = [line["stats"][feature] for line in _read_json_lines(by_episode)]
            low = np.min([np.ravel(one["min"]) for one in statistics], axis=0)
            high = np.max([np.ravel(one["max"]) for one in statistics], axis=0)
            low, high = np.stack([low, high]).astype(np.float64)
        except (OSError, LookupError, TypeError, ValueError) as error:
            raise SourceError(
                f"cannot find the limits of {feature!r}: {self.root} has no statistics of it ({error!r}). Give fields "
                "with limits."
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
            f"cannot open {root}: {file} is not the info of a LeRobot dataset ({error!r}). Give the folder that "
            "contains meta/info.json."
        ) from None
    readers = {"v2.0": (_v2_tasks, _v2_episodes), "v2.1": (_v2_tasks, _v2_episodes), "v3.0": (_v3_tasks, _v3_episodes)}
    if version not in readers:
        raise SourceError(
            f"cannot open {root}: codebase_version is {version!r}, expected one of {', '.join(readers)}. Convert it "
            "with LeRobot's own script."
        )
    if not 0 < fps < float("inf"):
        raise SourceError(f"cannot open {root}: fps is {fps}, expected a positive number. Correct it in {file}.")
    cameras = [name for name, feature in features.items() if feature.dtype == "video"]
    read_tasks, read_episodes = readers[version]
    try:
        tasks, episodes = dict(read_tasks(root)), tuple(read_episodes(root, info, cameras))
    except SourceError:
        raise
    except (OSError, LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise SourceError(f"cannot read {root / 'meta'}: it is damaged ({error!r}). Download it again.") from None
    if len({episode.index for episode in episodes}) != count:
        raise SourceError(
            f"cannot open {root}: {root / 'meta'} lists {len(episodes)} of {count} episodes. Download it again."
        )
    return LeRobotMetadata(
        root=root, version=version, fps=fps, features=features, tasks=tasks, episodes=episodes, splits=splits,
        robot=robot if isinstance(robot, str) and robot not in ("", "unknown") else None,
    )  # fmt: skip


def _v2_tasks(root: Path) -> Iterator[tuple[int, str]]:
    """Return an iterator of (task_index, instruction) from `meta/tasks.jsonl` of v2.0 and v2.1."""
    return ((int(line["task_index"]), str(line["task"])) for line in _read_json_lines(root / "meta/tasks.jsonl"))


def _v3_tasks(root: Path) -> Iterator[tuple[int, str]]:
    """Return an iterator of (task_index, instruction) from `meta/tasks.parquet` of v3.0."""
    table = _read_table(root / "meta/tasks.parquet")
    (text,) = (name for name in table if name != "task_index")  # `task`, or the unnamed index of a pandas table
    return zip(table["task_index"], table[text], strict=True)


def _v2_episodes(root: Path, info: Mapping[str, Any], cameras: list[str]) -> Iterator[LeRobotEpisode]:
    """Yield the episodes of v2.0 and v2.1, in which each episode has its own files, in the order of `episodes.jsonl`.

    Args:
      root: Folder of the dataset.
      info: Parsed info.json.
      cameras: Names of the features that are videos.

    Raises:
      SourceError: A path leads out of `root`.
    """
    for line in _read_json_lines(root / "meta/episodes.jsonl"):
        index = int(line["episode_index"])
        numbers = {"episode_index": index, "episode_chunk": index // int(info["chunks_size"])}
        videos = {
            key: VideoPart(file=_fill_path(root, info["video_path"], numbers | {"video_key": key})) for key in cameras
        }
        yield LeRobotEpisode(
            index=index,
            length=int(line["length"]),
            data=_fill_path(root, info["data_path"], numbers),
            first_row=0,
            videos=videos,
        )


def _v3_episodes(root: Path, info: Mapping[str, Any], cameras: list[str]) -> Iterator[LeRobotEpisode]:
    """Yield the episodes of v3.0, in which a file may hold several episodes, by ascending `dataset_from_index`.

    Args:
      root: Folder of the dataset.
      info: Parsed info.json.
      cameras: Names of the features that are videos.

    Raises:
      SourceError: A file of `meta/episodes` is damaged or lacks a column, or a path leads out of `root`.
    """
    names = ["episode_index", "length", "data/chunk_index", "data/file_index", "dataset_from_index"]
    ends = ("chunk_index", "file_index", "from_timestamp", "to_timestamp")
    names += [f"videos/{key}/{end}" for key in cameras for end in ends]
    rows = collections.defaultdict(list)
    for file in sorted((root / "meta/episodes").glob("*/*.parquet")):
        for name, values in _read_table(file, names).items():
            rows[name] += values
    file_starts: dict[Path, int] = {}  # number of a file's first row in the whole dataset
    episodes = [dict(zip(rows, values, strict=True)) for values in zip(*rows.values(), strict=True)]
    for row in sorted(episodes, key=lambda row: row["dataset_from_index"]):
        data = _fill_path(root, info["data_path"], _file_numbers(row, "data"))
        videos = {
            key: VideoPart(
                file=_fill_path(root, info["video_path"], _file_numbers(row, f"videos/{key}") | {"video_key": key}),
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
            first_row=start - file_starts.setdefault(data, start),
            videos=videos,
        )


def _file_numbers(row: Mapping[str, Any], prefix: str) -> dict[str, int]:
    """Return {`chunk_index`: number, `file_index`: number} from the columns `PREFIX/chunk_index` and so on of a row."""
    return {name: int(row[f"{prefix}/{name}"]) for name in ("chunk_index", "file_index")}


def _fill_path(root: Path, template: str, values: Mapping[str, Any]) -> Path:
    """Fill the placeholders of a path template and return the path below `root`.

    Only the forms `{name}`, `{name:03d}` and `{name:3d}` are replaced, with any one digit for the width 3; the last two
    both pad with zeros. `str.format` would also evaluate attributes and any width, which is unsafe for a
    template from a downloaded file.

    Raises:
      KeyError: `values` lacks the name of a placeholder.
      SourceError: The path leads out of `root`.
    """

    def fill(placeholder: re.Match) -> str:
        value, width = values[placeholder[1]], placeholder[2]
        return f"{value:0{width}d}" if width else str(value)

    return _path_within(root, _PLACEHOLDER.sub(fill, template))


@functools.lru_cache(maxsize=1024)  # many episodes share a file
def _path_within(root: Path, name: str) -> Path:
    """Return `root / name`; raise SourceError if it leads out of `root`, by `..` or by a link. See `resolve_within`."""
    resolve_within(root, name)
    return root / name


def _read_json_lines(file: Path) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in file.read_text().splitlines() if line.strip())


def _read_table(file: Path, columns: list[str] | None = None) -> dict[str, list[Any]]:
    """Return {column: values} of a Parquet file, for the named columns, or for all columns if `columns` is None.

    Raises:
      SourceError: The file is missing or damaged, or lacks a named column.
    """
    import pyarrow.parquet as pq

    try:
        with reject_arrow_errors(str(file)), pq.ParquetFile(file) as parquet:
            table = parquet.read(columns).to_pydict()
    except EpisodeRejected as error:
        raise SourceError(f"{error}. Download it again.") from None
    if missing := [name for name in columns or () if name not in table]:
        raise SourceError(f"cannot read {file}: it has no column {missing[0]!r}. Download or convert it again.")
    return table
