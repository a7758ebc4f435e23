"""Shards of a recording: the files in which other processes or machines keep the episodes that they have played."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

from gato_jax.episodes import StoreError
from gato_jax.episodes.differences import require_same
from gato_jax.episodes.journal import EpisodeJournal
from gato_jax.episodes.tfds_writer import disk_errors
from gato_jax.episodes.writer import EncodedEpisode, EpisodeEncoder
from gato_jax.rollouts.actor import Actor, ActorFailure
from gato_jax.rollouts.loop import Crash, Load
from gato_jax.rollouts.play import play_all
from gato_jax.rollouts.recording import Recording, read_json
from gato_jax.runtime.atomic_writes import atomic_file

SHARDS = "shards"  # in the work folder


class ShardError(ValueError):
    """A shard that a worker cannot record; the message names the difference to the recording and the remedy."""


@dataclasses.dataclass(frozen=True)
class ShardFailure:
    """An episode of a shard that failed.

    Attributes:
      seed: Seed of the episode.
      reason: Kind and text of the error.
      gave_up: True if the actor gave the episode up.
    """

    seed: int
    reason: str
    gave_up: bool = False


@dataclasses.dataclass(frozen=True)
class Shard:
    """Some episodes of a recording that one worker plays one after the other.

    The episodes are kept in `shards/FIRST-LAST.tfrecord` of the work folder, a journal, and the failures in a JSON file
    beside it, which is written last.

    Attributes:
      recording: The recording.
      seeds: Seeds of the episodes.
      settings: `Recording.settings` of the process that planned the shard, which those of the worker must equal.
    """

    recording: Recording
    seeds: tuple[int, ...]
    settings: dict[str, Any]

    @property
    def entry_file(self) -> pathlib.Path:
        """File that marks the shard as finished."""
        return self.recording.work_folder / SHARDS / f"{self.seeds[0]:07}-{self.seeds[-1]:07}.json"

    @property
    def is_finished(self) -> bool:
        return self.entry_file.exists()


def plan_shards(recording: Recording, seeds: list[int], shard_episodes: int) -> list[Shard]:
    """Divide the missing seeds of a recording into shards of at most so many episodes, in order."""
    starts = range(0, len(seeds), shard_episodes)
    settings = json.loads(json.dumps(recording.settings))
    return [Shard(recording, tuple(seeds[start : start + shard_episodes]), settings) for start in starts]


def play_shard(shard: Shard, make_actor: Callable[[], Actor], load: Load):
    """Play the episodes of a shard and write its files; an episode that fails costs itself alone.

    Raises:
      ShardError: This machine lacks the work folder, or would record with other settings.
      StoreError: The disk refuses.
    """
    recording, folder = shard.recording, shard.recording.work_folder
    if not folder.is_dir():
        raise ShardError(f"{folder}: missing here. Choose an --output that all workers of Beam see.")
    require_same(
        json.loads(json.dumps(recording.settings)), shard.settings, holder="the recording", error=ShardError,
        problem=f"{folder}: this worker would record with other settings",
        remedy="install the same packages and use the same renderer on all workers",
    )  # fmt: skip
    if shard.is_finished:
        return
    encoder, failures = EpisodeEncoder(recording.spec), list[ShardFailure]()
    starts = [(recording.spec.name, seed) for seed in shard.seeds]
    with (
        disk_errors(folder),
        atomic_file(shard.entry_file.with_suffix(".tfrecord"), shared=True) as partial,
        EpisodeJournal(partial) as journal,
    ):
        for job, result in play_all(make_actor, starts, load=load, contain=True):
            if isinstance(result, ActorFailure):
                failures.append(ShardFailure(job.seed, str(result), gave_up=True))
                continue
            if isinstance(result, Crash):
                failures.append(ShardFailure(job.seed, f"{type(result.error).__name__}: {result.error}"))
                continue
            try:
                encoded = encoder.encode(result, f"the episode of seed {job.seed}")
            except StoreError as error:
                failures.append(ShardFailure(job.seed, str(error)))
            else:
                journal.add(job.seed, encoded)
    entry = {"seeds": shard.seeds, "failures": [dataclasses.asdict(failure) for failure in failures]}
    with disk_errors(folder), atomic_file(shard.entry_file, shared=True) as written:
        written.write_text(json.dumps(entry))


def finished_shards(
    work_folder: pathlib.Path,
) -> Iterator[tuple[Iterator[tuple[int, EncodedEpisode]], list[ShardFailure]]]:
    """Yield the episodes, as (seed, episode), and the failures of each finished shard, and then remove its files."""
    for entry_file in sorted((work_folder / SHARDS).glob("*.json")):
        entry = read_json(entry_file)
        if entry is not None:  # else it was cut short by a crash of the machine
            with EpisodeJournal(entry_file.with_suffix(".tfrecord")) as journal:
                yield _episodes(journal, entry["seeds"]), [ShardFailure(**failure) for failure in entry["failures"]]
        with disk_errors(work_folder):
            entry_file.unlink()
            entry_file.with_suffix(".tfrecord").unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # a worker of an earlier call may still write there
        (work_folder / SHARDS).rmdir()


def _episodes(journal: EpisodeJournal, seeds: list[int]) -> Iterator[tuple[int, EncodedEpisode]]:
    for seed in seeds:
        if seed in journal and (episode := journal.read(seed)) is not None:
            yield seed, episode
