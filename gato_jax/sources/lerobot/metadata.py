"""Metadata of a LeRobot dataset (v2.0, v2.1, v3.0): features, tasks, and the files of each episode."""

from __future__ import annotations

import collections
import dataclasses
import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gato_jax.episodes.errors import describe_error
from gato_jax.sources.files import resolve_within
from gato_jax.sources.parquet.table import reject_arrow_errors
from gato_jax.sources.reader import EpisodeRejected, Rejection, SourceError

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
        try:
            if by_dataset.is_file():
                statistics = [json.loads(by_dataset.read_text())[feature]]
            else:
                statistics = [json.loads(line)["stats"][feature] for _, line in _read_lines(by_episode)]
            low = np.min([np.ravel(one["min"]) for one in statistics], axis=0)
            high = np.max([np.ravel(one["max"]) for one in statistics], axis=0)
            low, high = np.stack([low, high]).astype(np.float64)
        except (OSError, LookupError, TypeError, ValueError) as error:
            raise SourceError(
                f"cannot find the limits of {feature!r}: {self.root} has no statistics of it "
                f"({describe_error(error)}). Give fields with limits."
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
        raise SourceError(
            f"cannot open {root}: {root / 'meta'} lists {len(entries)} of {count} episodes. Download it again."
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


def _v2_tasks(root: Path) -> Iterator[tuple[int, str] | Rejection]:
    """Yield (task_index, instruction) from each line of `meta/tasks.jsonl` of v2.0 and v2.1; a rejection if damaged.

    Raises:
      OSError: The file is missing or cannot be read.
    """
    for location, line in _read_lines(root / "meta/tasks.jsonl"):
        try:
            row = json.loads(line)
            yield int(row["task_index"]), str(row["task"])
        except (LookupError, TypeError, ValueError) as error:
            yield Rejection(location, f"it holds no task_index and task ({describe_error(error)})")


def _v3_tasks(root: Path) -> Iterator[tuple[int, str] | Rejection]:
    """Yield (task_index, instruction) from each row of `meta/tasks.parquet` of v3.0; a rejection if it is damaged.

    Raises:
      SourceError: The file is missing or damaged, or lacks a column.
    """
    table = _read_table(root / "meta/tasks.parquet")
    texts = [name for name in table if name != "task_index"]  # `task`, or the unnamed index of a pandas table
    if len(texts) != 1 or len(table) != 2:
        raise SourceError(f"{root / 'meta/tasks.parquet'}: its columns are {list(table)}, expected task_index and task")
    for number, (index, text) in enumerate(zip(table["task_index"], table[texts[0]], strict=True)):
        if isinstance(index, int) and isinstance(text, str):
            yield index, text
        else:
            yield Rejection(f"{root / 'meta/tasks.parquet'}, row {number}", "it holds no task_index and task")


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


def _v2_episodes(root: Path, info: Mapping[str, Any], cameras: list[str]) -> Iterator[LeRobotEpisode | Rejection]:
    """Yield the episodes of v2.0 and v2.1, in which each episode has its own files, in the order of `episodes.jsonl`.

    A damaged line yields a rejection.

    Args:
      root: Folder of the dataset.
      info: Parsed info.json.
      cameras: Names of the features that are videos.

    Raises:
      SourceError: A path leads out of `root`.
    """
    for location, line in _read_lines(root / "meta/episodes.jsonl"):
        try:
            row = json.loads(line)
            index, length = int(row["episode_index"]), int(row["length"])
        except (LookupError, TypeError, ValueError) as error:
            yield Rejection(location, f"it holds no episode_index and length ({describe_error(error)})")
            continue
        numbers = {"episode_index": index, "episode_chunk": index // int(info["chunks_size"])}
        videos = {
            key: VideoPart(file=_fill_path(root, info["video_path"], numbers | {"video_key": key})) for key in cameras
        }
        yield LeRobotEpisode(
            index=index,
            length=length,
            data=_fill_path(root, info["data_path"], numbers),
            first_row=0,
            videos=videos,
        )


def _v3_episodes(root: Path, info: Mapping[str, Any], cameras: list[str]) -> Iterator[LeRobotEpisode | Rejection]:
    """Yield the episodes of v3.0, in which a file may hold several episodes, by ascending `dataset_from_index`.

    A row without one of the values yields a rejection.

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
    place = ("data/chunk_index", "data/file_index", "dataset_from_index")
    entries = []
    for file in sorted((root / "meta/episodes").glob("*/*.parquet")):
        table = _read_table(file, names)
        for number, values in enumerate(zip(*(table[name] for name in names), strict=True)):
            row = dict(zip(names, values, strict=True))
            missing = [name for name, value in row.items() if value is None]
            if missing:
                yield Rejection(f"{file}, row {number}", f"its {missing[0]} is null")
            if not set(missing) & set(place):
                entries.append((row, missing))
    file_starts: dict[Path, int] = {}  # number of a file's first row in the whole dataset
    for row, missing in sorted(entries, key=lambda entry: entry[0]["dataset_from_index"]):
        data, start = _fill_path(root, info["data_path"], _file_numbers(row, "data")), int(row["dataset_from_index"])
        first_row = start - file_starts.setdefault(data, start)
        if missing:
            continue
        videos = {
            key: VideoPart(
                file=_fill_path(root, info["video_path"], _file_numbers(row, f"videos/{key}") | {"video_key": key}),
                start=float(row[f"videos/{key}/from_timestamp"]),
                stop=float(row[f"videos/{key}/to_timestamp"]),
            )
            for key in cameras
        }
        yield LeRobotEpisode(
            index=int(row["episode_index"]),
            length=int(row["length"]),
            data=data,
            first_row=first_row,
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


def _read_lines(file: Path) -> Iterator[tuple[str, bytes]]:
    """Yield location, for messages, and content of each line of a file that is not blank. Lines end at newlines only.

    Raises:
      OSError: The file is missing or cannot be read.
    """
    for number, line in enumerate(file.read_bytes().split(b"\n"), start=1):
        if line.strip():
            yield f"{file}, line {number}", line


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
