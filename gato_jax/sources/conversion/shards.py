"""Which episodes are converted together: a shard is what one worker reads, and becomes one record file."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator

import numpy as np

from gato_jax.episodes import Continuous, Discrete, Image, Modality, TaskSpec

SHARD_EPISODES = 1000
_SHARD_BYTES = 64 << 20  # before images are compressed: tens of megabytes on disk
_TEXT_BYTES = 64


@dataclasses.dataclass(frozen=True, order=True)
class Shard:
    """The episodes at the positions `start` to `stop` - 1 of a split's reader, the `number`th shard of that split."""

    split: str
    number: int
    start: int
    stop: int

    @property
    def name(self) -> str:
        return f"{self.split}-{self.number:05}"

    def __len__(self) -> int:
        return self.stop - self.start


def plan_shards(spec: TaskSpec, split: str, lengths: np.ndarray, max_episodes: int = SHARD_EPISODES) -> list[Shard]:
    """Shards that cover every episode once, in order: a function of what is recorded, not of who converts it.

    Args:
      spec: says how large a step is.
      split: of the episodes.
      lengths: (N,) int64, steps of each episode.
      max_episodes: in one shard; fewer where they are large.
    """
    step_bytes = sum(map(_step_bytes, (*spec.observation.values(), *spec.action.values())))
    sizes = (np.asarray(lengths, np.int64) * step_bytes).tolist()
    ends = itertools.pairwise([0, *_stops(sizes, max_episodes)])
    return [Shard(split, number, start, stop) for number, (start, stop) in enumerate(ends)]


def _stops(sizes: list[int], max_episodes: int) -> Iterator[int]:
    start, held = 0, 0
    for position, size in enumerate(sizes):
        if position > start and (held + size > _SHARD_BYTES or position - start == max_episodes):
            yield position
            start, held = position, 0
        held += size
    if sizes:
        yield len(sizes)


def _step_bytes(modality: Modality) -> int:
    match modality:
        case Image():
            return math.prod(modality.shape)
        case Discrete():
            return 8 * math.prod(modality.shape)
        case Continuous():
            return 4 * math.prod(modality.shape)
    return _TEXT_BYTES
