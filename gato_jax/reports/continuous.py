"""Running statistics of continuous values over a stream of steps, in memory that does not grow with the dataset.

All reports measure continuous values with these classes, so that a number of one dataset is the same on every page.

Axes:
    T steps of one episode   D elements of a value, row-major
"""

from __future__ import annotations

import numpy as np

from gato_jax.episodes import Continuous

FEW = 4  # an element with at most this many distinct values has them listed
_SAMPLED, _SAMPLED_NUMBERS = 20_000, 4_000_000  # the most steps of a sample, and the most numbers in them


class Moments:
    """Running count, minimum, maximum, mean and standard deviation of each element of a continuous key, in float64.

    Attributes:
      count: number of steps.
      low, high: (D,) minimum and maximum; inf and -inf before the first step.
      mean, standard_deviation: (D,) those of the population; 0 before the first step.
    """

    def __init__(self, modality: Continuous):
        self.count = 0
        self.low = np.full(modality.size, np.inf)
        self.high = np.full(modality.size, -np.inf)
        self._mean = np.zeros(modality.size)
        self._squares = np.zeros(modality.size)  # summed squares of the distances from the mean

    def add(self, values: np.ndarray):
        """Add values, float64 (T, D), by the pairwise update of Chan et al. (1979), which avoids cancellation."""
        if not len(values):
            return
        count, mean = len(values), values.mean(axis=0)
        total, difference = self.count + count, mean - self._mean
        self._squares += np.square(values - mean).sum(axis=0) + np.square(difference) * (self.count * count / total)
        self._mean += difference * (count / total)
        self.count = total
        self.low = np.minimum(self.low, values.min(axis=0))
        self.high = np.maximum(self.high, values.max(axis=0))

    @property
    def mean(self) -> np.ndarray:
        return self._mean

    @property
    def standard_deviation(self) -> np.ndarray:
        return np.sqrt(self._squares / max(self.count, 1))


class Sample:
    """A uniform random sample of a stream of steps with `width` numbers each; all steps if there is room for them.

    It has room for 20,000 steps, or fewer if `width` is over 200: as many as have 4,000,000 numbers, but at least 100.
    Each step draws a number, and the steps with the lowest numbers are kept. The generator has a fixed seed, so the
    same steps in the same order give the same sample, however they are split into calls of `add`.
    """

    def __init__(self, width: int):
        self.size = max(100, min(_SAMPLED, _SAMPLED_NUMBERS // max(width, 1)))
        self._rng = np.random.default_rng(0)
        self._draws, self._rows = np.zeros(0), np.zeros((0, width))
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []
        self._waiting_steps, self._bound = 0, np.inf

    def add(self, values: np.ndarray):
        """Add steps, float64 (T, D)."""
        draws = self._rng.random(len(values))
        keep = draws < self._bound
        self._waiting.append((draws[keep], values[keep]))
        self._waiting_steps += int(keep.sum())
        if self._waiting_steps > self.size:
            self._compact()

    @property
    def rows(self) -> np.ndarray:
        """The sampled steps (N, width), in no particular order."""
        self._compact()
        return self._rows

    def _compact(self):
        """Merge the steps added since the last call into the sample and drop those with the largest draws."""
        parts = [(self._draws, self._rows), *self._waiting]
        draws, rows = (np.concatenate(part) for part in zip(*parts, strict=True))
        if len(draws) > self.size:
            lowest = np.argpartition(draws, self.size)[: self.size]
            draws, rows = draws[lowest], rows[lowest]
            self._bound = draws.max()
        self._draws, self._rows, self._waiting, self._waiting_steps = draws, rows, [], 0


class ContinuousSums:
    """Running statistics of a continuous key: moments, a sample, clipped values and some distinct values.

    Attributes:
      moments, sample: count, extremes, mean and deviation, and a random sample, of the steps that are not left out.
      left_out: number of steps left out because a value was not finite.
      clipped: (D,) number of values beyond the limits of the modality.
      values: for each element, distinct values that it took: all if they are at most FEW (4), else more than FEW.
    """

    def __init__(self, modality: Continuous):
        self.modality, self.moments, self.sample = modality, Moments(modality), Sample(modality.size)
        self.left_out = 0
        self.clipped = np.zeros(modality.size, np.int64)
        self.values: list[set[float]] = [set() for _ in range(modality.size)]

    def add(self, values: np.ndarray):
        """Add values (T, *shape), without the steps at which any value of the key is not finite."""
        values = values.reshape(len(values), self.modality.size)
        finite = np.isfinite(values).all(axis=1)
        self.left_out += int((~finite).sum())
        values = values[finite]
        # Limits are compared in the dtype of the recording, because 0.1 in float32 is greater than 0.1 in float64.
        kind = values.dtype if values.dtype.kind == "f" else np.float64
        low, high = (limit.astype(kind) for limit in self.modality.limits)
        self.clipped += ((values < low) | (values > high)).sum(axis=0)
        values = values.astype(np.float64)
        self.moments.add(values)
        self.sample.add(values)
        for seen, column in zip(self.values, values.T, strict=True):
            if len(seen) <= FEW:
                seen.update(np.unique(column)[: FEW + 1].tolist())
