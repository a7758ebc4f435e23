"""Self-attention whose scores depend on the distance between query and key, not on absolute positions.

    relative_xl:  score(i, j) = ((q_i + u) . k_j + (q_i + v) . r_{i-j}) / sqrt(H)      with r_d = sinusoid(d) W_r
    rope:         score(i, j) = (R_i q_i) . (R_j k_j) / sqrt(H)             with R_i a rotation of pairs of H by i

The first is that of Transformer-XL (arXiv 1901.02860); docs/decisions.md says why the published sizes imply it. The
second is that of RoFormer (arXiv 2104.09864).

Axes:
    B rows   T queries   S keys   N heads   H head size   D width   R distances
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from gato_jax.model.axes import constrain
from gato_jax.model.config import ModelConfig
from gato_jax.model.einsum import add_bias, einsum_f32, project
from gato_jax.model.kernels import MASKED, RelativePosition, attend

_HEADS = ("batch", "heads", None, None)


class KeysValues(NamedTuple):
    """Keys and values of one layer at S positions; with rope the keys are already rotated."""

    keys: Float[Array, "B N S H"]
    values: Float[Array, "B N S H"]


class Memory(NamedTuple):
    """Cached keys and values of S positions, and how each of T new positions sees them.

    Attributes:
      cache: keys and values.
      distance: index of the query less that of the key; it counts only where `allowed` is True.
      allowed: True where the query may attend to the key.
    """

    cache: KeysValues
    distance: Int[Array, "B T S"]
    allowed: Bool[Array, "B T S"]


class Attention(nnx.Module):
    """Causal self-attention within segments, over whole rows or from new positions to a KV cache."""

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
        """Attend from each position of `x` to itself and the earlier positions of its segment.

        The result is to be added to the residual stream.

        Args:
          x: normalised residual stream.
          segment_ids: segment of each position.
          kernel: name of an implementation: `dense`, `blockwise`, `cudnn` or `splash` (see `kernels.attend`).
        """
        length = x.shape[1]
        keys, values = self.keys_values(x, jnp.arange(length)[None])
        query, position_query = self._queries(x, jnp.arange(length)[None])
        relative_keys, relative = self.relative_keys(length, jnp.float32), None
        if position_query is not None and relative_keys is not None:
            relative = RelativePosition(position_query, relative_keys[:, ::-1])
        return self._project_out(attend(kernel, query, keys, values, segment_ids, relative))

    def decode(
        self,
        x: Float[Array, "B T D"],
        position: Int[Array, "B T"],
        memories: Sequence[Memory],
        relative_keys: Float[Array, "N R H"] | None,
    ) -> Float[Array, "B T D"]:
        """Attend from new positions to the keys of all memories together, their own among them.

        The result is to be added to the residual stream.

        Args:
          x: normalised residual stream at the new positions.
          position: index of each new position, counted from any origin that the cached keys share.
          memories: caches, of any number of positions each; they are not changed.
          relative_keys: result of `relative_keys`, None with rope. Distances are clipped to [0, R - 1].
        """
        query, position_query = self._queries(x, position)
        by_distance = None
        if position_query is not None and relative_keys is not None:
            by_distance = einsum_f32("BNTH,NRH->BNTR", position_query, relative_keys)
        scores = [_memory_scores(query, by_distance, memory) for memory in memories]
        peak = functools.reduce(jnp.maximum, (score.max(axis=-1, keepdims=True) for score in scores))
        weights = [jnp.exp(score - peak) for score in scores]
        total = functools.reduce(jnp.add, (weight.sum(axis=-1, keepdims=True) for weight in weights))
        read = (
            einsum_f32("BNTS,BNSH->BNTH", weight, memory.cache.values)
            for weight, memory in zip(weights, memories, strict=True)
        )
        heads = functools.reduce(jnp.add, read)
        return self._project_out((heads / total).astype(x.dtype))

    def keys_values(self, x: Float[Array, "B T D"], position: Int[Array, "#B T"]) -> KeysValues:
        """Return keys and values of `x`, the normalised residual stream.

        `position` is the index of each position, counted from any origin, as only distances matter.
        """
        keys, values = self._project(x, self.key), self._project(x, self.value)
        return KeysValues(apply_rope(keys, position) if self.position == "rope" else keys, values)

    def relative_keys(self, distances: int, dtype: DTypeLike | None = None) -> Float[Array, "N R H"] | None:
        """Return the keys r_d of the distances d = 0, ..., distances - 1, in ascending order, or None with rope.

        They are computed in `dtype`, None for that of the params. Each is less r_0, which moves all scores of a query
        by the same amount and leaves their softmax as it is: what is left is the part that depends on the distance, and
        in 16 bits it is not rounded beside a larger part that does not.
        """
        if self.position == "rope":
            return None
        table = sinusoid(distances, self.relative.shape[0])
        table = jnp.asarray(table - table[:1], dtype or self.relative.dtype)
        return project("RD,DNH->NRH", table, self.relative[...])

    def _queries(self, x, position):
        """Return the scaled queries for the keys and those for `relative_keys`, two arrays (B, N, T, H).

        With rope, the first array is rotated and the second is None.
        """
        query = self._project(x, self.query)
        scale = jnp.asarray(query.shape[-1] ** -0.5, query.dtype)
        if self.position == "rope":
            return apply_rope(query, position) * scale, None
        return tuple(add_bias(query, bias[:, None]) * scale for bias in (self.content_bias, self.position_bias))

    def _project(self, x, weight):
        # Transposed afterwards, because XLA would transpose the weights to have the heads first, in each call.
        return constrain(project("BTD,DNH->BTNH", x, weight[...]).swapaxes(1, 2), *_HEADS)

    def _project_out(self, heads):
        # Reshaped, because XLA would transpose the weights to match the order of the heads, in each call.
        joined = heads.swapaxes(1, 2).reshape(heads.shape[0], heads.shape[2], -1)
        out = self.out[...].reshape(-1, self.out.shape[-1])
        return add_bias(project("BTF,FD->BTD", joined, out), self.out_bias[...])


def _memory_scores(query, by_distance: Float[Array, "B N T R"] | None, memory: Memory) -> Float[Array, "B N T S"]:
    """Return the masked float32 scores of queries (B, N, T, H) to the keys of a memory.

    `by_distance` are the scores that relative attention adds at each distance, None to add none.
    """
    scores = einsum_f32("BNTH,BNSH->BNTS", query, memory.cache.keys)
    if by_distance is not None:
        index = jnp.clip(memory.distance, 0, by_distance.shape[-1] - 1)[:, None]
        scores += jnp.take_along_axis(by_distance, index, axis=-1)
    return jnp.where(memory.allowed[:, None], scores, MASKED)


def apply_rope(x: Float[Array, "B N T H"], position: Int[Array, "#B T"]) -> Float[Array, "B N T H"]:
    """Apply rotary position embeddings: rotate the elements h and h + H/2 by position times frequency.

    The frequency of h = 0, ..., H/2 - 1 is 10,000^(-2h/H), H is even; angles are computed in float32. The result has
    the dtype of `x`.
    """
    half = x.shape[-1] // 2
    frequencies = (10_000.0 ** -(np.arange(half) / half)).astype(np.float32)
    angles = (position.astype(jnp.float32)[..., None] * frequencies[None, None])[:, None]
    cosine, sine = jnp.cos(angles).astype(x.dtype), jnp.sin(angles).astype(x.dtype)
    first, second = x[..., :half], x[..., half:]
    return jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)


def sinusoid(distances: int, width: int) -> Float[np.ndarray, "R D"]:
    """Return the sinusoidal embedding (R, D) of each distance 0, ..., distances - 1: sines, then cosines."""
    frequencies = 10_000.0 ** -(np.arange(0, width, 2) / width)
    angles = np.arange(distances)[:, None] * frequencies[None]
    return np.concatenate([np.sin(angles), np.cos(angles)], -1)[:, :width].astype(np.float32)
