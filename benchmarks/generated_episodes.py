"""A sequence of episodes that are made when they are read, for datasets that are larger than the memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from gato_jax.episodes import Episode


class GeneratedEpisodes(Sequence[Episode]):
    """`count` episodes, of which number i is `make(rng)` with a generator seeded by i."""

    def __init__(self, count: int, make: Callable[[np.random.Generator], Episode]):
        self._count, self._make = count, make

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(self._count))]
        if not 0 <= index < self._count:
            raise IndexError(f"episode {index} of {self._count}")
        return self._make(np.random.default_rng(index))
