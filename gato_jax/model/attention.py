"""Transformer-XL relative attention (docs/decisions.md says why the published sizes imply it).

    score(i, j) = ((q_i + u) . k_j + (q_i + v) . r_{i-j}) / sqrt(H)      with r_d = sinusoid(d) W_r

Axes:
    B rows   T queries   S keys   N heads   H head size   D width   R distances
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from gato_jax.model.config import ModelConfig

MASKED = np.float32(-1e9)


class KeysValues(NamedTuple):
    """What a layer remembers of S positions."""

    keys: Float[Array, "B N S H"]
    values: Float[Array, "B N S H"]


class RelativeAttention(nnx.Module):
    """Attention in which a key's distance counts, whatever the position."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        width, heads, size = config.width, config.heads, config.head_size

        def weight(*shape, fan_in):
            return nnx.Param(jax.random.normal(rngs.params(), shape) * fan_in**-0.5)

        self.query = weight(width, heads, size, fan_in=width)
        self.key = weight(width, heads, size, fan_in=width)
        self.value = weight(width, heads, size, fan_in=width)
        self.relative = weight(width, heads, size, fan_in=width)
        self.out = nnx.Param(jnp.zeros((heads, size, width)))
        self.content_bias = nnx.Param(jnp.zeros((heads, size)))
        self.position_bias = nnx.Param(jnp.zeros((heads, size)))
        self.out_bias = nnx.Param(jnp.zeros(width))

    def relative_keys(self, distances: int) -> Float[Array, "N R H"]:
        """r_d for d in [0, distances)."""
        return jnp.einsum("RD,DNH->NRH", sinusoid(distances, self.relative.shape[0]), self.relative[...])

    def __call__(self, x: Float[Array, "B T D"], allowed: Bool[Array, "B T T"]) -> Float[Array, "B T D"]:
        """Attention among the positions of `x`, where `allowed[b, i, j]` (never for j > i)."""
        keys, values = self.keys_values(x)
        position_query, query = self._queries(x)
        descending = self.relative_keys(x.shape[1])[:, ::-1]
        by_distance = jnp.einsum("BNTH,NRH->BNTR", position_query, descending)
        scores = jnp.einsum("BNTH,BNSH->BNTS", query, keys) + shift_to_keys(by_distance)
        return self._mix(scores, allowed, values)

    def decode(
        self,
        x: Float[Array, "B T D"],
        cache: KeysValues,
        relative_keys: Float[Array, "N R H"],
        distance: Int[Array, "B T S"],
        allowed: Bool[Array, "B T S"],
    ) -> Float[Array, "B T D"]:
        """Attention from new positions to the cache, which already holds them; `distance` is query minus key."""
        position_query, query = self._queries(x)
        by_distance = jnp.einsum("BNTH,NRH->BNTR", position_query, relative_keys)
        index = jnp.clip(distance, 0, relative_keys.shape[1] - 1)[:, None]
        scores = jnp.einsum("BNTH,BNSH->BNTS", query, cache.keys) + jnp.take_along_axis(by_distance, index, axis=-1)
        return self._mix(scores, allowed, cache.values)

    def keys_values(self, x: Float[Array, "B T D"]) -> KeysValues:
        return KeysValues(*(jnp.einsum("BTD,DNH->BNTH", x, w[...]) for w in (self.key, self.value)))

    def _queries(self, x):
        query = jnp.einsum("BTD,DNH->BNTH", x, self.query[...])
        scale = np.float32(query.shape[-1] ** -0.5)
        return tuple((query + bias[...][None, :, None]) * scale for bias in (self.position_bias, self.content_bias))

    def _mix(self, scores, allowed, values):
        weights = jax.nn.softmax(jnp.where(allowed[:, None], scores, MASKED))
        mixed = jnp.einsum("BNTS,BNSH->BNTH", weights, values)
        return jnp.einsum("BNTH,NHD->BTD", mixed, self.out[...]) + self.out_bias[...][None, None]


def shift_to_keys(by_distance: Float[Array, "B N T T"]) -> Float[Array, "B N T T"]:
    """From columns by descending distance T-1, ..., 0 to columns by key j = i - distance; those where j > i are void.

    The pad-and-reshape of Transformer-XL: column m holds distance T-1-m, and key j wants m = T-1-i+j.
    """
    *lead, length, _ = by_distance.shape
    padded = jnp.pad(by_distance, [(0, 0)] * (len(lead) + 1) + [(1, 0)])
    return padded.reshape(*lead, length + 1, length)[..., 1:, :]


def sinusoid(distances: int, width: int) -> Float[np.ndarray, "R D"]:
    """Sines, then cosines, of each distance at falling frequencies."""
    frequencies = 10_000.0 ** -(np.arange(0, width, 2) / width)
    angles = np.arange(distances)[:, None] * frequencies[None]
    return np.concatenate([np.sin(angles), np.cos(angles)], -1)[:, :width].astype(np.float32)
