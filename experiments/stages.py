"""Runs the jobs of an experiment, each in a process of its own: side by side, resumable, with the memory watched."""

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
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import psutil
from tqdm import tqdm

_POLL_SECONDS = 0.2
_SHOW_SECONDS = 2.0
_GRACE_SECONDS = 10.0
_LINUX = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


class JobError(RuntimeError):
    """A job that failed; the message holds the end of its log."""

    def __init__(self, message: str, status: int):
        super().__init__(message)
        self.status = status


@dataclasses.dataclass(frozen=True, eq=False)
class Job:
    """One process. A job that has finished once is not run again in the same folder."""

    name: str
    command: Sequence[str]


class Stages:
    """The stages of one experiment in one folder.

    WORKDIR/progress.json holds the jobs done, the seconds of each stage over all tries, and the peak memory;
    WORKDIR/logs what the jobs said.
    """

    def __init__(self, workdir: pathlib.Path):
        self.workdir, self.path = workdir, workdir / "progress.json"
        (workdir / "logs").mkdir(parents=True, exist_ok=True)
        known = json.loads(self.path.read_text()) if self.path.exists() else {}
        self.done: list[str] = known.get("done", [])
        self.seconds: dict[str, float] = known.get("seconds", {})
        self.peak_memory_bytes: int = known.get("peak_memory_bytes", 0)

    def run(self, stage: str, jobs: Sequence[Job], *, side_by_side: int = 1):
        """Runs the jobs that are not done yet. A stage of one job shows that job's own progress."""
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
                        self._save()  # whoever is killed from here on loses two seconds of the account
            finally:
                _end(running.values())
                self._save()

    def log(self, job: Job) -> pathlib.Path:
        return self.workdir / "logs" / f"{job.name.replace('/', '__').replace(' ', '_')}.txt"

    def _start(self, job: Job, alone: bool) -> subprocess.Popen:
        command = list(job.command)
        if alone:
            return subprocess.Popen(command, preexec_fn=_die_with_parent)
        with self.log(job).open("w") as log:
            return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, preexec_fn=_die_with_parent)

    def _finish(self, job: Job, status: int, alone: bool):
        if status:
            said = [] if alone else self.log(job).read_text().replace("\r", "\n").splitlines()
            last = next((line for line in reversed(said) if line.strip()), "")
            where = "" if alone else f" (log: {self.log(job)})"
            raise JobError(f"{job.name} stopped with status {status}: {last}{where}", status)
        self.done.append(job.name)
        self._save()

    def _watch_memory(self):
        """The sum over this process and all below it, of the memory each holds (RSS: shared pages count for each)."""
        total = 0
        for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
            try:
                total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue  # it ended between being listed and being asked
        self.peak_memory_bytes = max(self.peak_memory_bytes, total)

    def _save(self):
        state = {"done": self.done, "seconds": self.seconds, "peak_memory_bytes": self.peak_memory_bytes}
        write_json(self.path, state)


def write_json(path: pathlib.Path, value: Any):
    """Write indented JSON that appears whole or not at all."""
    with atomic_file(path) as partial:
        partial.write_text(json.dumps(value, indent=2))


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt, as Ctrl-C does, so that what was started is ended on the way out."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _die_with_parent():
    """In the child: it gets SIGTERM when this process is killed, or a second run would work beside it in its folder."""
    if _LINUX is not None:
        _LINUX.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _end(processes: Iterable[subprocess.Popen]):
    """Ends these and all below them; what does not heed it in time is killed."""
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
