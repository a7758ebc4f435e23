"""The recording of datasets by one pool of environments or workers, which goes on after a kill."""

from __future__ import annotations

import contextlib
import functools
import pathlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

from tqdm import tqdm

from gato_jax.environments import Environment, Randomisation, randomise
from gato_jax.environments import load as load_task
from gato_jax.rollouts.actor import Actor
from gato_jax.rollouts.loop import Load
from gato_jax.rollouts.play import play_all
from gato_jax.rollouts.recording import Recording
from gato_jax.rollouts.session import Recorded, RecordingSession

BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} episodes, {rate_noinv_fmt}, {remaining} left{postfix}"


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
      StoreError: See `Recording.require_writable`; or no episode is kept; or the disk refuses.
      FolderInUseError: Another process records there.
      ActorFailure: The actor gave an episode up, and the recording is not filtered.
      WorkerError: A worker process died.
      Exception: An error of the environment or the actor.
    """
    (recorded,) = record_all(
        [recording], make_actor, environments=environments, workers=workers, overwrite=overwrite, load=load
    )
    if recorded.directory is None:
        raise recorded.error or RuntimeError(f"{recording.directory}: was not written, expected a reason")
    return recorded.directory


def record_all(
    recordings: Sequence[Recording],
    make_actor: Callable[[], Actor],
    *,
    environments: int = 1,
    workers: int = 0,
    overwrite: bool = False,
    max_failed: float = 0.0,
    load: Load = load_task,
) -> Generator[Recorded, None, None]:
    """Record several datasets, and yield the end of each as soon as its last episode has ended.

    All environments or workers play the episodes of all datasets, task after task, so that none idles at the end of a
    task. A dataset does not depend on the others, nor on `environments` or `workers`; each is gone on with after a kill
    as `record` says. An error, a death of a worker or a failure of the actor costs its episode alone. If more episodes
    of a task fail than may, its other ones are not begun, and the other tasks go on.

    Args:
      recordings: The datasets to record, in this order.
      make_actor: As in `play`.
      environments: As in `play`.
      workers: As in `play`.
      overwrite: As in `record`. If one of the recordings is begun, those that are finished are kept: the call goes on
        with one that was interrupted.
      max_failed: Share of the episodes of a task that may fail; the dataset then lacks them and lists them. Above it no
        dataset is written, and the finished episodes are kept for another call.
      load: As in `play`.

    Raises:
      StoreError: See `Recording.require_writable`; or the disk refuses.
      FolderInUseError: Another process records there.
    """
    replaced = plan_overwrites(recordings, overwrite)
    load = load_for(load, recordings)
    with contextlib.ExitStack() as stack:
        total = sum(len(recording.seeds) for recording in recordings)
        bar = stack.enter_context(tqdm(total=total, desc=title(recordings), unit=" episodes", bar_format=BAR))
        schedule = _Schedule(recordings, replaced, max_failed, stack, bar)
        played = play_all(
            make_actor, schedule.starts(), environments=environments, workers=workers, load=load, contain=True
        )
        stack.enter_context(contextlib.closing(played))  # the workers end before the folders are released
        for job, result in played:
            schedule.take(job.position).take(job, result)
            yield from schedule.finished()
        yield from schedule.finished()


def plan_overwrites(recordings: Sequence[Recording], overwrite: bool) -> list[bool]:
    """Check all recordings before the first is begun, and return for each whether it may replace what is there.

    Raises:
      StoreError: See `Recording.require_writable`.
    """
    for recording in recordings:
        recording.require_writable(overwrite=overwrite)
    goes_on = any(recording.is_begun for recording in recordings)
    return [overwrite and not (goes_on and recording.is_finished) for recording in recordings]


def title(recordings: Sequence[Recording]) -> str:
    """Return the title of the progress bar."""
    return f"record {recordings[0].spec.name if len(recordings) == 1 else f'{len(recordings)} tasks'}"


class _Open:
    """A session with the numbers of its episodes that have been handed out and have come back."""

    def __init__(self, session: RecordingSession):
        self.session, self.handed, self.returned = session, 0, 0

    @property
    def is_over(self) -> bool:
        rest = self.handed < len(self.session.missing) and not self.session.has_failed
        return not rest and self.returned == self.handed


class _Schedule:
    """The order in which the episodes of several recordings are played, and the sessions that are open."""

    def __init__(
        self,
        recordings: Sequence[Recording],
        replaced: Sequence[bool],
        max_failed: float,
        stack: contextlib.ExitStack,
        bar: tqdm,
    ):
        self._recordings, self._replaced = recordings, replaced
        self._max_failed, self._stack, self._bar = max_failed, stack, bar
        self._open: list[_Open] = []
        self._owners: dict[int, _Open] = {}
        self._failed = 0

    def starts(self) -> Iterator[tuple[str, int]]:
        """Yield task and seed of each episode that is to be played; a session is opened when its first is due."""
        position = 0
        for recording, overwrite in zip(self._recordings, self._replaced, strict=True):
            entry = _Open(self._session(recording, overwrite))
            self._open.append(entry)
            for seed in entry.session.missing:
                if entry.session.has_failed:
                    break
                entry.handed += 1
                self._owners[position] = entry
                position += 1
                yield recording.spec.name, seed

    def take(self, position: int) -> RecordingSession:
        """Return the session whose episode of this position has ended."""
        entry = self._owners.pop(position)
        entry.returned += 1
        self._bar.update()
        return entry.session

    def finished(self) -> Iterator[Recorded]:
        """Write the datasets whose episodes have all ended, and yield the ends of these recordings."""
        for entry in [entry for entry in self._open if entry.is_over]:
            self._open.remove(entry)
            recorded = entry.session.finish()
            self._failed += len(recorded.failures)
            if self._failed:
                self._bar.set_postfix_str(f"{self._failed} failed")
            self._bar.total -= len(entry.session.missing) - entry.handed  # those that are not begun after failures
            self._bar.refresh()
            yield recorded

    def _session(self, recording: Recording, overwrite: bool) -> RecordingSession:
        session = RecordingSession(recording, overwrite=overwrite, max_failed=self._max_failed)
        self._stack.enter_context(session)
        done = len(recording.seeds) - len(session.missing)
        self._bar.initial += done  # so that the rate is that of the episodes that are played
        self._bar.n += done
        self._bar.last_print_n += done
        return session


def load_for(load: Load, recordings: Sequence[Recording]) -> Load:
    """Return a picklable function that loads the environment of a task as its recording says."""
    return functools.partial(_load, load, {one.spec.name: one.randomisation for one in recordings})


def _load(load: Load, randomisations: Mapping[str, Randomisation | None], task: str) -> Environment:
    """Load the environment of a task, randomised if its recording says so."""
    randomisation = randomisations[task]
    return load(task) if randomisation is None else randomise(load(task), randomisation)
