"""Sums over a stream of steps for a data report; what they hold does not grow with the dataset.

Axes:
    T steps of one episode   D elements of a value, row-major   C channels   M measures of an image
"""

from __future__ import annotations

import collections

import numpy as np

from gato_jax.episodes import Continuous, Discrete, Image
from gato_jax.reports.tokenization.accumulators import Moments

FEW = 4  # values that an element takes are listed up to so many
CELLS = 32  # of the histogram of brightness
_SAMPLED, _SAMPLED_NUMBERS = 20_000, 4_000_000  # steps, and numbers in all of them, that a sample holds at most
_TEXTS = 10_000
_IMAGES = 32  # measured at a time


class Sample:
    """Steps drawn at random from a stream, each with the same chance; all of them where they are few.

    Every step draws a number, and those with the lowest are kept, so the sample depends on the order of steps alone.
    """

    def __init__(self, width: int):
        self.size = max(100, min(_SAMPLED, _SAMPLED_NUMBERS // max(width, 1)))
        self._rng = np.random.default_rng(0)
        self._draws, self._rows = np.zeros(0), np.zeros((0, width))
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []
        self._waiting_steps, self._bound = 0, np.inf

    def add(self, values: np.ndarray):
        """(T, D) float64."""
        draws = self._rng.random(len(values))
        kept = draws < self._bound
        self._waiting.append((draws[kept], values[kept]))
        self._waiting_steps += int(kept.sum())
        if self._waiting_steps > self.size:
            self._settle()

    @property
    def rows(self) -> np.ndarray:
        """(N, D), in no order."""
        self._settle()
        return self._rows

    def _settle(self):
        parts = [(self._draws, self._rows), *self._waiting]
        draws, rows = (np.concatenate(part) for part in zip(*parts, strict=True))
        if len(draws) > self.size:
            lowest = np.argpartition(draws, self.size)[: self.size]
            draws, rows = draws[lowest], rows[lowest]
            self._bound = draws.max()
        self._draws, self._rows, self._waiting, self._waiting_steps = draws, rows, [], 0


class ContinuousSums:
    """Moments, a sample, values beyond the limits and the first few values of every element."""

    def __init__(self, modality: Continuous):
        self.modality, self.moments, self.sample = modality, Moments(modality), Sample(modality.size)
        self.left_out = 0
        self.clipped = np.zeros(modality.size, np.int64)
        self.values: list[set[float]] = [set() for _ in range(modality.size)]  # one more than FEW at most

    def add(self, values: np.ndarray):
        """(T, *shape). A step in which a value is no finite number is left out, and counted."""
        values = values.reshape(len(values), self.modality.size)
        finite = np.isfinite(values).all(axis=1)
        self.left_out += int((~finite).sum())
        values = values[finite]
        # Limits are compared as the recording has them: 0.1 in float32 is above 0.1.
        kind = values.dtype if values.dtype.kind == "f" else np.float64
        low, high = (limit.astype(kind) for limit in self.modality.limits)
        self.clipped += ((values < low) | (values > high)).sum(axis=0)
        values = values.astype(np.float64)
        self.moments.add(values)
        self.sample.add(values)
        for seen, column in zip(self.values, values.T, strict=True):
            if len(seen) <= FEW:
                seen.update(np.unique(column)[: FEW + 1].tolist())


class DiscreteCounts:
    """How often every element took each of its n values."""

    def __init__(self, modality: Discrete):
        self.counts = np.zeros((modality.size, modality.n), np.int64)

    def add(self, values: np.ndarray):
        """(T, *shape) integers in [0, n)."""
        size, n = self.counts.shape
        places = np.arange(size) * n + values.reshape(len(values), size).astype(np.int64)
        self.counts += np.bincount(places.ravel(), minlength=size * n).reshape(size, n)


class ImageSums:
    """Pixels and measures of the images of one camera."""

    def __init__(self, modality: Image):
        colours = ("red", "green", "blue")
        channels = colours if modality.channels == 3 else [f"channel {number}" for number in range(modality.channels)]
        self.names = (*channels, "brightness", "contrast", "edges")
        self.moments = Moments(Continuous(shape=(len(self.names),)))
        self.sample = Sample(len(self.names))
        self.brightness = np.zeros(CELLS, np.int64)
        self._squares = np.zeros(modality.channels)

    def add(self, images: np.ndarray):
        """(T, H, W, C) uint8."""
        for first in range(0, len(images), _IMAGES):
            self._add(images[first : first + _IMAGES])

    def _add(self, images: np.ndarray):
        brightness = images.mean(axis=-1, dtype=np.float32)
        cells = (brightness * (CELLS / 256)).astype(np.uint8)
        self.brightness += np.bincount(cells.ravel(), minlength=CELLS)
        self._squares += np.square(images.astype(np.uint16)).mean(axis=(1, 2), dtype=np.float64).sum(axis=0)
        measures = np.column_stack([
            images.mean(axis=(1, 2), dtype=np.float64),
            brightness.mean(axis=(1, 2), dtype=np.float64),
            brightness.std(axis=(1, 2), dtype=np.float64),
            _edges(brightness),
        ])  # fmt: skip
        self.moments.add(measures)
        self.sample.add(measures)

    @property
    def channels(self) -> tuple[np.ndarray, np.ndarray]:
        """(C,) mean and standard deviation over all pixels of all images."""
        mean = self.moments.mean[: len(self._squares)]
        variance = self._squares / max(self.moments.count, 1) - np.square(mean)
        return mean, np.sqrt(np.maximum(variance, 0.0))


def _edges(brightness: np.ndarray) -> np.ndarray:
    """(T,) mean absolute difference of neighbouring pixels of (T, H, W)."""
    steps = [np.abs(np.diff(brightness, axis=axis)).reshape(len(brightness), -1) for axis in (1, 2)]
    differences = np.concatenate(steps, axis=1)
    return differences.sum(axis=1, dtype=np.float64) / max(differences.shape[1], 1)


class TextCounts:
    """How often each text came, of the first so many different ones."""

    def __init__(self):
        self.counts: collections.Counter[str] = collections.Counter()
        self.count, self.empty, self.characters, self.others = 0, 0, 0, 0

    def add(self, texts: np.ndarray):
        """(T,) str."""
        for text, times in collections.Counter(texts.tolist()).items():
            self.count += times
            self.empty += times * (text == "")
            self.characters += times * len(text)
            if text in self.counts or len(self.counts) < _TEXTS:
                self.counts[text] += times
            else:
                self.others += times
