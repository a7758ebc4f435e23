"""A runner of an experiment's jobs, each in a process of its own, in parallel, resumable, with its peak memory."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import json
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import psutil
from tqdm import tqdm

from gato_jax.runtime.atomic_writes import atomic_file

_POLL_SECONDS = 0.2
_SHOW_SECONDS = 2.0
_GRACE_SECONDS = 10.0
_LINUX = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


class JobError(RuntimeError):
    """A job that failed; the message holds the last line of its log, and `status` its exit status."""

    def __init__(self, message: str, status: int):
        super().__init__(message)
        self.status = status


@dataclasses.dataclass(frozen=True, eq=False)
class Job:
    """A process to run. A job that has finished is not run again in the same folder.

    Attributes:
      name: unique name of the job.
      command: program and arguments.
      is_done: function that tells whether a process of status 0 has done its job. One that a signal ended in order has
        the status 0, and is to be run again.
    """

    name: str
    command: Sequence[str]
    is_done: Callable[[], bool] = lambda: True


class Stages:
    """The stages of one experiment in one folder.

    WORKDIR/progress.json holds the names of the finished jobs, the duration of each stage summed over all attempts, and
    the peak memory. WORKDIR/logs holds the output of the jobs.

    Attributes:
      done: names of the finished jobs.
      seconds: duration of each stage in seconds.
      peak_memory_bytes: highest sum of the resident memory of this process and all processes below it.
    """

    def __init__(self, workdir: pathlib.Path):
        self.workdir, self.path = workdir, workdir / "progress.json"
        (workdir / "logs").mkdir(parents=True, exist_ok=True)
        known = json.loads(self.path.read_text()) if self.path.exists() else {}
        self.done: list[str] = known.get("done", [])
        self.seconds: dict[str, float] = known.get("seconds", {})
        self.peak_memory_bytes: int = known.get("peak_memory_bytes", 0)

    def run(self, stage: str, jobs: Sequence[Job], *, side_by_side: int = 1):
        """Run the unfinished jobs of a stage.

        A stage of one job shows the output of that job in place of a progress bar.

        Args:
          stage: name of the stage.
          jobs: all jobs of the stage.
          side_by_side: number of jobs that run at the same time.

        Raises:
          JobError: a job failed. The other running jobs are ended.
        """
        waiting = [job for job in jobs if job.name not in self.done]
        if not waiting:
            return
        started, before = time.monotonic(), self.seconds.get(stage, 0.0)
        running: dict[Job, subprocess.Popen] = {}
        shown = 0.0
        alone = len(jobs) == 1
        bar = tqdm(total=len(jobs), initial=len(jobs) - len(waiting), desc=stage, unit="job", disable=alone)
        with _terminated_as_interrupted(), bar:
            try:
                while waiting or running:
                    while waiting and len(running) < side_by_side:
                        job = waiting.pop(0)
                        running[job] = self._start(job, alone)
                    time.sleep(_POLL_SECONDS)
                    self._watch_memory()
                    self.seconds[stage] = before + time.monotonic() - started
                    for job, process in list(running.items()):
                        if process.poll() is not None:
                            del running[job]
                            self._finish(job, process.returncode, alone)
                            bar.update()
                    if time.monotonic() - shown > _SHOW_SECONDS:
                        shown = time.monotonic()
                        bar.set_postfix_str(", ".join(job.name for job in running))
                        self._save()  # a kill loses at most two seconds of the durations
            finally:
                _end(running.values())
                self._save()

    def log(self, job: Job) -> pathlib.Path:
        """Return the file that the output of a job is written to."""
        return self.workdir / "logs" / f"{job.name.replace('/', '__').replace(' ', '_')}.txt"

    def _start(self, job: Job, alone: bool) -> subprocess.Popen:
        command = list(job.command)
        if alone:
            return subprocess.Popen(command, preexec_fn=_die_with_parent)
        with self.log(job).open("w") as log:
            return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, preexec_fn=_die_with_parent)

    def _finish(self, job: Job, status: int, alone: bool):
        if status or not job.is_done():
            lines = [] if alone else self.log(job).read_text().replace("\r", "\n").split("\n")
            last = next((line for line in reversed(lines) if line.strip()), "")
            log = "" if alone else f" (log: {self.log(job)})"
            raise JobError(f"{job.name} stopped with status {status}: {last}{log}", status or 1)
        self.done.append(job.name)
        self._save()

    def _watch_memory(self):
        """Update the peak of the resident memory of this process and all below it; shared pages count once for each."""
        total = 0
        for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
            try:
                total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue  # the process ended after it was listed
        self.peak_memory_bytes = max(self.peak_memory_bytes, total)

    def _save(self):
        state = {"done": self.done, "seconds": self.seconds, "peak_memory_bytes": self.peak_memory_bytes}
        write_json(self.path, state)


def write_json(path: pathlib.Path, value: Any):
    """Write indented JSON atomically, so that a process that is killed leaves the old file or the new one."""
    with atomic_file(path) as written:
        written.write_text(json.dumps(value, indent=2))


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Make SIGTERM raise KeyboardInterrupt during the block, as Ctrl-C does, so that running jobs are ended."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _die_with_parent():
    """Arrange in a child process that it gets SIGTERM when its parent dies, so that no job survives a killed run."""
    if _LINUX is not None:
        _LINUX.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _end(processes: Iterable[subprocess.Popen]):
    """End processes and all processes below them by SIGTERM, and after _GRACE_SECONDS by SIGKILL."""
    family: list[psutil.Process] = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            parent = psutil.Process(process.pid)
            family += [parent, *parent.children(recursive=True)]
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(family, timeout=_GRACE_SECONDS)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive)
