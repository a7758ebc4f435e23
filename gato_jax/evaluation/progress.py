"""The live table of an evaluation: a progress bar of all episodes, and the tasks that are being played."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Mapping

import numpy as np
from tqdm import tqdm

_SHOW_SECONDS = 1.0  # between updates
_ROWS = 8


class Progress(contextlib.AbstractContextManager):
    """A progress bar of the episodes of several tasks; below it, on a terminal, a line for each task in progress.

    A line has the finished episodes of a task, its mean score so far and the failed episodes. A task is shown from its
    first finished episode to its last.

    Args:
      tasks: {name: (number of episodes, those that are finished already)}.
    """

    def __init__(self, tasks: Mapping[str, tuple[int, int]]):
        self._left = {task: total - done for task, (total, done) in tasks.items()}
        self._totals = {task: total for task, (total, _) in tasks.items()}
        self._scores: dict[str, list[float]] = {}
        self._failed: dict[str, int] = {}
        name = next(iter(tasks)) if len(tasks) == 1 else f"{len(tasks)} tasks"
        total, done = sum(self._totals.values()), sum(done for _, done in tasks.values())
        self._bar = tqdm(total=total, initial=done, desc=f"evaluate {name}", unit="episode")
        rows = min(_ROWS, len(tasks)) if len(tasks) > 1 and sys.stderr.isatty() else 0
        self._lines = [tqdm(total=0, position=row + 1, bar_format="{desc}", leave=False) for row in range(rows)]
        self._steps, self._shown = 0, time.monotonic()
        if done < total:
            self._bar.set_postfix_str("the first step compiles")

    def step(self):
        """Count one step of environments that are played side by side."""
        self._steps += 1
        if self._steps == 1 or time.monotonic() - self._shown > _SHOW_SECONDS:
            self._show()

    def ended(self, task: str, score: float):
        """Count an episode that was played to its end."""
        self._scores.setdefault(task, []).append(score)
        self._left[task] -= 1
        self._bar.update()

    def failed(self, task: str):
        """Count an episode that failed."""
        self._failed[task] = self._failed.get(task, 0) + 1
        self._left[task] -= 1
        self._bar.update()

    def __exit__(self, *error: object):
        for line in reversed(self._lines):
            line.close()
        self._bar.close()

    def _show(self):
        self._shown = time.monotonic()
        failed = sum(self._failed.values())
        self._bar.set_postfix_str(f"step {self._steps}" + (f", {failed} failed" if failed else ""))
        started = [task for task in {**self._scores, **self._failed} if self._left[task]]
        texts = [self._describe(task) for task in started]
        for row, line in enumerate(self._lines):
            line.set_description_str(texts[row] if row < len(texts) else "")

    def _describe(self, task: str) -> str:
        total, scores = self._totals[task], self._scores.get(task, [])
        mean = f"mean {np.mean(scores):.3g}" if scores else ""
        failed = f", {self._failed[task]} failed" if task in self._failed else ""
        return f"  {task:<40} {total - self._left[task]:>5}/{total}  {mean}{failed}"
