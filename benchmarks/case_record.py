"""Results of a benchmark's cases: the rounds of each, its failures, and ratios to PyTorch, written after each one."""

from __future__ import annotations

import abc
import argparse
import pathlib
import statistics
from typing import Any

from benchmarks.measuring_process import MeasuringProcess

PYTORCH = "PyTorch "  # the names of PyTorch's measurements begin with it


class CaseRecord(abc.ABC):
    """Results of all cases of a benchmark. A subclass adds measurements and writes the file.

    Attributes:
      failed: {name of a case: reason why it has no further measurement}.
    """

    def __init__(self, given: argparse.Namespace):
        self.failed: dict[str, str] = {}
        self._given = given
        self._cases: dict[str, dict[str, Any]] = {}

    @abc.abstractmethod
    def add(self, process: MeasuringProcess, result: dict[str, Any]):
        """Add a measurement of a case, print it and write the file."""

    @abc.abstractmethod
    def write(self) -> pathlib.Path:
        """Write the file of results and return its path."""

    @abc.abstractmethod
    def _group(self, name: str, case: dict[str, Any]) -> str:
        """Return the group in which a case, ours or PyTorch's without its prefix, is compared."""

    @abc.abstractmethod
    def _speeds(self, case: dict[str, Any]) -> list[float]:
        """Return the speed of a case in each round."""

    def fail(self, name: str, reason: str):
        """Add the reason why a case has no further measurement, print it and write the file."""
        if name not in self.failed:
            self.failed[name] = reason
            print(reason, flush=True)
            self.write()

    def ratios(self) -> dict[str, float]:
        """Return the speed of each case of ours over that of the fastest PyTorch of the same group.

        The ratio is the median of the ratios in the rounds, in which both were measured one after the other.
        """
        peers: dict[str, list[float]] = {}
        for name, case in self._cases.items():
            if name.startswith(PYTORCH):
                group, speeds = self._group(name.removeprefix(PYTORCH), case), self._speeds(case)
                peers[group] = [max(pair) for pair in zip(speeds, peers.get(group, speeds), strict=False)]
        found = {}
        for name, case in self._cases.items():
            peer = peers.get(self._group(name, case))
            if peer and not name.startswith(PYTORCH):
                found[name] = round(statistics.median(a / b for a, b in zip(self._speeds(case), peer, strict=False)), 2)
        return found

    def print_summary(self):
        """Print the ratios to PyTorch, the failures and the path of the file."""
        for name, ratio in self.ratios().items():
            print(f"{name:70} {ratio:.2f} times PyTorch")
        for reason in self.failed.values():
            print(f"failed: {reason}")
        print(f"results in {self.write()}")

    def _entry(self, process: MeasuringProcess) -> dict[str, Any]:
        """Return the entry of a case, which at first holds what its process said when it was ready."""
        facts = {name: value for name, value in (process.ready or {}).items() if name != "ready"}
        return self._cases.setdefault(process.name, {**facts, "rounds": []})
