"""Running statistics over a stream of steps, in memory that does not grow with the dataset.

Axes:
    T steps of one episode   D elements of a value, row-major   C channels   M measures of an image
"""

from __future__ import annotations

import collections

import numpy as np

from gato_jax.episodes import Continuous, Discrete, Image
from gato_jax.reports.continuous import Moments, Sample

CELLS = 32  # of the histogram of brightness
_TEXTS = 10_000  # the most distinct texts that are counted
_IMAGES = 32  # number of images that are measured at a time


class DiscreteCounts:
    """Running counts (`counts`, (D, n)) of how often each element of a discrete key took each of its n values."""

    def __init__(self, modality: Discrete):
        self.counts = np.zeros((modality.size, modality.n), np.int64)

    def add(self, values: np.ndarray):
        """Add integers in [0, n), shaped (T, *shape)."""
        size, n = self.counts.shape
        places = np.arange(size) * n + values.reshape(len(values), size).astype(np.int64)
        self.counts += np.bincount(places.ravel(), minlength=size * n).reshape(size, n)


class ImageSums:
    """Running statistics of the pixels and of the measures of a camera's images; see `findings.Camera`.

    `names` are the M measures: red, green and blue (or "channel 0" and so on), brightness, contrast and edges.
    """

    def __init__(self, modality: Image):
        colours = ("red", "green", "blue")
        channels = colours if modality.channels == 3 else [f"channel {number}" for number in range(modality.channels)]
        self.names = (*channels, "brightness", "contrast", "edges")
        self.moments = Moments(Continuous(shape=(len(self.names),)))
        self.sample = Sample(len(self.names))
        self.brightness = np.zeros(CELLS, np.int64)
        self._squares = np.zeros(modality.channels)

    def add(self, images: np.ndarray):
        """Add images, uint8 (T, H, W, C), to all statistics."""
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
        """Mean and standard deviation, each (C,), of each channel over all pixels of all images."""
        mean = self.moments.mean[: len(self._squares)]
        variance = self._squares / max(self.moments.count, 1) - np.square(mean)
        return mean, np.sqrt(np.maximum(variance, 0.0))


def _edges(brightness: np.ndarray) -> np.ndarray:
    """Return the mean absolute difference of neighbouring pixels, both ways, for each image: (T,) for (T, H, W)."""
    steps = [np.abs(np.diff(brightness, axis=axis)).reshape(len(brightness), -1) for axis in (1, 2)]
    differences = np.concatenate(steps, axis=1)
    return differences.sum(axis=1, dtype=np.float64) / max(differences.shape[1], 1)


class TextCounts:
    """Running counts of the texts of a key.

    Attributes:
      counts: {text: number of steps} for the first 10,000 distinct texts.
      count, empty: numbers of steps, and of steps whose text is empty.
      characters: total number of characters in the texts of all steps.
      others: number of steps whose text is not in `counts`.
    """

    def __init__(self):
        self.counts: collections.Counter[str] = collections.Counter()
        self.count, self.empty, self.characters, self.others = 0, 0, 0, 0

    def add(self, texts: np.ndarray):
        """Add texts, an array of str (T,)."""
        for text, times in collections.Counter(texts.tolist()).items():
            self.count += times
            self.empty += times * (text == "")
            self.characters += times * len(text)
            if text in self.counts or len(self.counts) < _TEXTS:
                self.counts[text] += times
            else:
                self.others += times
