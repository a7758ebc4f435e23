"""Worker processes that play whole episodes, each with an actor and an environment of its own."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import multiprocessing.resource_tracker
import pickle
import signal
import traceback
from collections.abc import Callable, Generator, Iterator
from multiprocessing.connection import Connection, wait
from typing import NamedTuple

from gato_jax.rollouts.actor import Actor
from gato_jax.rollouts.job_queue import Job
from gato_jax.rollouts.loop import Crash, Load, Result, play_side_by_side
from gato_jax.runtime import begin_worker
from gato_jax.runtime.interruption import SIGNALS

_EXIT_SECONDS = 5.0  # how long to wait for the exit code of a worker that died


class WorkerError(RuntimeError):
    """A worker process that died while it played; the message names task, seed and exit code."""


class _Raised(NamedTuple):
    """An error that ended a worker, in the form in which it is sent to the parent process."""

    error: Exception


class _Worker:
    """One process, this side of its pipe, and the job that it plays, None while it idles."""

    def __init__(self, make_actor: Callable[[], Actor], load: Load, contain: bool):
        context = multiprocessing.get_context("spawn")  # a fork would copy the locks of JAX's and MuJoCo's threads
        self.connection, theirs = context.Pipe()
        self.job: Job | None = None
        self._process = context.Process(target=_work, args=(theirs, make_actor, load, contain), daemon=True)
        with signals_blocked():
            self._process.start()
        theirs.close()  # while it is open here, the death of the process does not end the connection

    def start(self, job: Job | None) -> None:
        """Send the worker a job to play, without waiting for it; let it idle if `job` is None."""
        self.job = job
        if job is not None:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the worker died: `result` reports it
                self.connection.send(job)

    def result(self) -> tuple[Job, Result]:
        """Wait for the end of the worker's job, and return the job with its result.

        Raises:
          WorkerError: The process died.
          Exception: The error that ended the worker.
        """
        job = self.job
        if job is None:
            raise RuntimeError("a worker process sent a result without a job")
        try:
            result = self.connection.recv()
        except (EOFError, ConnectionResetError):
            self._process.join(_EXIT_SECONDS)
            raise WorkerError(
                f"{job.task}, seed {job.seed}: the worker process died, its exit code is {self._process.exitcode}. "
                "Play the episode with workers=0 to see why."
            ) from None
        if isinstance(result, _Raised):
            raise result.error
        return job, result

    def stop(self) -> None:
        """Kill the process, even in the middle of an episode, and wait until it has ended."""
        self.connection.close()
        self._process.kill()
        self._process.join()


def play_in_workers(
    make_actor: Callable[[], Actor], jobs: Iterator[Job], workers: int, load: Load, contain: bool = False
) -> Generator[tuple[Job, Result], None, None]:
    """Yield each job with its episode as soon as it ends, or with the failure of the actor, in the order of the ends.

    All workers are stopped when the generator ends or is closed.

    Args:
      make_actor: Picklable function that returns a new actor; each worker calls it once.
      jobs: The episodes to play. Each goes to the next worker that is free.
      workers: Number of processes to start, at most one for each job.
      load: Picklable function that returns a new environment of a task.
      contain: As in `play_side_by_side`. The death of a worker is then a Crash, too, and another one takes its place.

    Raises:
      WorkerError: A worker died, and `contain` is False.
      Exception: An error that a worker raised, and `contain` is False.
    """
    pool: list[_Worker] = []

    def start_worker(job: Job):
        pool.append(_Worker(make_actor, load, contain))
        pool[-1].start(job)

    try:
        for job in itertools.islice(jobs, workers):
            start_worker(job)
        while playing := {worker.connection: worker for worker in pool if worker.job is not None}:
            ready = wait(list(playing))
            for worker in [worker for connection, worker in playing.items() if connection in ready]:
                played = worker.job
                try:
                    result = worker.result()
                except WorkerError as error:
                    if not contain or played is None:
                        raise
                    result = played, Crash(error)
                    pool.remove(worker)
                    worker.stop()
                    if (job := next(jobs, None)) is not None:
                        start_worker(job)
                else:
                    worker.start(next(jobs, None))
                yield result
    finally:
        for worker in pool:
            worker.stop()


def _work(connection: Connection, make_actor: Callable[[], Actor], load: Load, contain: bool) -> None:
    """Play the jobs that arrive in a worker process until the parent closes the connection, and send back each result.

    An error that is not contained is sent as _Raised and ends the worker.
    """
    begin_worker()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    try:
        jobs = _received_jobs(connection)
        for _, result in play_side_by_side(make_actor, jobs, environments=1, load=load, contain=contain):
            connection.send(Crash(picklable(result.error)) if isinstance(result, Crash) else result)
    except Exception as error:
        with contextlib.suppress(BrokenPipeError):  # the parent has stopped listening
            connection.send(_Raised(picklable(error)))


def picklable(error: Exception) -> Exception:
    """Return the error with its traceback as a note, or such a RuntimeError `TYPE: MESSAGE` if pickling it fails."""
    text = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(f"In a worker process:\n{text}")
    return error


@contextlib.contextmanager
def signals_blocked() -> Iterator[None]:
    """Block SIGINT and SIGTERM in this thread; a process that is started inherits the block until it handles them.

    Otherwise Ctrl-C while the process still imports its modules ends it with a traceback.
    """
    multiprocessing.resource_tracker.ensure_running()  # it would unblock them if it were started within the block
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _received_jobs(connection: Connection) -> Iterator[Job]:
    """Yield the jobs that the parent sends, until it closes the connection."""
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        yield job
