"""Processes that prepare a measurement, wait, and measure when they are told, each within a time limit.

A process prints one line of JSON when it is ready, and then one for each line that it reads from stdin. Several can
prepare at the same time, which is where compilation takes place, and are then told to measure one after the other.
Lines of stdout that are not JSON objects are ignored.
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import pathlib
import queue
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from typing import Any


class MeasurementError(RuntimeError):
    """A process that ended, or that did not answer within its time limit; the message says why."""


class MeasuringProcess:
    """One process, from its start to the last measurement.

    Attributes:
      name: name of the measurement.
      ready: first line of the process, once it is prepared.
      failure: reason why the process is not usable; None while it is.
    """

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None):
        self.name, self.ready, self.failure = name, None, None
        self._command, self._environment = list(command), {**os.environ, **(environment or {})}
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._process: subprocess.Popen[str] | None = None
        self._stderr = pathlib.Path(tempfile.mkdtemp(prefix="benchmark_")) / "stderr.txt"

    def prepare(self, seconds: float):
        """Start the process and wait until it is ready; on a failure, `failure` has the reason and nothing is raised.

        Args:
          seconds: time limit, after which the process is killed.
        """
        with self._stderr.open("w") as stderr:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True,
                env=self._environment,
            )  # fmt: skip
        threading.Thread(target=self._read, args=(self._process,), daemon=True).start()
        try:
            self.ready = self._next_line(seconds, "prepared")
        except MeasurementError:
            pass  # the reason is in `failure`

    def measure(self, seconds: float) -> dict[str, Any]:
        """Tell the process to measure, and return its result.

        Args:
          seconds: time limit, after which the process is killed.

        Raises:
          MeasurementError: the process has failed, now or earlier.
        """
        if self.failure is not None or self._process is None or self._process.stdin is None:
            raise MeasurementError(f"{self.name}: {self.failure or 'the process was not started'}")
        try:
            self._process.stdin.write("measure\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the process has ended, which the missing line tells
        return self._next_line(seconds, "measured")

    def stop(self):
        """End the process, so that its memory is free."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _next_line(self, seconds: float, done: str) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=max(seconds, 0))
            reason = None if line is not None else f"the process ended: {self._last_error()}"
        except queue.Empty:
            line, reason = None, f"not {done} within {seconds:.0f} s"
        if line is None:
            self.stop()
            self.failure = reason
            raise MeasurementError(f"{self.name}: {reason}")
        return line

    def _read(self, process: subprocess.Popen[str]):
        for line in process.stdout or ():
            if line.startswith("{"):
                self._lines.put(json.loads(line))
        self._lines.put(None)

    def _last_error(self) -> str:
        lines = self._stderr.read_text().strip().split("\n")
        return lines[-1][:300] or "nothing on stderr"


def prepare_all(processes: Sequence[MeasuringProcess], parallel: int, seconds: float):
    """Prepare all processes, `parallel` of them at a time, each within the time limit `seconds`."""
    with concurrent.futures.ThreadPoolExecutor(max(parallel, 1)) as pool:
        list(pool.map(lambda process: process.prepare(seconds), processes))
