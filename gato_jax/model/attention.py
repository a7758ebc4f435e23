"""Self-attention whose scores depend on the distance between query and key, not on absolute positions.

    relative_xl:  score(i, j) = ((q_i + u) . k_j + (q_i + v) . r_{i-j}) / sqrt(H)      with r_d = sinusoid(d) W_r
    rope:         score(i, j) = (R_i q_i) . (R_j k_j) / sqrt(H)             with R_i a rotation of pairs of H by i

The first is that of Transformer-XL (arXiv 1901.02860); docs/decisions.md says why the published sizes imply it. The
second is that of RoFormer (arXiv 2104.09864).

Axes:
    B rows   T queries   S keys   N heads   H head size   D width   R distances   C 3: query, key and value
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from gato_jax.model.axes import constrain, platform
from gato_jax.model.config import ComputeConfig, ModelConfig
from gato_jax.model.einsum import Product, add_bias, einsum_f32, project
from gato_jax.model.float8 import choose_product
from gato_jax.model.kernels import MASKED, RelativePosition, attend
from gato_jax.model.kernels.operands import BY_ROW_AND_HEAD


class KeysValues(NamedTuple):
    """Keys and values of one layer at S positions; with rope the keys are already rotated."""

    keys: Float[Array, "B N S H"]
    values: Float[Array, "B N S H"]


class Cache(NamedTuple):
    """Keys and values of one layer at S positions, in the order of axes that products with few queries read fastest.

    The leading axes are (B, N), or just (N) for one row: XLA drops an axis of size 1 and copies the cache to do so.
    """

    keys: Float[Array, "*lead H S"]
    values: Float[Array, "*lead S H"]


class Prefix(NamedTuple):
    """Keys and values of P positions that queries see at other distances than those of the cache.

    Attributes:
      cache: keys and values.
      position: index of each of the T queries, counted from the origin of the prefix.
    """

    cache: Cache
    position: Int[Array, "B T"]


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

    def __call__(
        self, x: Float[Array, "B T D"], segment_ids: Int[Array, "B T"], compute: ComputeConfig
    ) -> Float[Array, "B T D"]:
        """Attend from each position of `x` to itself and the earlier positions of its segment.

        The result is to be added to the residual stream.

        Args:
          x: normalised residual stream.
          segment_ids: segment of each position.
          compute: settings of the computation, which name the kernel (see `kernels.attend`).
        """
        product = choose_product(compute)
        query, keys, values = self._queries_keys_values(x, product)
        relative, length = None, x.shape[1]
        if self.position == "rope":
            position = jnp.arange(length)[None, :, None]
            query, keys = apply_rope(query, position), apply_rope(keys, position)
        else:
            biases = self.content_bias[...], self.position_bias[...]
            table = sinusoid(length, x.shape[-1])[::-1]
            relative = RelativePosition(*biases, self._keys_of(table, jnp.float32))
        heads = attend(compute, query, keys, values, segment_ids, relative)
        return add_bias(product("BTNH,NHD->BTD", heads, self.out[...]), self.out_bias[...])

    def decode(
        self,
        x: Float[Array, "B T D"],
        position: Int[Array, "B T"],
        cache: Cache,
        relative_keys: Float[Array, "N R H"] | None,
        distance: Int[Array, "B T S"],
        allowed: Bool[Array, "B T S"],
        prefix: Prefix | None = None,
    ) -> Float[Array, "B T D"]:
        """Attend from new positions to a cache that already holds their own keys and values.

        The result is to be added to the residual stream.

        Args:
          x: normalised residual stream at the new positions.
          position: index of each new position, counted from any origin that the cached keys share.
          cache: keys and values of S positions, the T new ones among them; they are not changed.
          relative_keys: result of `relative_keys`, None with rope.
          distance: index of the query less that of the key; clipped to [0, R - 1]. The keys of the prefix come first.
          allowed: True where a query may attend to a key.
          prefix: keys and values before those of the cache, None without any.
        """
        query, position_query = self._queries(x, position)
        # The mask is added, not selected, and there is one softmax over one array of scores: so XLA for CPUs fuses
        # products and softmax, and the scores are never written to memory.
        bias = jnp.where(allowed, jnp.float32(0), MASKED)[:, None]
        if position_query is not None and relative_keys is not None:
            by_distance = einsum_f32("BNTH,NRH->BNTR", position_query, relative_keys)
            index = jnp.clip(distance, 0, relative_keys.shape[1] - 1)[:, None]
            bias += jnp.take_along_axis(by_distance, index, axis=-1)
        keys, values = (table.reshape(*query.shape[:2], *table.shape[-2:]) for table in cache)
        scores = einsum_f32("BNTH,BNHS->BNTS", query, keys)
        if prefix is not None:
            first_keys, first_values = (table.reshape(*query.shape[:2], *table.shape[-2:]) for table in prefix.cache)
            first_scores = einsum_f32("BNTH,BNHS->BNTS", self._prefix_query(x, query, prefix), first_keys)
            scores = jnp.concatenate([first_scores, scores], axis=-1)
        scores += bias
        weights = jnp.exp(scores - scores.max(axis=-1, keepdims=True))
        total = weights.sum(axis=-1, keepdims=True)
        if prefix is None:
            heads = einsum_f32("BNTS,BNSH->BNTH", weights, values)
        else:
            first, weights = jnp.split(weights, [first_keys.shape[-1]], axis=-1)
            heads = einsum_f32("BNTS,BNSH->BNTH", first, first_values)
            heads += einsum_f32("BNTS,BNSH->BNTH", weights, values)
        return self._project_out((heads / total).astype(x.dtype))

    def weights(self, x: Float[Array, "B T D"], segment_ids: Int[Array, "B T"]) -> Float[Array, "B N T T"]:
        """Return the weight with which each position attends to each position, 0 to later ones and other segments.

        Args:
          x: normalised residual stream.
          segment_ids: segment of each position.
        """
        length = x.shape[1]
        position = jnp.arange(length)[None]
        query, position_query = self._queries(x, position)
        scores = einsum_f32("BNTH,BNSH->BNTS", query, self.keys_values(x, position).keys)
        distance = position[:, :, None] - position[:, None]
        if position_query is not None and (keys := self.relative_keys(length)) is not None:
            by_distance = einsum_f32("BNTH,NRH->BNTR", position_query, keys)
            scores += jnp.take_along_axis(by_distance, jnp.maximum(distance, 0)[:, None], axis=-1)
        allowed = (distance >= 0) & (segment_ids[:, :, None] == segment_ids[:, None])
        return jax.nn.softmax(jnp.where(allowed[:, None], scores, -jnp.inf), axis=-1)

    def keys_values(self, x: Float[Array, "B T D"], position: Int[Array, "#B T"]) -> KeysValues:
        """Return keys and values of `x`, the normalised residual stream.

        `position` is the index of each position, counted from any origin, as only distances matter.
        """
        keys, values = self._project(x, self.key), self._project(x, self.value)
        return KeysValues(apply_rope(keys, position[:, None]) if self.position == "rope" else keys, values)

    def relative_keys(self, distances: int) -> Float[Array, "N R H"] | None:
        """Return the keys r_d of the distances d = 0, ..., distances - 1, in ascending order, or None with rope.

        They are less r_0 (see `_keys_of`) and have the dtype of the params.
        """
        if self.position == "rope":
            return None
        return self._keys_of(sinusoid(distances, self.relative.shape[0]), self.relative.dtype)

    def _keys_of(self, table: Float[np.ndarray, "R D"], dtype: DTypeLike) -> Float[Array, "N R H"]:
        """Return r_d - r_0 for the distances d whose embeddings are the rows of `table`.

        Without r_0, all scores of a query move by the same amount, and their softmax is the same. What is left is the
        part that depends on the distance; in 16 bits it is not rounded beside a larger part that does not.
        """
        return project("RD,DNH->NRH", jnp.asarray(table - sinusoid(1, table.shape[1]), dtype), self.relative[...])

    def _queries_keys_values(self, x: Float[Array, "B T D"], product: Product):
        """Return queries, keys and values, three arrays (B, T, N, H), multiplied by `product`.

        On accelerators one product makes all three. The params are joined along an axis that is not sharded, so each
        device joins those of its own heads. On a CPU, three products take 0.6 to 0.9 times as long as that.
        """
        weights = self.query[...], self.key[...], self.value[...]
        if platform() == "cpu":
            return tuple(constrain(product("BTD,DNH->BTNH", x, weight), *BY_ROW_AND_HEAD) for weight in weights)
        joined = product("BTD,DCNH->BTCNH", x, jnp.stack(weights, axis=1))
        joined = constrain(joined, "batch", None, None, "heads", None)
        return joined[:, :, 0], joined[:, :, 1], joined[:, :, 2]

    def _queries(self, x, position):
        """Return the scaled queries for the keys and those for `relative_keys`, two arrays (B, N, T, H).

        With rope, the first array is rotated and the second is None.
        """
        query = self._project(x, self.query)
        scale = jnp.asarray(query.shape[-1] ** -0.5, query.dtype)
        if self.position == "rope":
            return apply_rope(query, position[:, None]) * scale, None
        return tuple(add_bias(query, bias[:, None]) * scale for bias in (self.content_bias, self.position_bias))

    def _prefix_query(self, x, query, prefix: Prefix):
        """Return the scaled queries for the keys of a prefix; without rope they are those for the other keys."""
        return self._queries(x, prefix.position)[0] if self.position == "rope" else query

    def _project(self, x, weight):
        # Transposed afterwards, because XLA would transpose the weights to have the heads first, in each call.
        return constrain(project("BTD,DNH->BTNH", x, weight[...]).swapaxes(1, 2), "batch", "heads", None, None)

    def _project_out(self, heads):
        # Reshaped, because XLA would transpose the weights to match the order of the heads, in each call.
        joined = heads.swapaxes(1, 2).reshape(heads.shape[0], heads.shape[2], -1)
        out = self.out[...].reshape(-1, self.out.shape[-1])
        return add_bias(project("BTF,FD->BTD", joined, out), self.out_bias[...])


def apply_rope(x: Float[Array, "*rest H"], position: Int[Array, "*#rest"]) -> Float[Array, "*rest H"]:
    """Apply rotary position embeddings: rotate the elements h and h + H/2 by position times frequency.

    The frequency of h = 0, ..., H/2 - 1 is 10,000^(-2h/H), H is even. All is computed in float32 and rounded once, to
    the dtype of `x`. `position` is broadcast to the leading axes of `x`.
    """
    half = x.shape[-1] // 2
    frequencies = (10_000.0 ** -(np.arange(half) / half)).astype(np.float32)
    angles = position.astype(jnp.float32)[..., None] * frequencies.reshape((1,) * position.ndim + (half,))
    cosine, sine = jnp.cos(angles), jnp.sin(angles)
    first, second = x[..., :half].astype(jnp.float32), x[..., half:].astype(jnp.float32)
    turned = jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)
    return turned.astype(x.dtype)


def sinusoid(distances: int, width: int) -> Float[np.ndarray, "R D"]:
    """Return the sinusoidal embedding (R, D) of each distance 0, ..., distances - 1: sines, then cosines."""
    frequencies = 10_000.0 ** -(np.arange(0, width, 2) / width)
    angles = np.arange(distances)[:, None] * frequencies[None]
    return np.concatenate([np.sin(angles), np.cos(angles)], -1)[:, :width].astype(np.float32)
