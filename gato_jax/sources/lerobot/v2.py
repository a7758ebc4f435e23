"""Tasks and episodes of LeRobot datasets of v2.0 and v2.1: JSON Lines, and files of its own for each episode."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gato_jax.episodes.errors import describe_error
from gato_jax.sources.lerobot.entries import LeRobotEpisode, VideoPart, fill_path, read_integer, read_lines
from gato_jax.sources.reader import Rejection


def read_v2_tasks(root: Path) -> Iterator[tuple[int, str] | Rejection]:
    """Yield (task_index, instruction) from each line of `meta/tasks.jsonl` of v2.0 and v2.1; a rejection if damaged.

    Raises:
      OSError: The file is missing or cannot be read.
    """
    for location, line in read_lines(root / "meta/tasks.jsonl"):
        try:
            row = json.loads(line)
            index, text = read_integer(row, "task_index"), row["task"]
            if not isinstance(text, str):
                raise TypeError(f"task is {text!r}, expected text")
            yield index, text
        except (LookupError, TypeError, ValueError) as error:
            yield Rejection(location, f"it holds no task_index and task ({describe_error(error)})")


def read_v2_episodes(root: Path, info: Mapping[str, Any], cameras: list[str]) -> Iterator[LeRobotEpisode | Rejection]:
    """Yield the episodes of v2.0 and v2.1, in which each episode has its own files, in the order of `episodes.jsonl`.

    A damaged line yields a rejection.

    Args:
      root: Folder of the dataset.
      info: Parsed info.json.
      cameras: Names of the features that are videos.

    Raises:
      SourceError: A path leads out of `root`.
    """
    for location, line in read_lines(root / "meta/episodes.jsonl"):
        try:
            row = json.loads(line)
            index, length = read_integer(row, "episode_index"), read_integer(row, "length")
        except (LookupError, TypeError, ValueError) as error:
            yield Rejection(location, f"it holds no episode_index and length ({describe_error(error)})")
            continue
        numbers = {"episode_index": index, "episode_chunk": index // int(info["chunks_size"])}
        videos = {
            key: VideoPart(file=fill_path(root, info["video_path"], numbers | {"video_key": key})) for key in cameras
        }
        yield LeRobotEpisode(
            index=index,
            length=length,
            data=fill_path(root, info["data_path"], numbers),
            first_row=0,
            videos=videos,
        )
