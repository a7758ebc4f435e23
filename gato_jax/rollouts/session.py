"""The work on one recording in its locked work folder: the missing seeds, the finished episodes, the failures."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import pathlib
import shutil
from collections.abc import Iterator, Sequence
from typing import Any

from gato_jax.episodes import DatasetError, StoreError, open_dataset
from gato_jax.episodes.journal import EpisodeJournal
from gato_jax.episodes.tfds_writer import disk_errors
from gato_jax.episodes.writer import EncodedEpisode, EpisodeEncoder, write_encoded
from gato_jax.rollouts.actor import ActorFailure
from gato_jax.rollouts.job_queue import Job
from gato_jax.rollouts.loop import Crash, Result
from gato_jax.rollouts.play import failure_error
from gato_jax.rollouts.recording import RECORDING_FILE, Recording, read_json
from gato_jax.rollouts.shards import SHARDS, finished_shards
from gato_jax.runtime import writer_lock
from gato_jax.runtime.atomic_writes import atomic_file, remove_if_empty

FAILED_FILE = "failed.json"  # in the folder of a dataset that lacks episodes because they failed
JOURNAL_FILE = "episodes.tfrecord"
_NAMED = 3

_log = logging.getLogger(__name__)


class NothingKeptError(StoreError):
    """A recording of which no episode passes the filters; the message names the task and the remedy."""


class RecordingError(RuntimeError):
    """Recordings whose datasets were not written; the message names the tasks and the remedy."""


@dataclasses.dataclass(frozen=True)
class Failure:
    """An episode that could not be played to its end, or that contradicts the task.

    Attributes:
      seed: Seed of the episode.
      reason: Kind and text of the error.
    """

    seed: int
    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recorded:
    """The end of one recording.

    Attributes:
      recording: The recording.
      directory: Folder of the dataset; None if it was not written, because too many episodes failed or none was kept.
        The finished episodes then stay in the work folder.
      kept: True if the same dataset was there before, so that nothing was played.
      failures: The episodes that failed, which the dataset lacks.
      error: Error of the first failure, or that no episode was kept; None if the dataset was written.
    """

    recording: Recording
    directory: pathlib.Path | None
    kept: bool = False
    failures: tuple[Failure, ...] = ()
    error: Exception | None = None


def require_finished(ended: Sequence[Recorded]):
    """Raise an error if a recording ended without a dataset; if there is a single recording, its own error.

    Raises:
      RecordingError: There are several recordings.
    """
    unfinished = [recorded for recorded in ended if recorded.directory is None]
    if unfinished and len(ended) == 1 and (error := unfinished[0].error) is not None:
        raise error
    if unfinished:
        reasons = "; ".join(map(_describe_end, unfinished[:_NAMED]))
        more = f"; and {len(unfinished) - _NAMED} more" if unfinished[_NAMED:] else ""
        raise RecordingError(
            f"the datasets of {len(unfinished)} of {len(ended)} tasks were not written: {reasons}{more}. Finished "
            "episodes are kept. Run the same command again to play the others, or leave out those that fail by "
            "--max_failed."
        )


def _describe_end(recorded: Recorded) -> str:
    if not recorded.failures:
        return str(recorded.error)
    first = recorded.failures[0]
    return f"{recorded.recording.spec.name}, seed {first.seed}: {first.reason}"


class RecordingSession(contextlib.AbstractContextManager):
    """The only writer of a recording, from its first missing episode until its dataset is written.

    Args:
      recording: The recording.
      overwrite: As in `record`.
      max_failed: Share of the episodes that may fail.

    Attributes:
      recording: The recording.
      failures: The episodes that failed so far.
      missing: Seeds that are to be played, in order; none if the dataset is there already.

    Raises:
      StoreError: See `Recording.require_writable`; or the disk refuses.
      FolderInUseError: Another process records there.
    """

    def __init__(self, recording: Recording, *, overwrite: bool = False, max_failed: float = 0.0):
        self.recording = recording
        self.failures: list[Failure] = []
        self.missing: list[int] = []
        self._error: Exception | None = None
        self._may_fail = int(max_failed * len(recording.seeds))
        self._journal: EpisodeJournal | None = None
        with contextlib.ExitStack() as stack:
            stack.callback(remove_if_empty, recording.work_folder)
            stack.enter_context(locked_work(recording.work_folder))
            recording.require_writable(overwrite=overwrite)  # another process may have finished since
            if recording.is_finished and not overwrite:
                _require_readable(recording)
            else:
                begin_work(recording)
                journal = stack.enter_context(EpisodeJournal(recording.work_folder / JOURNAL_FILE))
                self._journal, self._encoder = journal, EpisodeEncoder(recording.spec)
                self.take_shards(retry=True)
                self.missing = [seed for seed in recording.seeds if self._is_missing(journal, seed)]
            self._stack = stack.pop_all()
        if self._journal is not None and (done := len(recording.seeds) - len(self.missing)):
            total, folder = len(recording.seeds), recording.work_folder
            _log.info("%s: going on with %d of %d episodes in %s", recording.spec.name, done, total, folder)

    @property
    def has_failed(self) -> bool:
        """True if more episodes failed than may, so that no dataset will be written."""
        return len(self.failures) > self._may_fail

    def take(self, job: Job, result: Result):
        """Keep an episode, or note its failure.

        An episode that the actor gives up is no failure if the recording is filtered.

        Raises:
          StoreError: The disk refuses.
        """
        if isinstance(result, ActorFailure):
            if not self.recording.is_filtered:
                self._fail(job.seed, failure_error(job, result), f"the actor gave up ({result})")
                return
            encoded = None
        elif isinstance(result, Crash):
            self._fail(job.seed, result.error, f"{type(result.error).__name__}: {result.error}")
            return
        else:
            try:
                encoded = self._encoder.encode(result, f"the episode of seed {job.seed}")
            except StoreError as error:
                self._fail(job.seed, error, str(error))
                return
        self.add(job.seed, encoded)

    def take_shards(self, *, retry: bool = False):
        """Keep the episodes of the finished shards in the work folder, and note their failures.

        Args:
          retry: True to forget the failures, so that these episodes are played again.

        Raises:
          StoreError: The disk refuses.
        """
        for kept, failures in finished_shards(self.recording.work_folder):
            for seed, episode in kept:
                if self._journal is not None and self._is_missing(self._journal, seed):
                    self.add(seed, episode)
            for failure in failures:
                if failure.gave_up and self.recording.is_filtered:
                    self.add(failure.seed, None)
                elif not retry:
                    reason = f"the actor gave up ({failure.reason})" if failure.gave_up else failure.reason
                    error = RecordingError(f"{self.recording.spec.name}, seed {failure.seed}: {reason}")
                    self._fail(failure.seed, error, reason)

    def add(self, seed: int, episode: EncodedEpisode | None):
        """Keep the episode of a seed in the work folder, None for one that the actor gave up.

        Raises:
          StoreError: The disk refuses.
        """
        if self._journal is None:
            raise RuntimeError(f"{self.recording.directory}: is recorded already, expected a recording that goes on")
        self._journal.add(seed, episode)

    def finish(self) -> Recorded:
        """Write the dataset unless too many episodes failed, release the work folder, and return what came of it.

        Raises:
          StoreError: The disk refuses.
        """
        with self:
            if self._journal is None:
                failures = read_json(self.recording.directory / FAILED_FILE) or []
                return self._recorded(kept=True, failures=tuple(Failure(**failure) for failure in failures))
            if self.has_failed:
                return self._recorded(directory=None, error=self._error)
            try:
                self._write(self._journal)
            except NothingKeptError as error:
                return self._recorded(directory=None, error=error)
            return self._recorded()

    def __exit__(self, *error: object):
        self._stack.close()

    def _recorded(self, **changes: Any) -> Recorded:
        """Return the end of the recording, and empty the work folder if the dataset is there."""
        fields = {"directory": self.recording.directory, "failures": tuple(self.failures), **changes}
        if fields["directory"] is not None:
            clear_work(self.recording.work_folder)
        return Recorded(recording=self.recording, **fields)

    def _fail(self, seed: int, error: Exception, reason: str):
        _log.info("%s, seed %d failed", self.recording.spec.name, seed, exc_info=error)
        self.failures.append(Failure(seed, reason))
        self._error = self._error or error

    def _is_missing(self, journal: EpisodeJournal, seed: int) -> bool:
        """Return whether a seed is still to be played; also if the actor gave it up and each episode is needed."""
        return seed not in journal or (not self.recording.is_filtered and journal.read(seed) is None)

    def _write(self, journal: EpisodeJournal):
        """Write the dataset of the recorded episodes, in the order of their seeds.

        Raises:
          NothingKeptError: No episode passes the filters.
          StoreError: The disk refuses.
        """
        recording, failed = self.recording, {failure.seed for failure in self.failures}

        def kept() -> Iterator[EncodedEpisode]:
            for seed in recording.seeds:
                episode = None if seed in failed else journal.read(seed)
                if episode is not None and recording.keeps(episode.row):
                    yield episode

        if next(kept(), None) is None:
            raise NothingKeptError(_nothing_kept(recording))
        sidecars = {RECORDING_FILE: json.dumps(recording.to_json(), indent=2)}
        if failed:
            listed = sorted(self.failures, key=lambda failure: failure.seed)
            sidecars[FAILED_FILE] = json.dumps([dataclasses.asdict(failure) for failure in listed], indent=2)
        write_encoded(recording.directory, recording.spec, {"train": kept()}, sidecars=sidecars)


def _nothing_kept(recording: Recording) -> str:
    if recording.min_return is not None:
        return (
            f"{recording.spec.name}: no episode passes the filters, among them a return of at least "
            f"{recording.min_return:g}. Play more episodes, or lower --min_return."
        )
    reason = "no episode succeeded" if recording.successes_only else "no episode was played to its end"
    return f"{recording.spec.name}: {reason}. Play more episodes, or remove --successes_only."


@contextlib.contextmanager
def locked_work(folder: pathlib.Path) -> Iterator[None]:
    """Be the only writer of a work folder during the block.

    Raises:
      FolderInUseError: Another process writes there.
      StoreError: The disk refuses.
    """
    with contextlib.ExitStack() as stack:
        with disk_errors(folder):
            stack.enter_context(writer_lock(folder))
        yield


def begin_work(recording: Recording):
    """Empty the work folder unless it holds a recording with the same settings, and write these down."""
    folder = recording.work_folder
    if not recording.is_begun:
        clear_work(folder)
        with disk_errors(folder), atomic_file(folder / RECORDING_FILE) as written:
            written.write_text(json.dumps(recording.settings))


def clear_work(folder: pathlib.Path):
    """Remove the files of a recording from its work folder; first its settings, without which none is gone on with."""
    with disk_errors(folder):
        for name in (RECORDING_FILE, JOURNAL_FILE):
            (folder / name).unlink(missing_ok=True)
        if (folder / SHARDS).exists():
            shutil.rmtree(folder / SHARDS)


def _require_readable(recording: Recording):
    try:
        open_dataset(recording.directory)
    except DatasetError as error:
        raise StoreError(f"{error}; record it again with --overwrite") from None
