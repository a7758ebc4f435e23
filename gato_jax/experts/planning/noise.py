"""Noise on action sequences: splines between random knots, and noise with a coloured spectrum."""

from __future__ import annotations

import abc
import dataclasses
import functools
from typing import Literal

import numpy as np


class Noise(abc.ABC):
    """A distribution of smooth noise with zero mean and, at the knots or on average, unit variance."""

    @abc.abstractmethod
    def draw(self, generator: np.random.Generator, samples: int, horizon: int, size: int) -> np.ndarray:
        """Return noise of shape (samples, horizon, size)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplinedNoise(Noise):
    """Normal noise at evenly spaced knots, interpolated between them.

    Attributes:
      knots: Number of knots, the first at the first step and the last at the last step.
      order: `hold` keeps the value of the knot before, `linear` and `cubic` (Catmull-Rom) interpolate.
    """

    knots: int
    order: Literal["hold", "linear", "cubic"] = "linear"

    def draw(self, generator: np.random.Generator, samples: int, horizon: int, size: int) -> np.ndarray:
        values = generator.standard_normal((samples, self.knots, size))
        # n: samples, h: horizon, k: knots, u: size
        return np.einsum("hk,nku->nhu", _spline_weights(horizon, self.knots, self.order), values)


@functools.lru_cache(maxsize=64)
def _spline_weights(horizon: int, knots: int, order: str) -> np.ndarray:
    """Return the weight of each knot in each step, (horizon, knots)."""
    if knots == 1:
        return np.ones((horizon, 1))
    if order == "hold":
        return np.eye(knots)[np.arange(horizon) * knots // horizon]
    places = np.linspace(0.0, knots - 1.0, horizon)
    before = np.minimum(places.astype(int), knots - 2)
    share = (places - before)[:, None]
    one_hot = np.eye(knots)
    left, right = one_hot[before], one_hot[before + 1]
    if order == "linear":
        return (1 - share) * left + share * right
    outer_left, outer_right = one_hot[np.maximum(before - 1, 0)], one_hot[np.minimum(before + 2, knots - 1)]
    squared, cubed = share**2, share**3
    return (
        (-cubed + 2 * squared - share) * outer_left
        + (3 * cubed - 5 * squared + 2) * left
        + (-3 * cubed + 4 * squared + share) * right
        + (cubed - squared) * outer_right
    ) / 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class ColouredNoise(Noise):
    """Normal noise whose power falls with frequency f as f ** -exponent, as in iCEM (arXiv 2008.06389, section 3.1).

    Attributes:
      exponent: 0 is white noise; 2 to 4 are smooth sequences that move joints far.
    """

    exponent: float

    def draw(self, generator: np.random.Generator, samples: int, horizon: int, size: int) -> np.ndarray:
        frequencies = np.fft.rfftfreq(horizon)
        frequencies[0] = frequencies[1] if horizon > 1 else 1.0  # the mean has as much power as the lowest frequency
        scales = frequencies ** (-self.exponent / 2)
        spectrum = generator.standard_normal((2, samples, size, len(scales))) * scales
        spectrum[1, ..., 0] = 0.0  # the spectrum of a real sequence is real at the ends
        power = scales**2
        if horizon % 2 == 0:
            spectrum[1, ..., -1] = 0.0
            power[-1] /= 4
        power[0] /= 4
        noise = np.fft.irfft(spectrum[0] + 1j * spectrum[1], horizon, axis=-1)
        return np.moveaxis(noise, -1, 1) * horizon / (2 * np.sqrt(power.sum()))
