"""The recording of a task's episodes as a dataset, which goes on after a kill instead of starting over."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import logging
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

from tqdm import tqdm

from gato_jax.environments import (
    RECORDING_SEEDS,
    Environment,
    Randomisation,
    is_rendered,
    package_versions,
    randomise,
)
from gato_jax.environments import load as load_task
from gato_jax.environments.rendering import describe_renderer
from gato_jax.episodes import DatasetError, StoreError, TaskSpec, dataset_name, open_dataset
from gato_jax.episodes.differences import require_same
from gato_jax.episodes.journal import EpisodeJournal
from gato_jax.episodes.tfds_writer import disk_errors
from gato_jax.episodes.writer import EncodedEpisode, EpisodeEncoder, check_destination, write_encoded
from gato_jax.rollouts.actor import Actor, ActorFailure
from gato_jax.rollouts.loop import Load
from gato_jax.rollouts.play import failure_error, play_as_they_end
from gato_jax.runtime import writer_lock
from gato_jax.runtime.atomic_writes import atomic_file, remove_if_empty

RECORDING_FILE = "recording.json"  # in the work folder, and in the folder of the dataset
_JOURNAL_FILE = "episodes.tfrecord"
_SCHEMA = 2

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recording:
    """A dataset to record: a task, who plays it, and the seeds of the episodes.

    While it is recorded, its episodes are in the work folder `VERSION.recording` beside the folder of the dataset.

    Attributes:
      root: Folder of the datasets.
      spec: The task.
      actor: Who plays, as `Actor.describe` states it.
      agent: Digest of the parameters of an agent that plays; None for other actors.
      seeds: Seeds of the episodes, consecutive ones of RECORDING_SEEDS, so that no agent is trained on an episode that
        agents are scored on.
      successes_only: True to keep only episodes that succeed, and those of tasks without a success.
      randomisation: Values that are drawn for each episode; None plays the task as it is.
      version: Version of the dataset.

    Raises:
      ValueError: `seeds` are not such a range.
    """

    root: pathlib.Path
    spec: TaskSpec
    actor: str
    seeds: range
    agent: str | None = None
    successes_only: bool = False
    randomisation: Randomisation | None = None
    version: str = "1.0.0"

    def __post_init__(self):
        if not self.seeds or self.seeds.step != 1 or self.seeds[0] < 0 or self.seeds[-1] not in RECORDING_SEEDS:
            raise ValueError(
                f"seeds is {self.seeds}, expected consecutive seeds from 0 to {RECORDING_SEEDS[-1]}. Later ones are "
                "kept for evaluation."
            )

    @property
    def directory(self) -> pathlib.Path:
        """Folder of the dataset, `ROOT/NAME/VERSION`."""
        return self.root / dataset_name(self.spec.name) / self.version

    @property
    def work_folder(self) -> pathlib.Path:
        """Folder `ROOT/NAME/VERSION.recording` of the episodes that are finished before the dataset is."""
        return self.directory.with_name(f"{self.version}.recording")

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that the episodes follow from except how many there are, in JSON.

        The renderer is named for a task whose observations are rendered, so that no dataset mixes those of two.
        """
        rendered = {"renderer": describe_renderer()} if is_rendered(self.spec.name) else {}
        drawn = {} if self.randomisation is None else {"randomisation": self.randomisation.to_json()}
        return {
            "schema": _SCHEMA,
            "actor": self.actor,
            "agent": self.agent,
            "first_seed": self.seeds[0],
            "packages": list(package_versions(self.spec.name)),
            "task": self.spec.to_json(),
            **rendered,
            **drawn,
        }

    def to_json(self) -> dict[str, Any]:
        """Return everything that the dataset follows from, in JSON."""
        return {**self.settings, "episodes": len(self.seeds), "successes_only": self.successes_only}

    @property
    def is_begun(self) -> bool:
        """True if the work folder holds an unfinished recording with the same settings."""
        return _read_json(self.work_folder / RECORDING_FILE) == json.loads(json.dumps(self.settings))

    @property
    def is_finished(self) -> bool:
        """True if the dataset was recorded with the same settings, from the same seeds."""
        return _read_json(self.directory / RECORDING_FILE) == json.loads(json.dumps(self.to_json()))

    def require_writable(self, *, overwrite: bool = False):
        """Check that `record` can write the dataset, or keep it, or go on with it.

        Args:
          overwrite: Whether a dataset that is there, and an unfinished recording with other settings, may be replaced.

        Raises:
          StoreError: There is a dataset or an unfinished recording with other settings, and `overwrite` is False; or
            the folder holds something that is never replaced, see `check_destination`.
        """
        held, begun = _read_json(self.directory / RECORDING_FILE), _read_json(self.work_folder / RECORDING_FILE)
        if held is not None and not overwrite:
            require_same(
                self.to_json(), held, problem=f"{self.directory}: already there, recorded with other settings",
                holder=RECORDING_FILE, error=StoreError,
                remedy="name another --output, whose dataset a config can list beside this one, or replace this one "
                "(--overwrite)",
            )  # fmt: skip
        else:
            check_destination(self.directory, self.spec, overwrite)
        if begun is not None and not overwrite:
            require_same(
                self.settings, begun, problem=f"{self.work_folder}: an unfinished recording with other settings",
                holder=RECORDING_FILE, error=StoreError,
                remedy="go on with the same settings, name another --output, or start over (--overwrite)",
            )  # fmt: skip


def record(
    recording: Recording,
    make_actor: Callable[[], Actor],
    *,
    environments: int = 1,
    workers: int = 0,
    overwrite: bool = False,
    load: Load = load_task,
) -> pathlib.Path:
    """Play the episodes of a recording under a progress bar, write them as a dataset, and return its folder.

    Each episode is kept in the work folder as it ends. A call after a kill plays the others only, and the dataset is
    the same to the byte as that of an unbroken call. A finished dataset of the same settings is kept as it is, unless
    `overwrite` is set. A call that is to record more episodes than an unfinished one goes on with it.

    Args:
      recording: The dataset to record.
      make_actor: Function that returns a new actor, see `play`.
      environments: As in `play`.
      workers: As in `play`.
      overwrite: Whether to replace a dataset that is there, and an unfinished recording with other settings. One with
        the same settings is gone on with.
      load: As in `play`.

    Raises:
      StoreError: See `Recording.require_writable`; or no episode succeeded; or the disk refuses.
      FolderInUseError: Another process records there.
      ActorFailure: The actor gave an episode up, and `successes_only` is False.
      WorkerError: A worker process died.
    """
    recording.require_writable(overwrite=overwrite)
    folder = recording.work_folder
    try:
        with _locked(folder):
            recording.require_writable(overwrite=overwrite)  # another process may have finished since
            if recording.is_finished and not overwrite:
                _require_readable(recording)
            else:
                _begin(recording)
                with EpisodeJournal(folder / _JOURNAL_FILE) as journal:
                    _play_missing(recording, journal, make_actor, environments, workers, load)
                    _write(recording, journal)
            _clear(folder)
    finally:
        remove_if_empty(folder)
    return recording.directory


@contextlib.contextmanager
def _locked(folder: pathlib.Path) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        with disk_errors(folder):
            stack.enter_context(writer_lock(folder))
        yield


def _begin(recording: Recording):
    """Empty the work folder unless it holds a recording with the same settings, and write these down."""
    folder = recording.work_folder
    if not recording.is_begun:
        _clear(folder)
        with disk_errors(folder), atomic_file(folder / RECORDING_FILE) as written:
            written.write_text(json.dumps(recording.settings))


def _clear(folder: pathlib.Path):
    """Remove the files of a recording from its work folder; first its settings, without which none is gone on with."""
    with disk_errors(folder):
        for name in (RECORDING_FILE, _JOURNAL_FILE):
            (folder / name).unlink(missing_ok=True)


def _play_missing(
    recording: Recording,
    journal: EpisodeJournal,
    make_actor: Callable[[], Actor],
    environments: int,
    workers: int,
    load: Load,
):
    """Play the seeds that the journal lacks, and add each episode to it as it ends."""
    task, total = recording.spec.name, len(recording.seeds)
    starts = [(task, seed) for seed in recording.seeds if _is_missing(journal, seed, recording.successes_only)]
    if done := total - len(starts):
        _log.info("%s: going on with %d of %d episodes in %s", task, done, total, recording.work_folder)
    if not starts:
        return
    if recording.randomisation is not None:
        load = functools.partial(_load_randomised, load, recording.randomisation)
    encoder = EpisodeEncoder(recording.spec)
    played = play_as_they_end(make_actor, starts, environments=environments, workers=workers, load=load)
    with (
        contextlib.closing(played),
        tqdm(total=total, initial=done, desc=f"record {task}", unit="episode") as bar,
    ):
        for job, result in played:
            if isinstance(result, ActorFailure):
                if not recording.successes_only:
                    raise failure_error(job, result) from result
                journal.add(job.seed, None)
            else:
                journal.add(job.seed, encoder.encode(result, f"the episode of seed {job.seed}"))
            bar.update()


def _load_randomised(load: Load, randomisation: Randomisation, task: str) -> Environment:
    return randomise(load(task), randomisation)


def _is_missing(journal: EpisodeJournal, seed: int, successes_only: bool) -> bool:
    """Return whether a seed is still to be played; also if the actor gave it up and each episode is needed."""
    return seed not in journal or (not successes_only and journal.read(seed) is None)


def _write(recording: Recording, journal: EpisodeJournal):
    """Write the dataset of the recorded episodes, in the order of their seeds.

    Raises:
      StoreError: No episode succeeded, and only those are wanted; or the disk refuses.
    """

    def kept() -> Iterator[EncodedEpisode]:
        for seed in recording.seeds:
            episode = journal.read(seed)
            if episode is not None and not (recording.successes_only and episode.row.success == 0):
                yield episode

    if next(kept(), None) is None:
        raise StoreError(
            f"{recording.spec.name}: no episode succeeded. Play more episodes, or remove --successes_only."
        )
    sidecars = {RECORDING_FILE: json.dumps(recording.to_json(), indent=2)}
    write_encoded(recording.directory, recording.spec, {"train": kept()}, sidecars=sidecars)


def _require_readable(recording: Recording):
    try:
        open_dataset(recording.directory)
    except DatasetError as error:
        raise StoreError(f"{error}; record it again with --overwrite") from None


def _read_json(path: pathlib.Path) -> Any:
    """Return the content of a JSON file; None if it is missing or damaged."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
