"""Reference formulas of continuous bins, one number at a time in Python floats."""

import math

import numpy as np

from gato_jax.tokenization import ContinuousCodec

ROUNDING = 1e-14  # in the unit domain: about sixty float64 roundings, a millionth of the narrowest bin


def compress(x: float, mu: float, m: float) -> float:
    """Return F(x) = sgn(x) ln(|x| mu + 1) / ln(M mu + 1)."""
    return math.copysign(math.log1p(abs(x) * mu) / math.log1p(m * mu), x)


def expand(y: float, mu: float, m: float) -> float:
    """Return the inverse of F: sgn(y) ((1 + M mu)^|y| - 1) / mu."""
    return math.copysign(math.expm1(abs(y) * math.log1p(m * mu)) / mu, y)


def to_unit(codec: ContinuousCodec, x: float, element: int = 0) -> float:
    """Return the place of x on the axis of bins, which cover [-1, 1]."""
    if codec.companded:
        return compress(x, codec.mu, codec.m)
    low, high = (float(limit[element]) for limit in codec.modality.limits)
    return 2 * (x - low) / (high - low) - 1


def from_unit(codec: ContinuousCodec, y: float, element: int = 0) -> float:
    if codec.companded:
        return expand(y, codec.mu, codec.m)
    low, high = (float(limit[element]) for limit in codec.modality.limits)
    return low + (y + 1) / 2 * (high - low)


def possible_bins(codec: ContinuousCodec, x: float, element: int = 0) -> set[int]:
    """Return the bin that contains x, or both bins if x is their border up to rounding."""
    y = max(-1.0, min(1.0, to_unit(codec, x, element)))
    return {bin_at(y - ROUNDING, codec.bins), bin_at(y + ROUNDING, codec.bins)}


def bin_at(y: float, bins: int) -> int:
    return max(0, min(bins - 1, math.floor((y + 1) / 2 * bins)))


def number_of(codec: ContinuousCodec, token: int) -> int:
    """Return the bin of an id."""
    number = token - codec.first_id
    return codec.bins - 1 - number if codec.descending else number


def bin_edges(codec: ContinuousCodec, number: int, element: int = 0) -> tuple[float, float, float]:
    """Return the lower edge, the centre and the upper edge of a bin, as values."""
    units = (2 * number / codec.bins - 1, (2 * number + 1) / codec.bins - 1, 2 * (number + 1) / codec.bins - 1)
    low, centre, high = (from_unit(codec, unit, element) for unit in units)
    return low, centre, high


def error_bound(codec: ContinuousCodec, number: int, element: int = 0) -> float:
    """Return the largest distance of a value of this bin from its decoded value: half a bin and float32 rounding."""
    low, centre, high = bin_edges(codec, number, element)
    scale = max(abs(low), abs(high), *(abs(from_unit(codec, y, element)) for y in (-1.0, 1.0) if not codec.companded))
    half = max(high - centre, centre - low)
    return half * (1 + 1e-6) + scale * 1e-12 + float(np.spacing(np.float32(abs(centre))))
