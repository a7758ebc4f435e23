"""Codec of continuous values, such as proprioception and joint torques (paper, section 2.1 and appendix B)."""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
import numpy.typing as npt

from gato_jax.episodes import Continuous
from gato_jax.tokenization.codecs.values import TokenizationError, flatten_values, raise_if_any
from gato_jax.tokenization.vocabulary import TEXT_PIECES

_LARGEST_DECODED = float(np.finfo(np.float32).max)  # values decode to float32


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContinuousCodec:
    """Codec that maps floats to the ids of uniform bins on [-1, 1], after companding or scaling them.

    Construction raises TokenizationError if bins, mu, m or the limits are not possible.

    Observations are mu-law companded, F(x) = sgn(x) ln(|x| mu + 1) / ln(M mu + 1), and clipped to [-1, 1]. Actions are
    scaled linearly from their limits to [-1, 1] and clipped. A value decodes to the centre of its bin, so a value that
    was not clipped comes back within half a bin, measured after companding or scaling.

    Attributes:
      modality: shape of a value, and its finite limits, which are needed without companding.
      companded: True for mu-law companding, False for linear scaling.
      first_id: lowest id.
      bins: number of bins, 2 to 65,536.
      mu: parameter mu of the mu-law.
      m: parameter M of the mu-law; m=1 is the formula without M, which maps [-1, 1] to [-1, 1].
      descending: True if the highest id is that of the lowest bin.
    """

    modality: Continuous
    companded: bool
    first_id: int = TEXT_PIECES
    bins: int = 1024
    mu: float = 100.0
    m: float = 256.0
    descending: bool = False

    def __post_init__(self):
        if not 2 <= self.bins <= 65_536:
            raise TokenizationError(f"bins must be in [2, 65536], got {self.bins}")
        if self.companded:
            if not (self.mu > 0 and 0 < self.m <= _LARGEST_DECODED and 0 < self._largest < math.inf):
                raise TokenizationError(
                    f"mu, m and their product must be positive and finite, m also as float32, got {self.mu}, {self.m}"
                )
            return
        low, high = self._limits
        if not ((-_LARGEST_DECODED <= low) & (low < high) & (high <= _LARGEST_DECODED)).all():
            raise TokenizationError(
                f"needs finite limits with low < high, finite also as float32, to be scaled; got {low} and {high}"
            )

    @property
    def token_count(self) -> int:
        """Number of tokens of one value."""
        return math.prod(self.modality.shape)

    @property
    def token_range(self) -> tuple[int, int]:
        """Range [low, high) of ids."""
        return self.first_id, self.first_id + self.bins

    def encode(self, values: npt.ArrayLike) -> np.ndarray:
        """Encode real numbers (..., *shape) of any dtype as int32 ids (..., token_count), with clipping.

        Raises:
          TokenizationError: a value is not finite, or the array has another shape or kind of dtype.
        """
        bins = self._unit(self._real(values))
        np.clip(bins, -1, 1, out=bins)
        bins += 1
        bins *= self.bins / 2
        ids = bins.astype(np.int32)  # truncation equals floor, as no number is negative
        np.minimum(ids, self.bins - 1, out=ids)
        if self.descending:
            np.subtract(self.bins - 1, ids, out=ids)
        ids += self.first_id
        return ids

    def decode(self, ids):
        """Decode ids (..., token_count) to float32 values (..., *shape), the centres of their bins.

        NumPy and JAX arrays decode to equal bits, as both read one table. Ids in JAX arrays are not checked.

        Raises:
          TokenizationError: ids in a NumPy array are not all of this codec.
        """
        if isinstance(ids, np.ndarray) and ((ids < self.first_id) | (ids >= self.first_id + self.bins)).any():
            raise TokenizationError(f"ids {ids} are not all continuous ids {self.token_range}")
        number = ids - self.first_id
        if self.descending:
            number = self.bins - 1 - number
        rows = 0 if len(self.centres) == 1 else np.arange(self.token_count)
        table = self.centres if isinstance(ids, np.ndarray) else _on_device(self.centres)
        return table[rows, number].reshape((*ids.shape[:-1], *self.modality.shape))

    @functools.cached_property
    def centres(self) -> np.ndarray:
        """Values of the centres of the bins, ascending, (token_count or 1, bins) float32.

        One row serves all elements if the values are companded or the modality's limits are single numbers.
        """
        unit = (np.arange(self.bins) + 0.5) / self.bins * 2 - 1
        if self.companded:
            return (np.sign(unit) * np.expm1(np.abs(unit) * self._largest) / self.mu).astype(np.float32)[None]
        low, high = (np.reshape(limit, (-1, 1)) for limit in self._limits)
        return ((unit + 1) / 2 * (high - low) + low).astype(np.float32)

    def clips(self, values: npt.ArrayLike) -> np.ndarray:
        """Return True for each element of values (..., *shape) that `encode` clips, as bool (..., token_count).

        Raises:
          TokenizationError: as for `encode`.
        """
        real = self._real(values)
        return np.abs(real) > self.m if self.companded else np.abs(self._unit(real)) > 1  # F(M) is 1 up to rounding

    @property
    def _largest(self) -> float:
        """The denominator ln(M mu + 1) of the mu-law."""
        return math.log1p(self.m * self.mu)

    @property
    def _limits(self) -> tuple[np.ndarray, np.ndarray]:
        return np.asarray(self.modality.low, np.float64), np.asarray(self.modality.high, np.float64)

    def _real(self, values: npt.ArrayLike) -> np.ndarray:
        flat = flatten_values(values, self.modality.shape, "biuf", "real numbers")
        with np.errstate(over="ignore", invalid="ignore"):  # a longdouble beyond float64 is refused as infinite
            real = flat.astype(np.float64)
        if not np.isfinite(real).all():
            raise_if_any(~np.isfinite(real), flat, self.modality.shape, "is not finite; filter or repair the recording")
        return real

    def _unit(self, real: np.ndarray) -> np.ndarray:
        """Compand or scale numbers (..., token_count) without clipping, so that [-1, 1] holds the unclipped."""
        with np.errstate(over="ignore"):  # a number beyond float64 is beyond the last bin, too
            if not self.companded:
                low, high = self._limits
                return (real - low) / (high - low) * 2 - 1
            unit = np.abs(real)
            unit *= self.mu
            np.log1p(unit, out=unit)
            unit /= self._largest
            return np.copysign(unit, real, out=unit)


def _on_device(table: np.ndarray):
    import jax.numpy as jnp

    return jnp.asarray(table)
