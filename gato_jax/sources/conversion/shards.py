"""Division of a recording into shards. A worker converts one shard at a time into one record file."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator

import numpy as np

from gato_jax.episodes import Continuous, Discrete, Image, Modality, TaskSpec

SHARD_EPISODES = 1000
_SHARD_BYTES = 64 << 20  # before compression of images, which leaves tens of megabytes on disk
_TEXT_BYTES = 64  # assumed size of a text


@dataclasses.dataclass(frozen=True, order=True)
class Shard:
    """The episodes at positions [start, stop) of a split.

    Attributes:
      split: name of the split.
      number: number of the shard within the split, from 0.
      start: position of the first episode in the reader of the split.
      stop: position after the last episode.
    """

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
    """Divide the episodes of a split into shards, in order.

    The result depends on the arguments only, so that an interrupted conversion can continue on another machine.

    Args:
      spec: the task, whose modalities give the size of a step.
      split: name of the split.
      lengths: number of steps of each episode, (N,) int64.
      max_episodes: maximum number of episodes in a shard. A shard of several episodes has at most about 64 MiB before
        compression, so large episodes make smaller shards.
    """
    step_bytes = sum(map(_step_bytes, (*spec.observation.values(), *spec.action.values())))
    sizes = (np.asarray(lengths, np.int64) * step_bytes).tolist()
    ends = itertools.pairwise([0, *_shard_ends(sizes, max_episodes)])
    return [Shard(split, number, start, stop) for number, (start, stop) in enumerate(ends)]


def _shard_ends(sizes: list[int], max_episodes: int) -> Iterator[int]:
    """Yield the position after the last episode of each shard, given the sizes of all episodes in bytes.

    A shard has at most `max_episodes`, and at most 64 MiB unless a single episode is larger.
    """
    start, shard_bytes = 0, 0
    for position, size in enumerate(sizes):
        if position > start and (shard_bytes + size > _SHARD_BYTES or position - start == max_episodes):
            yield position
            start, shard_bytes = position, 0
        shard_bytes += size
    if sizes:
        yield len(sizes)


def _step_bytes(modality: Modality) -> int:
    """Return the size of one value of a modality in bytes, before compression; a text counts as 64 bytes."""
    match modality:
        case Image():
            return math.prod(modality.shape)
        case Discrete():
            return 8 * math.prod(modality.shape)
        case Continuous():
            return 4 * math.prod(modality.shape)
    return _TEXT_BYTES
