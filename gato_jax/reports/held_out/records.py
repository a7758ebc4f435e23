"""Dataclasses with measurements on held-out data; `evaluation.held_out` says how they are computed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from gato_jax.reports.errors import ReportError


@dataclasses.dataclass(frozen=True, kw_only=True)
class ActionErrors:
    """The same error of the agent and of trivial predictors; None where it was not measured.

    Attributes:
      value: of the agent.
      without_history: of the agent when it reads the present step alone.
      baseline, median_baseline: of the mean and the median action of the training data; the `baseline` of a discrete
        action is the most common one.
      repeat_baseline: of the recorded action of the step before.
    """

    value: float
    without_history: float | None = None
    baseline: float | None = None
    median_baseline: float | None = None
    repeat_baseline: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class HorizonError:
    """The agent's error over a range of steps since the episode began, both ends included; `steps` are averaged."""

    first_step: int
    last_step: int
    steps: int
    value: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeldOut(ActionErrors):
    """A measurement on held-out data; lower is better.

    Attributes:
      name: name of the data, such as a dataset.
      metric: name of what is measured.
      exact_match: share of the agent's answers that equal the truth; None for data without answers.
      episodes: number of episodes measured; None if not known.
      step: training step of the agent; None if not known.
      by_dimension: {name of a dimension of the action: its errors}; {} if it is no action error.
      by_horizon: errors in ranges of steps since the episode began; () if it is no action error.
      discrete: {key of a discrete action: shares of the steps at which it is wrong}.
    """

    name: str
    metric: str
    exact_match: float | None = None
    episodes: int | None = None
    step: int | None = None
    by_dimension: Mapping[str, ActionErrors] = dataclasses.field(default_factory=dict)
    by_horizon: tuple[HorizonError, ...] = ()
    discrete: Mapping[str, ActionErrors] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prediction:
    """The recorded and the most probable actions of a held-out episode of T steps, with frames of the recording.

    Construction raises ReportError if the shapes do not fit together.

    Attributes:
      dataset: name of the dataset.
      frames: uint8 (F, H, W, 3), spread evenly over the episode; F is 0 for a task without images.
      recorded, predicted: (T, A).
      names: names of the A dimensions.
      low, high: (A,) limits of each dimension.
      episode: number of the episode in its split.
      step: training step of the agent.
    """

    dataset: str
    frames: np.ndarray
    recorded: np.ndarray
    predicted: np.ndarray
    names: tuple[str, ...]
    low: np.ndarray
    high: np.ndarray
    episode: int
    step: int

    def __post_init__(self):
        if self.frames.ndim != 4 or self.frames.shape[-1] != 3 or self.frames.dtype != np.uint8:
            shape = f"{self.frames.dtype} {self.frames.shape}"
            raise ReportError(f"frames is {shape}, expected uint8 (F, H, W, 3). Measure the run again.")
        shapes = self.recorded.shape, self.predicted.shape, self.low.shape, self.high.shape
        width = (len(self.names),)
        if self.recorded.ndim != 2 or not len(self.recorded) or shapes != (self.recorded.shape,) * 2 + (width,) * 2:
            raise ReportError(
                f"the shapes of recorded, predicted, low and high are {shapes}, expected (T, A), (T, A), (A,) and (A,) "
                f"with A = {len(self.names)} names. Measure the run again."
            )

    @property
    def errors(self) -> np.ndarray:
        """Mean absolute difference of each dimension over this episode, in units of half of its range, (A,)."""
        span = np.where(self.high > self.low, self.high - self.low, 1.0) / 2
        return np.abs(self.predicted - self.recorded).mean(axis=0) / span
