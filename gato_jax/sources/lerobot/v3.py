"""Tasks and episodes of LeRobot datasets of v3.0: Parquet tables, and files that hold several episodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gato_jax.sources.lerobot.entries import LeRobotEpisode, VideoPart, fill_path
from gato_jax.sources.parquet.table import reject_arrow_errors
from gato_jax.sources.reader import EpisodeRejected, Rejection, SourceError


def read_v3_tasks(root: Path) -> Iterator[tuple[int, str] | Rejection]:
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


def read_v3_episodes(root: Path, info: Mapping[str, Any], cameras: list[str]) -> Iterator[LeRobotEpisode | Rejection]:
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
        data, start = fill_path(root, info["data_path"], _file_numbers(row, "data")), int(row["dataset_from_index"])
        first_row = start - file_starts.setdefault(data, start)
        if missing:
            continue
        videos = {
            key: VideoPart(
                file=fill_path(root, info["video_path"], _file_numbers(row, f"videos/{key}") | {"video_key": key}),
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
