"""The dataset of each row of a run and the place where the row begins, computed for any row without the others.

Each batch holds its datasets in proportion to their weights, by systematic sampling: a dataset of weight w gets floor
or ceil of w * batch_size rows. A dataset is read epoch after epoch, each in an order of its own. The order is computed
from the seed and not stored, so there is no shuffle buffer, and the only state is the number of the row.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

import grain
import numpy as np
from jaxtyping import Bool, Float, Int

_BLOCK = 1 << 12  # number of steps whose counts are computed at once
_FEW = 1 << 16  # strata of an epoch whose order is computed at once
_ROUNDS = 4  # rounds of the cipher that orders more strata one by one; grain's own choice
_PROMPT_BLOCK = 64  # rows of a dataset of which the wanted share, as nearly as whole rows can, has prompts


class Schedule:
    """The dataset of every slot of every batch; a slot is the index of a row within its batch.

    Args:
      shares: (D,) share of the rows of each dataset; they sum to 1.
      batch_size: Number of slots of a batch.
      seed: Seed of the run.
    """

    def __init__(self, shares: Float[np.ndarray, " D"], batch_size: int, seed: int):
        self._ends = np.round(np.cumsum(shares) * batch_size, 9)  # rounded, so that whole numbers of rows stay whole
        self._batch_size, self._seed = batch_size, seed
        self._totals = np.zeros((1, len(shares)), np.int64)  # rows of each dataset before each block

    def locate(self, step: int, slot: int) -> tuple[int, int]:
        """Return the index of the dataset of a slot of batch `step`, and the number of rows of that dataset before it.

        Rows count from the beginning of the run, so the second number is the index of the slot's row among the rows of
        its dataset.
        """
        block, place = divmod(step, _BLOCK)
        ends = self._block(block)[place]
        dataset = int(np.searchsorted(ends, slot, side="right"))
        in_batch = slot - int(ends[dataset - 1] if dataset else 0)
        return dataset, int(self.rows_before(step)[dataset]) + in_batch

    def rows_before(self, step: int) -> Int[np.ndarray, " D"]:
        """Return the number of rows of each dataset in the batches 0, ..., step - 1 together."""
        block, place = divmod(step, _BLOCK)
        while len(self._totals) <= block:
            rows = self._counts(len(self._totals) - 1)[-1]
            self._totals = np.concatenate([self._totals, self._totals[-1:] + rows])
        return self._totals[block] + (self._counts(block)[place - 1] if place else 0)

    @functools.lru_cache(maxsize=4)  # noqa: B019 (a schedule lives as long as its run)
    def _block(self, block: int) -> Int[np.ndarray, "steps D"]:
        """Return the slot before which each dataset ends in each batch of a block of 4096 steps."""
        offset = np.random.default_rng((self._seed, 0, block)).random((_BLOCK, 1))
        ends = np.clip(np.ceil(self._ends - offset), 0, self._batch_size).astype(np.int64)
        ends[:, -1] = self._batch_size
        return ends

    @functools.lru_cache(maxsize=4)  # noqa: B019
    def _counts(self, block: int) -> Int[np.ndarray, "steps D"]:
        """Return the cumulative numbers of rows of the datasets in a block of 4096 batches.

        Element [i, d] is the number of rows of dataset d in the first i + 1 batches of the block.
        """
        return np.cumsum(np.diff(self._block(block), axis=1, prepend=0), axis=0)


class PromptedRows:
    """The rows of one dataset that have prompts: the wanted share of every 64 consecutive rows, at random places.

    Args:
      share: Share of the rows, in [0, 1].
      seed: Seed of the places.
    """

    def __init__(self, share: float, seed: tuple[int, ...]):
        self._share, self._seed = share, seed

    def __contains__(self, row: int) -> bool:
        """Return True if the dataset's `row`-th row, from 0, has prompts."""
        block, place = divmod(row, _PROMPT_BLOCK)
        return bool(self._block(block)[place])

    @functools.lru_cache(maxsize=4)  # noqa: B019 (it lives as long as its run)
    def _block(self, block: int) -> Bool[np.ndarray, " 64"]:
        """Return which rows of a block of 64 rows have prompts."""
        before, after = (math.floor((block + end) * _PROMPT_BLOCK * self._share + 0.5) for end in (0, 1))
        chosen = np.zeros(_PROMPT_BLOCK, bool)
        chosen[np.random.default_rng((*self._seed, block)).permutation(_PROMPT_BLOCK)[: after - before]] = True
        return chosen


class Epochs:
    """Starts of the windows of one dataset: epoch after epoch, each over the whole dataset in another random order.

    The dataset is cut into as many strata as an epoch has windows, and one window of each epoch begins in each stratum,
    at a random unit of it.

    Args:
      units: Number of tokens or timesteps of the dataset, any of which a window may begin with.
      windows: Number of strata, clipped to [1, units].
      windows_per_row: Number of windows of a row that follow the order of the epoch. More windows that fit in
        a row begin anywhere.
      seed: Seed of the orders.
    """

    def __init__(self, *, units: int, windows: int, windows_per_row: int, seed: tuple[int, ...]):
        self._units, self._windows = units, min(max(windows, 1), units)
        if self._windows > _FEW and (last := self._windows - 1) & (last - 1) == 0:
            self._windows -= 1  # where `last` is a power of two, grain visits one stratum twice and misses another
        self._windows_per_row, self._seed = windows_per_row, seed

    def starts(self, row: int, rng: np.random.Generator) -> Iterator[int]:
        """Yield the index of the unit that each window of the dataset's `row`-th row, from 0, begins with, without end.

        The first `windows_per_row` windows follow the order of the epoch: each begins at a random unit of its stratum.
        The others begin at any unit. All draw from `rng`.
        """
        for draw in range(row * self._windows_per_row, (row + 1) * self._windows_per_row):
            epoch, place = divmod(draw, self._windows)
            if self._windows > 1:
                place = self._stratum(epoch, place)
            start, stop = (stratum * self._units // self._windows for stratum in (place, place + 1))
            yield start + int(rng.integers(stop - start))
        while True:
            yield int(rng.integers(self._units))

    def epoch(self, rows: int) -> int:
        """Return the epoch, counted from 0, that the dataset is in after the first `rows` of its rows."""
        return rows * self._windows_per_row // self._windows

    def _stratum(self, epoch: int, place: int) -> int:
        """Return the index of the stratum (see the class) that an epoch visits at position `place` of its order."""
        if self._windows > _FEW:
            last, key = self._windows - 1, self._key(epoch)
            return grain.experimental.index_shuffle(place, max_index=last, seed=key, rounds=_ROUNDS)
        return int(self._order(epoch)[place])

    @functools.lru_cache(maxsize=4)  # noqa: B019 (threads that build batches may be in several epochs)
    def _order(self, epoch: int) -> Int[np.ndarray, " windows"]:
        """Return the order of the strata in an epoch of few of them."""
        return np.random.default_rng((*self._seed, epoch)).permutation(self._windows)

    @functools.lru_cache(maxsize=4)  # noqa: B019
    def _key(self, epoch: int) -> int:
        return int(np.random.SeedSequence((*self._seed, epoch)).generate_state(1)[0])
