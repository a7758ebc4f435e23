"""Which of the readable episodes are worth learning from, decided from what is known of all of them."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float

from gato_jax.sources.reader import SourceError

_UNSAID = -1  # of success


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Facts:
    """What is known of N episodes, in the order of the recording, its splits one after the other.

    Attributes:
      episode_return: (N,) float64, undiscounted.
      success: (N,) int8, -1 where the recording does not say.
      digest: (N,) uint64, over the episode's content, as in EpisodeIndex.
    """

    episode_return: np.ndarray
    success: np.ndarray
    digest: np.ndarray


@runtime_checkable
class Filter(Protocol):
    """A frozen dataclass that judges the whole recording, whatever other filters leave of it.

    `keeps` raises SourceError where the recording does not say what it judges by.
    """

    name: ClassVar[str]

    def keeps(self, facts: Facts) -> Bool[np.ndarray, " N"]: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Deduplicate:
    """Of identical episodes the first is kept."""

    name: ClassVar[str] = "deduplicate"

    def keeps(self, facts: Facts) -> Bool[np.ndarray, " N"]:
        kept = np.zeros(len(facts.digest), bool)
        kept[np.unique(facts.digest, return_index=True)[1]] = True
        return kept


@dataclasses.dataclass(frozen=True, kw_only=True)
class SuccessOnly:
    """Episodes that met the task's own criterion: those that failed, or do not say, are left out."""

    name: ClassVar[str] = "success_only"

    def keeps(self, facts: Facts) -> Bool[np.ndarray, " N"]:
        if len(facts.success) and (facts.success == _UNSAID).all():
            raise SourceError(
                "success_only: no episode says whether it succeeded; give Fields.success, or leave the filter out"
            )
        return facts.success == 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExpertShare:
    """The paper's filter (arXiv 2205.06175, section 4.2): episodes of at least 80% of the expert's return.

    Where the expert's return E is negative, 80% of it would be better than the expert itself. An episode may then fall
    short of E by 20% of |E|, which for a positive E is the paper's condition.
    """

    share: float = 0.8
    name: ClassVar[str] = "expert_share"

    def __post_init__(self):
        if not 0 <= self.share <= 1:
            raise SourceError(f"expert_share is {self.share}; it is a share of the expert's return, from 0 to 1")

    def keeps(self, facts: Facts) -> Bool[np.ndarray, " N"]:
        returns = facts.episode_return
        if not len(returns):
            return np.zeros(0, bool)
        if not np.isfinite(returns).all():
            number = int(np.argmin(np.isfinite(returns)))
            raise SourceError(
                f"the return of episode {number} is {returns[number]}: no expert's return; mend its rewards"
            )
        if not returns.any():
            raise SourceError(
                "expert_share: the rewards are all zero in every episode; give Fields.reward, or leave the filter out"
            )
        best = expert_return(returns)
        return returns >= best - (1 - self.share) * abs(best)


def expert_return(returns: Float[np.ndarray, " N"]) -> float:
    """The best mean return of W successive episodes, W a tenth of all, at most 1000 and at least 1 (section 4.2)."""
    window = max(1, min(1000, len(returns) // 10))
    sums = np.concatenate([[0.0], np.cumsum(returns, dtype=np.float64)])
    return float(np.max(sums[window:] - sums[:-window]) / window)
