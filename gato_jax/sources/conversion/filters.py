"""Filters that select episodes worth learning from, by return, success and duplication."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float

from gato_jax.sources.reader import SourceError

_UNKNOWN = -1  # value of `EpisodeFacts.success` if the recording does not tell


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class EpisodeFacts:
    """Properties of the N readable episodes of a recording, split by split, in order.

    Attributes:
      episode_return: undiscounted returns, (N,) float64.
      success: 1 for success, 0 for failure, -1 if the recording does not tell, (N,) int8.
      digest: digests of the content, equal for identical episodes, (N,) uint64.
    """

    episode_return: np.ndarray
    success: np.ndarray
    digest: np.ndarray


@runtime_checkable
class Filter(Protocol):
    """A rule that keeps some episodes of a recording and drops the others. Implementations are frozen dataclasses.

    A filter judges all episodes, independently of what other filters drop.

    Attributes:
      name: name of the filter in counts and messages.
    """

    name: ClassVar[str]

    def keep_mask(self, facts: EpisodeFacts) -> Bool[np.ndarray, " N"]:
        """Return a mask of the N episodes, true for each to keep.

        Raises:
          SourceError: the recording lacks the property that the filter judges by.
        """
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Deduplicate:
    """Filter that keeps the first of identical episodes, in the order of splits, then of episodes."""

    name: ClassVar[str] = "deduplicate"

    def keep_mask(self, facts: EpisodeFacts) -> Bool[np.ndarray, " N"]:
        kept = np.zeros(len(facts.digest), bool)
        kept[np.unique(facts.digest, return_index=True)[1]] = True
        return kept


@dataclasses.dataclass(frozen=True, kw_only=True)
class SuccessOnly:
    """Filter that keeps successful episodes. Failures, and episodes of unknown success, are dropped.

    It raises SourceError if the success of every episode is unknown.
    """

    name: ClassVar[str] = "success_only"

    def keep_mask(self, facts: EpisodeFacts) -> Bool[np.ndarray, " N"]:
        if len(facts.success) and (facts.success == _UNKNOWN).all():
            raise SourceError(
                "success_only: the success of every episode is unknown. Set Fields.success, or omit the filter."
            )
        return facts.success == 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExpertShare:
    """Filter of the paper (section 4.2): keep episodes with at least 80% of the expert's return.

    The condition is: return >= E - (1 - share) * |E|, where E is the expert return of the recording. For positive E it
    is the paper's. For negative E, 80% of E would demand more than the expert reaches. It raises SourceError if a
    return is not finite, or all are zero.

    Attributes:
      share: share of the expert's return, in [0, 1].
    """

    share: float = 0.8
    name: ClassVar[str] = "expert_share"

    def __post_init__(self):
        if not 0 <= self.share <= 1:
            raise SourceError(f"expert_share is {self.share}, expected a share of the expert's return in [0, 1]")

    def keep_mask(self, facts: EpisodeFacts) -> Bool[np.ndarray, " N"]:
        returns = facts.episode_return
        if not len(returns):
            return np.zeros(0, bool)
        if not np.isfinite(returns).all():
            number = int(np.argmin(np.isfinite(returns)))
            raise SourceError(
                f"expert_share: the return of episode {number} is {returns[number]}, expected a finite number. Correct "
                "its rewards."
            )
        if not returns.any():
            raise SourceError(
                "expert_share: all rewards of all episodes are zero. Set Fields.reward, or omit the filter."
            )
        best = expert_return(returns)
        return returns >= best - (1 - self.share) * abs(best)


def expert_return(returns: Float[np.ndarray, " N"]) -> float:
    """Return the expert return of a recording (paper, section 4.2): the highest mean return in any window of episodes.

    A window is W successive episodes, where W = min(1000, N / 10), rounded down, and at least 1. N must not be 0.
    """
    window = max(1, min(1000, len(returns) // 10))
    sums = np.concatenate([[0.0], np.cumsum(returns, dtype=np.float64)])
    return float(np.max(sums[window:] - sums[:-window]) / window)
