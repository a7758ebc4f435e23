"""Codec of discrete values, such as buttons and symbols of a grid (paper, section 2.1)."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from gato_jax.episodes import Discrete
from gato_jax.tokenization.codecs.values import TokenizationError, flatten_values, raise_if_any


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiscreteCodec:
    """Exact codec of integers in [0, n), whose ids are the integers themselves."""

    modality: Discrete

    @property
    def token_count(self) -> int:
        """Number of tokens of one value."""
        return math.prod(self.modality.shape)

    @property
    def token_range(self) -> tuple[int, int]:
        """Range [low, high) of ids."""
        return 0, self.modality.n

    def encode(self, values: npt.ArrayLike) -> np.ndarray:
        """Encode integers or bools (..., *shape) of any dtype as int32 ids (..., token_count).

        Raises:
          TokenizationError: a value is outside [0, n), or the array has another shape or is of floats.
        """
        flat = flatten_values(values, self.modality.shape, "biu", "integers")
        n = self.modality.n
        outside = (flat < 0) | (flat >= n)
        raise_if_any(outside, flat, self.modality.shape, f"is outside [0, {n}); correct n or the recording")
        return flat.astype(np.int32)

    def decode(self, ids):
        """Decode ids (..., token_count), in NumPy or JAX, to int32 (..., *shape); ids in JAX arrays are not checked.

        Raises:
          TokenizationError: ids in a NumPy array are not all in [0, n).
        """
        if isinstance(ids, np.ndarray) and ((ids < 0) | (ids >= self.modality.n)).any():
            raise TokenizationError(f"ids {ids} are not all of a discrete value, [0, {self.modality.n})")
        return ids.reshape((*ids.shape[:-1], *self.modality.shape)).astype(np.int32)
