"""Values of all magnitudes up to M = 256 through the paper's companding, and through that of a secondary article."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal, NamedTuple

import numpy as np

from gato_jax.episodes import Continuous
from gato_jax.reports.tokenization.findings import SweepCell
from gato_jax.reports.tokenization.grid import ARTICLE_M, PAPER, Grid
from gato_jax.tokenization import ContinuousCodec

Formula = Literal["paper", "article"]
FORMULAS: dict[Formula, float] = {"paper": PAPER.m, "article": ARTICLE_M}  # and its M
DECADES = ((1e-3, 1e-2), (1e-2, 1e-1), (1e-1, 1.0), (1.0, 10.0), (10.0, 100.0), (100.0, 256.0))
_POINTS = 500  # in each decade, of each sign
_STRETCHES = 20  # of a decade, in the curves


class Curve(NamedTuple):
    """Over (N,) magnitudes: the mean absolute and the mean relative error around each."""

    magnitude: np.ndarray
    absolute: np.ndarray
    relative: np.ndarray


def sweep(grid: Grid) -> Iterable[SweepCell]:
    """Both formulas, with every mu and number of bins."""
    for formula in FORMULAS:
        for mu in grid.mu:
            for bins in grid.bins:
                yield from (_cell(formula, mu, bins, low, high) for low, high in DECADES)


def curve(formula: Formula, mu: float, bins: int) -> Curve:
    """The errors in twentieths of decades."""
    rows = []
    for low, high in DECADES:
        magnitude, absolute, _ = _through(formula, mu, bins, low, high)
        stretches = round(_STRETCHES * math.log10(high / low))
        parts = np.stack([magnitude, absolute, absolute / magnitude])
        rows += [part.mean(axis=1) for part in np.array_split(parts, stretches, axis=1)]
    return Curve(*np.array(rows).T)


def _cell(formula: Formula, mu: float, bins: int, low: float, high: float) -> SweepCell:
    magnitude, absolute, clipped = _through(formula, mu, bins, low, high)
    relative = absolute / magnitude
    return SweepCell(
        formula=formula, mu=mu, bins=bins, low=low, high=high,
        mean_abs_error=float(absolute.mean()), max_abs_error=float(absolute.max()),
        mean_relative_error=float(relative.mean()), max_relative_error=float(relative.max()),
        clip_rate=float(clipped.mean()),
    )  # fmt: skip


def _through(formula: Formula, mu: float, bins: int, low: float, high: float):
    """Magnitudes, absolute errors and whether it was clipped, (2 * _POINTS,) each, a value beside its negative.

    Points stand inside the decade, none on its ends: 1 belongs to the last decade that the article's formula covers.
    """
    codec = ContinuousCodec(modality=Continuous(shape=()), companded=True, bins=bins, mu=mu, m=FORMULAS[formula])
    magnitude = np.repeat(low * (high / low) ** ((np.arange(_POINTS) + 0.5) / _POINTS), 2)
    values = magnitude * np.tile([1.0, -1.0], _POINTS)
    error = np.abs(codec.decode(codec.encode(values)).astype(np.float64) - values)
    return magnitude, error, codec.clips(values)[:, 0]
