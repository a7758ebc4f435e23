"""Errors of the paper's companding and of a secondary article's, on values of all magnitudes up to M = 256."""

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
FORMULAS: dict[Formula, float] = {"paper": PAPER.m, "article": ARTICLE_M}  # the M of each formula
DECADES = ((1e-3, 1e-2), (1e-2, 1e-1), (1e-1, 1.0), (1.0, 10.0), (10.0, 100.0), (100.0, 256.0))
_POINTS = 500  # values of each sign in a decade
_POINTS_PER_DECADE = 20  # of a curve


class Curve(NamedTuple):
    """Errors over magnitudes.

    Attributes:
      magnitude: (N,) mean magnitudes of the values in each of N ranges, ascending.
      absolute, relative: (N,) mean absolute and mean relative error within each range.
    """

    magnitude: np.ndarray
    absolute: np.ndarray
    relative: np.ndarray


def sweep(grid: Grid) -> Iterable[SweepCell]:
    """Yield the errors of both `FORMULAS` in each decade of magnitudes, for each mu and number of bins of the grid."""
    for formula in FORMULAS:
        for mu in grid.mu:
            for bins in grid.bins:
                yield from (_cell(formula, mu, bins, low, high) for low, high in DECADES)


def curve(formula: Formula, mu: float, bins: int) -> Curve:
    """Return the errors of one formula over magnitudes from 0.001 to 256, with 20 points in each factor of ten.

    Args:
      formula: "paper", with M = 256, or "article", the one without M.
      mu: parameter mu.
      bins: number of bins.
    """
    rows = []
    for low, high in DECADES:
        magnitude, absolute, _ = _round_trip_errors(formula, mu, bins, low, high)
        points = round(_POINTS_PER_DECADE * math.log10(high / low))
        parts = np.stack([magnitude, absolute, absolute / magnitude])
        rows += [part.mean(axis=1) for part in np.array_split(parts, points, axis=1)]
    return Curve(*np.array(rows).T)


def _cell(formula: Formula, mu: float, bins: int, low: float, high: float) -> SweepCell:
    magnitude, absolute, clipped = _round_trip_errors(formula, mu, bins, low, high)
    relative = absolute / magnitude
    return SweepCell(
        formula=formula, mu=mu, bins=bins, low=low, high=high,
        mean_abs_error=float(absolute.mean()), max_abs_error=float(absolute.max()),
        mean_relative_error=float(relative.mean()), max_relative_error=float(relative.max()),
        clip_rate=float(clipped.mean()),
    )  # fmt: skip


def _round_trip_errors(formula: Formula, mu: float, bins: int, low: float, high: float):
    """Encode and decode values with magnitudes in (low, high), evenly spaced in the logarithm, of both signs.

    No value lies on an end of the range, since 1 belongs to the last decade that the formula without M covers.

    Returns:
      Magnitudes (ascending, each twice), absolute errors and whether each value was clipped, (2 * _POINTS,) each.
    """
    codec = ContinuousCodec(modality=Continuous(shape=()), companded=True, bins=bins, mu=mu, m=FORMULAS[formula])
    magnitude = np.repeat(low * (high / low) ** ((np.arange(_POINTS) + 0.5) / _POINTS), 2)
    values = magnitude * np.tile([1.0, -1.0], _POINTS)
    error = np.abs(codec.decode(codec.encode(values)).astype(np.float64) - values)
    return magnitude, error, codec.clips(values)[:, 0]
