"""Running statistics over a stream of steps, so that a dataset need not fit into memory.

Axes:
    T steps of one episode   D elements of a value, row-major   B bins
"""

from __future__ import annotations

import numpy as np

from gato_jax.episodes import Discrete
from gato_jax.tokenization import ContinuousCodec, DiscreteCodec

CELLS = 64  # cells of a histogram over the bins


class CodecErrors:
    """Running errors of one codec on each element of a key: absolute errors, number of clipped values, bins used.

    Attributes:
      count: number of steps.
      error_sum, error_max: (D,) sum and maximum of absolute errors.
      clipped: (D,) number of clipped values.
      seen: (D, B) whether a value fell into the bin.
      histogram: (D, cells) counts over 64 equal ranges of bins, or over the bins if there are fewer.
    """

    def __init__(self, codec: ContinuousCodec):
        self.codec, self.count, size = codec, 0, codec.token_count
        self.error_sum, self.error_max = np.zeros(size), np.zeros(size)
        self.clipped = np.zeros(size, np.int64)
        self.seen = np.zeros((size, codec.bins), bool)
        self.histogram = np.zeros((size, min(CELLS, codec.bins)), np.int64)

    def add(self, values: np.ndarray):
        """Encode and decode values (T, *shape) and add their errors.

        Raises:
          TokenizationError: a value is not finite, or the array has another shape or kind of dtype.
        """
        ids = self.codec.encode(values)
        error = np.abs(self.codec.decode(ids).reshape(ids.shape) - values.reshape(ids.shape).astype(np.float64))
        self.count += len(ids)
        self.error_sum += error.sum(axis=0)
        self.error_max = np.maximum(self.error_max, error.max(axis=0, initial=0.0))
        self.clipped += self.codec.clips(values).sum(axis=0)
        element = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
        numbers = ids - self.codec.first_id
        self.seen[element, numbers] = True
        cells = self.histogram.shape[1]
        cell = element * cells + numbers.astype(np.int64) * cells // self.codec.bins
        self.histogram += np.bincount(cell.reshape(-1), minlength=self.histogram.size).reshape(self.histogram.shape)


class SeenValues:
    """Running mask of values: `seen`, bool (D, n), is True for each value that an element of a discrete key took."""

    def __init__(self, modality: Discrete):
        self.seen = np.zeros((modality.size, modality.n), bool)

    def add(self, codec: DiscreteCodec, values: np.ndarray):
        """Add integers (T, *shape), which are encoded and so checked by `codec`, the codec of the key.

        Raises:
          TokenizationError: a value is not in [0, n), or the array has another shape or is of floats.
        """
        ids = codec.encode(values)
        self.seen[np.broadcast_to(np.arange(ids.shape[1]), ids.shape), ids] = True


class TextTokens:
    """Counts of the text tokens of a step, which vary in number from step to step.

    Attributes:
      steps: number of steps.
      key_sum: {(side, key): number of tokens in all steps}.
      most_observed, most: the most text tokens of one observation, and of one whole step.
    """

    def __init__(self):
        self.steps = 0
        self.key_sum: dict[tuple[str, str], int] = {}
        self.most_observed, self.most = 0, 0

    def add(self, steps: int, lengths: dict[tuple[str, str], np.ndarray]):
        """Add an episode.

        Args:
          steps: its number of steps, T.
          lengths: {(side, key): number of tokens of the text at each step, (T,) integers}.
        """
        self.steps += steps
        observed, total = np.zeros(steps, np.int64), np.zeros(steps, np.int64)
        for (side, key), length in lengths.items():
            self.key_sum[side, key] = self.key_sum.get((side, key), 0) + int(length.sum())
            total += length
            observed += length if side == "observation" else 0
        self.most = max(self.most, int(total.max(initial=0)))
        self.most_observed = max(self.most_observed, int(observed.max(initial=0)))
