"""How much of the rows each dataset gets."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from typing import Literal

from gato_jax.batching.records import TokenRecords

Weighting = Literal["by_hand", "by_size", "by_task"]
WEIGHTINGS = typing.get_args(Weighting)


def weigh(records: Sequence[TokenRecords], weights: Sequence[float], weighting: Weighting) -> list[float]:
    """The weights of datasets, each of one task, relative to each other.

    Args:
      records: the datasets.
      weights: those that the config gives.
      weighting: `by_hand` takes these; `by_size` multiplies each by the dataset's tokens, so that equal weights sample
        all tokens alike; `by_task` gives every suite the same, divided equally over its tasks, times these.
    """
    if weighting == "by_hand":
        return list(weights)
    if weighting == "by_size":
        return [weight * made.tokens for weight, made in zip(weights, records, strict=True)]
    suites = [made.spec.suite for made in records]
    return [weight / suites.count(suite) for weight, suite in zip(weights, suites, strict=True)]
