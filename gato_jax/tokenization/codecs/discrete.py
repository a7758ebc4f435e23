"""Discrete values: buttons, symbols of a grid (paper, section 2.1)."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from gato_jax.episodes import Discrete
from gato_jax.tokenization.codecs.values import TokenizationError, flatten, refuse


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiscreteCodec:
    """Integers in [0, n) to the ids of the same number. Exact."""

    modality: Discrete

    @property
    def token_count(self) -> int:
        return math.prod(self.modality.shape)

    @property
    def token_range(self) -> tuple[int, int]:
        return 0, self.modality.n

    def encode(self, values: npt.ArrayLike) -> np.ndarray:
        """(..., *shape) integers of any width to (..., token_count) int32 ids."""
        flat = flatten(values, self.modality.shape, "biu", "integers")
        n = self.modality.n
        refuse((flat < 0) | (flat >= n), flat, self.modality.shape, f"is outside [0, {n}); correct n or the recording")
        return flat.astype(np.int32)

    def decode(self, ids):
        """(..., token_count) ids to (..., *shape) int32 values. NumPy or JAX arrays; JAX arrays are not checked."""
        if isinstance(ids, np.ndarray) and ((ids < 0) | (ids >= self.modality.n)).any():
            raise TokenizationError(f"ids {ids} are not all of a discrete value, [0, {self.modality.n})")
        return ids.reshape((*ids.shape[:-1], *self.modality.shape)).astype(np.int32)
