"""Attention in which a key's distance counts, whatever the position.

    relative_xl:  score(i, j) = ((q_i + u) . k_j + (q_i + v) . r_{i-j}) / sqrt(H)      with r_d = sinusoid(d) W_r
    rope:         score(i, j) = (R_i q_i) . (R_j k_j) / sqrt(H)                        with R_i a turn of pairs by i

The first is Transformer-XL's (arXiv 1901.02860); docs/decisions.md says why the published sizes imply it. The second
is RoFormer's (arXiv 2104.09864).

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

from gato_jax.model.axes import constrain
from gato_jax.model.config import ModelConfig
from gato_jax.model.kernels import MASKED, RelativePosition, attend

_HEADS = ("batch", "heads", None, None)


class KeysValues(NamedTuple):
    """What a layer remembers of S positions; with rope the keys are turned already."""

    keys: Float[Array, "B N S H"]
    values: Float[Array, "B N S H"]


class Attention(nnx.Module):
    """Causal self-attention, over whole rows or from new positions to a cache."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        width, heads, size = config.width, config.heads, config.head_size

        def projection():
            return nnx.Param(jax.random.normal(rngs.params(), (width, heads, size)) * width**-0.5)

        self.query, self.key, self.value = projection(), projection(), projection()
        self.position = config.position
        if config.position == "relative_xl":
            self.relative = projection()
            self.content_bias = nnx.Param(jnp.zeros((heads, size)))
            self.position_bias = nnx.Param(jnp.zeros((heads, size)))
        self.out = nnx.Param(jnp.zeros((heads, size, width)))
        self.out_bias = nnx.Param(jnp.zeros(width))

    def __call__(self, x: Float[Array, "B T D"], segment_ids: Int[Array, "B T"], kernel: str) -> Float[Array, "B T D"]:
        """Attention among the positions of `x`, each to those before it in its segment, by a kernel of kernels.py."""
        length = x.shape[1]
        keys, values = self.keys_values(x, jnp.arange(length)[None])
        query, by_position = self._queries(x, jnp.arange(length)[None])
        by_distance, relative = self.relative_keys(length), None
        if by_position is not None and by_distance is not None:
            relative = RelativePosition(by_position, by_distance[:, ::-1])
        return self._out(attend(kernel, query, keys, values, segment_ids, relative))

    def decode(
        self,
        x: Float[Array, "B T D"],
        position: Int[Array, "B T"],
        cache: KeysValues,
        relative_keys: Float[Array, "N R H"] | None,
        distance: Int[Array, "B T S"],
        allowed: Bool[Array, "B T S"],
    ) -> Float[Array, "B T D"]:
        """Attention from new positions to the cache, which already holds them; `distance` is query minus key."""
        query, by_position = self._queries(x, position)
        scores = jnp.einsum("BNTH,BNSH->BNTS", query, cache.keys)
        if by_position is not None and relative_keys is not None:
            by_distance = jnp.einsum("BNTH,NRH->BNTR", by_position, relative_keys)
            index = jnp.clip(distance, 0, relative_keys.shape[1] - 1)[:, None]
            scores += jnp.take_along_axis(by_distance, index, axis=-1)
        weights = jax.nn.softmax(jnp.where(allowed[:, None], scores, MASKED))
        return self._out(jnp.einsum("BNTS,BNSH->BNTH", weights, cache.values))

    def keys_values(self, x: Float[Array, "B T D"], position: Int[Array, "#B T"]) -> KeysValues:
        """Of positions counted from anywhere: only distances matter."""
        keys, values = self._project(x, self.key), self._project(x, self.value)
        return KeysValues(turn(keys, position) if self.position == "rope" else keys, values)

    def relative_keys(self, distances: int) -> Float[Array, "N R H"] | None:
        """r_d for d in [0, distances); none with rope."""
        if self.position == "rope":
            return None
        table = jnp.asarray(sinusoid(distances, self.relative.shape[0]), self.relative.dtype)
        return jnp.einsum("RD,DNH->NRH", table, self.relative[...])

    def _queries(self, x, position):
        """Scaled queries for keys, and for distances where these have keys of their own."""
        query = self._project(x, self.query)
        scale = jnp.asarray(query.shape[-1] ** -0.5, query.dtype)
        if self.position == "rope":
            return turn(query, position) * scale, None
        return tuple((query + bias[...][None, :, None]) * scale for bias in (self.content_bias, self.position_bias))

    def _project(self, x, weight):
        return constrain(jnp.einsum("BTD,DNH->BNTH", x, weight[...]), *_HEADS)

    def _out(self, mixed):
        return jnp.einsum("BNTH,NHD->BTD", mixed, self.out[...]) + self.out_bias[...][None, None]


def turn(x: Float[Array, "B N T H"], position: Int[Array, "#B T"]) -> Float[Array, "B N T H"]:
    """Turns the pair (h, h + H/2) by position times a frequency that falls with h; angles in float32."""
    half = x.shape[-1] // 2
    frequencies = (10_000.0 ** -(np.arange(half) / half)).astype(np.float32)
    angles = (position.astype(jnp.float32)[..., None] * frequencies[None, None])[:, None]
    cosine, sine = jnp.cos(angles).astype(x.dtype), jnp.sin(angles).astype(x.dtype)
    first, second = x[..., :half], x[..., half:]
    return jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)


def sinusoid(distances: int, width: int) -> Float[np.ndarray, "R D"]:
    """Sines, then cosines, of each distance at falling frequencies."""
    frequencies = 10_000.0 ** -(np.arange(0, width, 2) / width)
    angles = np.arange(distances)[:, None] * frequencies[None]
    return np.concatenate([np.sin(angles), np.cos(angles)], -1)[:, :width].astype(np.float32)
