"""Dataclasses with the aggregates of results.json; `evaluation.aggregates` says how they are computed.

Scores are fractions: 0 is random play and 1 is the expert. A value that a file of an earlier version lacks is None.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

Interval = tuple[float, float]  # 95%: low, high


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublishedScore:
    """The published result of another agent on a task: its episode return, and that on a scale of its own."""

    score: float
    normalised: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublishedMean:
    """The published mean normalised score of another agent on a domain.

    Attributes:
      mean: the mean.
      tasks: number of the tasks that it is over; None if it is not known.
      domain: name of the domain in the publication.
      evidence: "paper" for a number read there, "recalled" for one that was not checked against it.
    """

    mean: float
    tasks: int | None = None
    domain: str = ""
    evidence: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ThresholdCurve:
    """The share of tasks whose mean is at or above each threshold, with the ends of its 95% interval."""

    thresholds: tuple[float, ...]
    share: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Aggregate:
    """Aggregates over the tasks that have a normalised score.

    Attributes:
      tasks, episodes: their numbers.
      mean, iqm, share_at_50: the mean over tasks, the interquartile mean over episodes, and the share of tasks whose
        mean is 0.5 or above.
      mean_ci, iqm_ci, share_at_50_ci: their 95% intervals.
      noise_floor: the least mean that random play would reach in one of forty such evaluations.
      curve: the share of tasks over thresholds.
      published: {agent: its published mean}, of a domain.
    """

    tasks: int | None = None
    episodes: int | None = None
    mean: float | None = None
    iqm: float | None = None
    share_at_50: float | None = None
    mean_ci: Interval | None = None
    iqm_ci: Interval | None = None
    share_at_50_ci: Interval | None = None
    noise_floor: float | None = None
    curve: ThresholdCurve | None = None
    published: Mapping[str, PublishedMean] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class HumanAggregate:
    """Aggregates on the scale from random play to the human.

    Attributes:
      tasks: number of the tasks that have a human score.
      mean, median: those over the tasks.
      at_human, at_twice_human: numbers of tasks at or above the human score, and twice that.
    """

    tasks: int
    mean: float
    median: float
    at_human: int
    at_twice_human: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class FailedEpisode:
    """An episode that was not played to its end."""

    seed: int
    reason: str
