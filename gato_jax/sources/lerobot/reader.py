"""Random access to the episodes of LeRobot datasets (v2.0, v2.1, v3.0), with images in videos or in Parquet files."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from gato_jax.episodes import Episode
from gato_jax.episodes.errors import nearest
from gato_jax.sources.assembly import assemble, require_increasing
from gato_jax.sources.fields import Fields
from gato_jax.sources.lerobot.contents import find_left_out, missing_episodes
from gato_jax.sources.lerobot.entries import LeRobotEpisode
from gato_jax.sources.lerobot.inferred import TASK, infer_fields
from gato_jax.sources.lerobot.metadata import LeRobotMetadata, read_metadata
from gato_jax.sources.parquet.table import count_rows, get_column, read_rows, to_values
from gato_jax.sources.reader import (
    EpisodeRejected,
    NoSplitError,
    RecordedEpisodes,
    Rejection,
    SourceError,
    fingerprint_files,
)
from gato_jax.sources.video import episode_frames

_log = logging.getLogger(__name__)
_BOOKKEEPING = ("frame_index", "episode_index", "timestamp")  # columns that every episode is checked by
_DONE, _TERMINAL = "next.done", "is_terminal"
_PROGRESS_DELAY = 2.0  # seconds until the progress bar appears


def open_lerobot(path: str | Path, split: str = "train", *, fields: Fields | None = None) -> RecordedEpisodes:
    """Open one split of a LeRobot dataset.

    Args:
      path: Folder of the dataset, which contains `meta/info.json`.
      split: Name of a split in info.json.
      fields: Fields that name LeRobot's features; the instruction has the name `task`. None infers them from info.json,
        with images of 64 by 64 pixels, and logs all assumptions; see `infer_fields`.

    Returns:
      The episodes whose files exist and are long enough; the other episodes are in `rejected`. The last step of an
      episode is terminal, unless the dataset has a feature `next.done` that is false there.

    Raises:
      SourceError: The folder is not a dataset of format v2.0, v2.1 or v3.0, the split or a field does not exist, the
        fields cannot be inferred, a path leads out of the folder, or the split has no episode whose files exist. Damage
        within a file, for example in a video, is found when the episode is read, and raises EpisodeRejected then.
    """
    metadata = read_metadata(Path(path))
    if fields is None:
        fields, notes = infer_fields(metadata)
        for note in notes:
            _log.info("%s: %s", path, note)
    plan = _ReadPlan.build(fields, metadata)
    episodes, rejected = _check_all(_episodes_of_split(metadata, split), plan, str(path))
    rejected = [*metadata.rejected, *rejected, *missing_episodes(metadata, split)]
    if not episodes:
        first = (
            f"The first of {len(rejected)} rejected episodes: {rejected[0].location}: {rejected[0].reason}"
            if rejected
            else "It is empty."
        )
        raise SourceError(f"cannot open {path}: split {split!r} has no episode that can be read. {first}")
    return RecordedEpisodes(
        spec=fields.spec,
        split=split,
        addresses=episodes,
        lengths=np.array([episode.length for episode in episodes], np.int64),
        fingerprint=_fingerprint(metadata, episodes, split, fields, plan.cameras),
        read=functools.partial(_read, plan),
        rejected=tuple(rejected),
        fields=fields,
        find_left_out=functools.partial(find_left_out, metadata, split, fields, plan.columns, episodes),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _ReadPlan:
    """Everything that reading an episode takes besides its location.

    Attributes:
      fields: Fields of the episodes.
      columns: Sorted names of the columns of the Parquet file to read.
      cameras: Names of the features to read from videos.
      tasks: {task_index: instruction}.
      missing_tasks: Sentence that says why instructions are missing, "" if none are.
      fps: Steps per second.
    """

    fields: Fields
    columns: tuple[str, ...]
    cameras: frozenset[str]
    tasks: dict[int, str]
    missing_tasks: str
    fps: float

    @classmethod
    def build(cls, fields: Fields, metadata: LeRobotMetadata) -> _ReadPlan:
        """Find the columns and cameras that `fields` need; raise SourceError if the dataset lacks a named feature."""
        names = {path.name for path, _ in fields.paths}
        if unknown := sorted(names - {TASK, *metadata.features}):
            near = nearest(unknown[0], [TASK, *metadata.features])
            raise SourceError(
                f"cannot read fields from {metadata.root}: it has no feature {unknown[0]!r}; nearest known: {near}"
            )
        cameras = frozenset(name for name in names if metadata.is_video(name))
        columns = {*_BOOKKEEPING, *(names - cameras - {TASK}), *({_DONE} & set(metadata.features))}
        if TASK in names:
            columns.add("task_index")
            if not metadata.tasks:
                raise SourceError(
                    f"cannot read the instructions of {metadata.root}: {metadata.missing_tasks or 'it lists none'}. "
                    f"Download it again, or give fields without {TASK!r}."
                )
        return cls(
            fields=fields,
            columns=tuple(sorted(columns)),
            cameras=cameras,
            tasks=dict(metadata.tasks),
            missing_tasks=metadata.missing_tasks,
            fps=metadata.fps,
        )


def _episodes_of_split(metadata: LeRobotMetadata, split: str) -> list[LeRobotEpisode]:
    """Return the episodes of a split, in the order of `metadata`; raise SourceError if the dataset does not have it."""
    if split not in metadata.splits:
        splits = ", ".join(metadata.splits) or "none"
        raise NoSplitError(f"cannot open {metadata.root}: it has no split {split!r}. Its splits: {splits}.")
    return [episode for episode in metadata.episodes if episode.index in metadata.splits[split]]


def _check_all(
    episodes: list[LeRobotEpisode], plan: _ReadPlan, path: str
) -> tuple[list[LeRobotEpisode], list[Rejection]]:
    """Split episodes into those whose files exist and are long enough, and rejections of the others.

    `path` is the label of the progress bar.
    """
    import tqdm

    readable, rejected = [], []
    for episode in tqdm.tqdm(episodes, desc=f"{path}: files", unit=" episodes", delay=_PROGRESS_DELAY):
        try:
            _check(episode, plan)
            readable.append(episode)
        except EpisodeRejected as error:
            rejected.append(Rejection(error.location, error.reason))
    return readable, rejected


def _check(episode: LeRobotEpisode, plan: _ReadPlan) -> None:
    """Raise EpisodeRejected if the episode has no steps, a file of it is missing, or its Parquet file is too short.

    A video must exist, but is not opened. The declared times of its part, if the part has an end, must be those of one
    frame for each step, with a tolerance of less than half a frame.
    """
    location = episode.location
    if episode.length < 1:
        raise EpisodeRejected(location, "it has no steps, expected 1 or more")
    rows = count_rows(episode.data, location)
    if rows < (stop := episode.first_row + episode.length):
        raise EpisodeRejected(location, f"its file has {rows} rows, expected {stop} or more. Download it again.")
    for camera in sorted(plan.cameras):
        video = episode.videos[camera]
        if not video.file.is_file():
            raise EpisodeRejected(location, f"its video {video.file} does not exist. Download it again.")
        frames = episode.length if video.stop is None else (video.stop - video.start) * plan.fps
        if not abs(frames - episode.length) < 0.5:
            raise EpisodeRejected(
                location, f"{camera!r} has {frames:.1f} frames, expected one for each of {episode.length} steps"
            )


def _read(plan: _ReadPlan, episode: LeRobotEpisode) -> Episode:
    """Read an episode from its Parquet file and videos, or raise EpisodeRejected if it is damaged."""
    location, start = episode.location, episode.first_row
    table = read_rows(episode.data, start, start + episode.length, plan.columns, location)

    def column(name: str) -> Any:
        if name == TASK:
            return _instructions(scalars("task_index").tolist(), plan, location)
        if name == _TERMINAL:  # in some recordings `next.done` is true at steps before the last
            return scalars(_DONE).astype(bool) & (np.arange(episode.length) == episode.length - 1)
        if name in plan.cameras:
            video = episode.videos[name]
            return episode_frames(video.file, video.start + times, plan.fps, location, whole=video.stop is None)
        return to_values(get_column(table, name, location), name, location)

    def scalars(name: str) -> np.ndarray:
        return np.ravel(column(name))  # some writers store numbers as lists of one number

    for name, expected in (
        ("frame_index", range(episode.length)),
        ("episode_index", [episode.index] * episode.length),
    ):
        if not np.array_equal(found := scalars(name), expected):
            raise EpisodeRejected(location, f"its {name} is {found.tolist()!r:.60}, expected {list(expected)!r:.60}")
    require_increasing(scalars("timestamp"), episode.length, location)
    times = scalars("timestamp").astype(np.float64)
    return assemble(plan.fields, column, location, step_flags=(_TERMINAL,) if _DONE in plan.columns else ())


def _instructions(numbers: list[int], plan: _ReadPlan, location: str) -> list[str]:
    """Return the instruction of each task_index in `numbers`; raise EpisodeRejected if one is not among the tasks."""
    if unknown := sorted(set(numbers) - set(plan.tasks)):
        because = f" ({plan.missing_tasks})" if plan.missing_tasks else ""
        raise EpisodeRejected(
            location, f"its task_index is {unknown[0]}, expected one of the {len(plan.tasks)} tasks{because}"
        )
    return [plan.tasks[number] for number in numbers]


def _fingerprint(
    metadata: LeRobotMetadata, episodes: list[LeRobotEpisode], split: str, fields: Fields, cameras: Collection[str]
) -> str:
    """Return a digest of the metadata, of data files and of the videos of `cameras`, of the split and of the fields.

    The videos are those of the episodes; a file that holds several episodes is covered as a whole.
    """
    data = dict.fromkeys(episode.data for episode in episodes)
    videos = dict.fromkeys(episode.videos[camera].file for camera in sorted(cameras) for episode in episodes)
    files = [*metadata.files, *data, *videos]
    names = [str(file.relative_to(metadata.root)) for file in files]
    return fingerprint_files(files, split, fields.to_json(), names, label=str(metadata.root))
