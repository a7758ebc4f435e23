"""Curves of few points that show all of a long one: the lowest, highest and mean value of each stretch."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float, Int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stretches:
    """A curve cut into stretches of consecutive values.

    Attributes:
      last: Index of the last value of each stretch.
      low, high, mean: Least, greatest and mean value of each stretch.
      count: Number of values of each stretch.
    """

    last: Int[np.ndarray, " stretches"]
    low: Float[np.ndarray, " stretches"]
    high: Float[np.ndarray, " stretches"]
    mean: Float[np.ndarray, " stretches"]
    count: Int[np.ndarray, " stretches"]


def downsample(values: Float[np.ndarray, " values"], points: int) -> Stretches:
    """Cut a curve into at most `points` stretches of equal lengths, to within one value.

    Each value is a stretch of its own where they are few. No extreme value is lost.
    """
    edges = np.unique(np.linspace(0, len(values), min(points, len(values)) + 1).astype(np.int64))
    first, end = edges[:-1], edges[1:]
    if not len(first):
        empty = np.zeros(0)
        return Stretches(last=end[:0], low=empty, high=empty, mean=empty, count=end[:0])
    count = end - first
    return Stretches(
        last=end - 1,
        low=np.minimum.reduceat(values, first),
        high=np.maximum.reduceat(values, first),
        mean=np.add.reduceat(values, first, dtype=np.float64) / count,
        count=count,
    )
