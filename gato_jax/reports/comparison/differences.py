"""Differences of the scores of two runs, with intervals by stratified bootstrap over their episodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gato_jax.reports.run import TaskScore

SAMPLES = 2_000  # of the bootstrap


class Difference(NamedTuple):
    """A difference and its 95% interval, None for both ends where episodes are not known.

    Attributes:
      value: the score of the other run less that of the first.
      low: lower end.
      high: upper end.
    """

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def sign(self) -> int:
        """1 or -1 where the interval lies above or below 0; 0 otherwise."""
        if self.low is None or self.high is None:
            return 0
        return int(self.low > 0) - int(self.high < 0)


def task_difference(first: TaskScore, other: TaskScore) -> Difference:
    """Return the difference of a task's normalised scores; of its raw scores where one has no scale."""
    scaled = first.normalised is not None and other.normalised is not None
    return _difference([_episodes(first, scaled)], [_episodes(other, scaled)])


def mean_difference(first: Sequence[TaskScore], other: Sequence[TaskScore]) -> Difference | None:
    """Return the difference of the means over the tasks that both have a normalised score of; None without any.

    Tasks have equal weights. The episodes of each task are resampled within their task and run.
    """
    known = {task.task: task for task in other if task.normalised is not None}
    pairs = [(task, known[task.task]) for task in first if task.normalised is not None and task.task in known]
    if not pairs:
        return None
    return _difference([_episodes(one, True) for one, _ in pairs], [_episodes(two, True) for _, two in pairs])


def _episodes(task: TaskScore, scaled: bool) -> np.ndarray:
    """Return the scores of the episodes of a task; the mean alone where they are not known."""
    scores = task.scores or (task.agent,)
    if not scaled:
        return np.array(scores)
    if not task.scores or task.random is None or task.expert is None or task.expert == task.random:
        return np.array([task.normalised], float)
    return (np.array(scores) - task.random) / (task.expert - task.random)


def _difference(first: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> Difference:
    value = float(np.mean([two.mean() - one.mean() for one, two in zip(first, other, strict=True)]))
    if all(len(scores) == 1 for scores in [*first, *other]):
        return Difference(value)
    generator = np.random.default_rng(0)
    drawn = np.mean(
        [_resample(two, generator) - _resample(one, generator) for one, two in zip(first, other, strict=True)], axis=0
    )
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Difference(value, float(low), float(high))


def _resample(scores: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return the means of SAMPLES resamples of the episodes, (SAMPLES,)."""
    return scores[generator.integers(len(scores), size=(SAMPLES, len(scores)))].mean(axis=1)
