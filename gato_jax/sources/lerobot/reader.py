"""LeRobot datasets, formats v2.0, v2.1 and v3.0, images in videos or in Parquet, read an episode at a time."""

from __future__ import annotations

import dataclasses
import functools
import logging
from pathlib import Path
from typing import Any

import numpy as np

from gato_jax.episodes import Episode
from gato_jax.episodes.errors import nearest
from gato_jax.sources.assembly import assemble, require_increasing
from gato_jax.sources.fields import Fields, split_path
from gato_jax.sources.lerobot.inferred import TASK, infer_fields
from gato_jax.sources.lerobot.metadata import LeRobotEpisode, LeRobotMetadata, read_metadata
from gato_jax.sources.parquet.table import count_rows, get_column, read_rows, to_values
from gato_jax.sources.reader import EpisodeRejected, RecordedEpisodes, Rejection, SourceError, fingerprint_files
from gato_jax.sources.video import episode_frames

_log = logging.getLogger(__name__)
_ALWAYS = ("frame_index", "episode_index", "timestamp")
_DONE, _TERMINAL = "next.done", "is_terminal"
_PATIENCE = 2.0  # seconds without a progress bar


def open_lerobot(where: str | Path, split: str = "train", *, fields: Fields | None = None) -> RecordedEpisodes:
    """Opens one split of a LeRobot dataset.

    Args:
      where: the dataset's folder, which holds `meta/info.json`.
      split: of those that info.json names.
      fields: named as LeRobot names its features; `task` is the instruction. None takes all that info.json declares,
        with images of 64 by 64, and logs what it assumed; see `inferred.infer_fields`.

    Returns:
      The episodes. Where there is a `next.done`, one that ends without it was cut off, and its last step is not
      terminal.

    Raises:
      SourceError: no dataset of these formats, no such split or field, a path that leads out of the folder, or no
        episode that can be read. Damaged episodes are in `rejected`; what is seen only when one is read, as damage in a
        video, is an EpisodeRejected then.
    """
    metadata = read_metadata(Path(where))
    if fields is None:
        fields, notes = infer_fields(metadata)
        for note in notes:
            _log.info("%s: %s", where, note)
    plan = _Plan.of(fields, metadata)
    places, rejected = _check_all(_of_split(metadata, split), plan, str(where))
    if not places:
        first = (
            f"the first of {len(rejected)}: {rejected[0].location}: {rejected[0].reason}" if rejected else "it is empty"
        )
        raise SourceError(f"{where}: split {split!r} has no episode that can be read; {first}")
    return RecordedEpisodes(
        spec=fields.spec,
        split=split,
        addresses=places,
        lengths=np.array([place.length for place in places], np.int64),
        fingerprint=_fingerprint(metadata, places, split, fields),
        read=functools.partial(_read, plan),
        rejected=tuple(rejected),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Plan:
    """What is read of each episode: columns of the Parquet file, and cameras whose images lie in videos."""

    fields: Fields
    columns: tuple[str, ...]
    cameras: frozenset[str]
    tasks: dict[int, str]
    fps: float

    @classmethod
    def of(cls, fields: Fields, metadata: LeRobotMetadata) -> _Plan:
        paths = [path for side in (fields.observation, fields.action) for path, _ in side.values()]
        paths += [path for path in (fields.reward, fields.success, fields.timestamps) if path is not None]
        names = {split_path(path)[0] for path in paths}
        if unknown := sorted(names - {TASK, *metadata.features}):
            near = nearest(unknown[0], [TASK, *metadata.features])
            raise SourceError(f"{metadata.root}: has no feature {unknown[0]!r}; nearest known: {near}")
        cameras = frozenset(name for name in names if metadata.is_video(name))
        columns = {*_ALWAYS, *(names - cameras - {TASK}), *({_DONE} & set(metadata.features))}
        if TASK in names:
            columns.add("task_index")
        return cls(
            fields=fields,
            columns=tuple(sorted(columns)),
            cameras=cameras,
            tasks=dict(metadata.tasks),
            fps=metadata.fps,
        )


def _of_split(metadata: LeRobotMetadata, split: str) -> list[LeRobotEpisode]:
    if split not in metadata.splits:
        raise SourceError(f"{metadata.root}: no split {split!r}; it has {', '.join(metadata.splits) or 'none'}")
    return [episode for episode in metadata.episodes if episode.index in metadata.splits[split]]


def _check_all(episodes: list[LeRobotEpisode], plan: _Plan, where: str) -> tuple[list[LeRobotEpisode], list[Rejection]]:
    """The episodes whose files are there and large enough, and the others."""
    import tqdm

    places, rejected = [], []
    for episode in tqdm.tqdm(episodes, desc=f"{where}: files", unit=" episodes", delay=_PATIENCE):
        try:
            _check(episode, plan)
            places.append(episode)
        except EpisodeRejected as error:
            rejected.append(Rejection(error.location, error.reason))
    return places, rejected


def _check(episode: LeRobotEpisode, plan: _Plan) -> None:
    where = episode.where
    if episode.length < 1:
        raise EpisodeRejected(where, "it has no steps")
    rows = count_rows(episode.data, where)
    if rows < episode.first_row + episode.length:
        raise EpisodeRejected(where, f"its file has {rows} rows, it would end at {episode.first_row + episode.length}")
    for camera in sorted(plan.cameras):
        video = episode.videos[camera]
        if not video.file.is_file():
            raise EpisodeRejected(where, f"there is no {video.file}; download it again")
        frames = episode.length if video.stop is None else (video.stop - video.start) * plan.fps
        if not abs(frames - episode.length) < 0.5:
            raise EpisodeRejected(where, f"{camera!r} has {frames:.1f} frames for {episode.length} steps")


def _read(plan: _Plan, episode: LeRobotEpisode) -> Episode:
    where, start = episode.where, episode.first_row
    table = read_rows(episode.data, start, start + episode.length, plan.columns, where)

    def column(name: str) -> Any:
        if name == TASK:
            return _instructions(scalars("task_index").tolist(), plan.tasks, where)
        if name == _TERMINAL:  # `next.done` goes on being true in some recordings
            return scalars(_DONE).astype(bool) & (np.arange(episode.length) == episode.length - 1)
        if name in plan.cameras:
            video = episode.videos[name]
            return episode_frames(video.file, video.start + times, plan.fps, where, whole=video.stop is None)
        return to_values(get_column(table, name, where), name, where)

    def scalars(name: str) -> np.ndarray:
        return np.ravel(column(name))  # some writers make lists of one of them

    for name, right in (
        ("frame_index", range(episode.length)),
        ("episode_index", [episode.index] * episode.length),
    ):
        if not np.array_equal(found := scalars(name), right):
            raise EpisodeRejected(where, f"its {name} is {found.tolist()!r:.60}, not {list(right)!r:.60}")
    require_increasing(scalars("timestamp"), episode.length, where)
    times = scalars("timestamp").astype(np.float64)
    return assemble(plan.fields, column, where, step_flags=(_TERMINAL,) if _DONE in plan.columns else ())


def _instructions(numbers: list[int], tasks: dict[int, str], where: str) -> list[str]:
    if unknown := sorted(set(numbers) - set(tasks)):
        raise EpisodeRejected(where, f"task_index {unknown[0]} is none of the {len(tasks)} tasks")
    return [tasks[number] for number in numbers]


def _fingerprint(metadata: LeRobotMetadata, places: list[LeRobotEpisode], split: str, fields: Fields) -> str:
    """Over metadata and data at both ends, and of videos, which are many and large, over names and sizes."""
    data = list(dict.fromkeys(place.data for place in places))
    videos = sorted({video.file for place in places for video in place.videos.values() if video.file.is_file()})
    sizes = [(str(file.relative_to(metadata.root)), file.stat().st_size) for file in videos]
    return fingerprint_files([*metadata.files, *data], split, fields.to_json(), sizes)
