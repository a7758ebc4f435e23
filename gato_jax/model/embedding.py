"""From tokens and patches to vectors (paper, section 2.2 and appendix C).

Axes:
    B rows   T positions   D width   G pools of B/G rows   P patches of a pool   V vocabulary
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, Key, UInt8

from gato_jax.model.axes import constrain
from gato_jax.model.config import ModelConfig
from gato_jax.model.layers import GroupNorm
from gato_jax.model.products import product
from gato_jax.model.resnet import ResNet50Trunk
from gato_jax.tokenization.codecs.image import PATCH_POSITIONS


class PatchBlock(nnx.Module):
    """One pre-activation residual block, then the whole patch to one vector."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        channels, stride = config.patch_channels, config.patch_stride
        side = config.tokenization.patch // stride

        def conv(inputs, kernel, strides=1):
            return nnx.Conv(inputs, channels, (kernel, kernel), strides, padding="SAME", rngs=rngs)

        self.stem = conv(3, max(stride, 3), stride)
        self.norm_1 = GroupNorm(channels, rngs)
        self.conv_1 = conv(channels, 3)
        self.norm_2 = GroupNorm(channels, rngs)
        self.conv_2 = conv(channels, 3)
        self.out = nnx.Param(jax.random.normal(rngs.params(), (side * side * channels, config.width)))
        self.out[...] = self.out[...] * self.out.shape[0] ** -0.5
        self.out_bias = nnx.Param(jnp.zeros(config.width))

    def __call__(self, patches: UInt8[Array, "P p p C"]) -> Float[Array, "P D"]:
        side = patches.shape[1]
        pixels = (patches.astype(jnp.float32) / 127.5 - 1) / np.float32(np.sqrt(side))
        x = self.stem(pixels.astype(self.out.dtype))
        y = self.conv_1(nnx.gelu(self.norm_1(x)))
        y = self.conv_2(nnx.gelu(self.norm_2(y)))
        return (x + y).reshape(len(patches), -1) @ self.out[...] + self.out_bias[...][None]


class Embedding(nnx.Module):
    """Token, local position and patch embeddings; the token table is shared with the output head."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        def table(rows):
            return nnx.Param(config.width**-0.5 * jax.random.normal(rngs.params(), (rows, config.width)))

        vocabulary = config.tokenization.vocabulary
        self.tokens = table(vocabulary.padded_size)
        if config.bin_init == "fourier":
            bins = fourier_bins(vocabulary.bins, config.width)
            start = vocabulary.continuous
            self.tokens[...] = self.tokens[...].at[start : start + vocabulary.bins].set(bins)
        self.local = table(config.tokenization.local_positions)
        self.row = table(PATCH_POSITIONS)
        self.column = table(PATCH_POSITIONS)
        self.patch = {"residual_block": PatchBlock, "resnet_50": ResNet50Trunk}[config.image_trunk](config, rngs)

    def __call__(
        self,
        token_ids: Int[Array, "B T"],
        local_position: Int[Array, "B T"],
        patches: UInt8[Array, "G P p p C"],
        patch_slots: Int[Array, "G P"],
        patch_intervals: Int[Array, "G P 4"],
        keys: Key[Array, " B"] | None = None,
    ) -> Float[Array, "B T D"]:
        """Vectors at all positions.

        Each pool holds the patches of the rows of one device, which embeds and places them without asking another.
        `patch_slots` index the flattened positions of the pool's rows; slots beyond the last are padding and dropped.
        With a key for each row (training) patch positions are drawn from their intervals, without (evaluation) they
        are the mean.
        """
        vectors = self.tokens[token_ids]
        pools, count = patch_slots.shape
        if count:
            drawn = None if keys is None else _draw(keys, token_ids.shape[1], patch_slots)
            rows, columns = patch_position(patch_intervals, drawn)
            embedded = self.patch(patches.reshape(pools * count, *patches.shape[2:])).reshape(pools, count, -1)
            embedded = constrain(embedded + self.row[rows] + self.column[columns], "batch", None, None)
            pooled = constrain(vectors.reshape(pools, -1, vectors.shape[-1]), "batch", None, None)
            place = jax.vmap(lambda into, slots, values: into.at[slots].set(values, mode="drop"))
            vectors = place(pooled, patch_slots, embedded).reshape(vectors.shape)
        return constrain(vectors + self.local[local_position], "batch", None, None)

    def attend(self, hidden: Float[Array, "*rest D"]) -> Float[Array, "*rest V"]:
        """Logits, in float32, by the transposed token table."""
        return product("...D,VD->...V", hidden, self.tokens[...])


def _draw(keys: Key[Array, " B"], length: int, slots: Int[Array, "G P"]) -> Float[Array, "G P 2"]:
    """For each patch two numbers in [0, 1) that depend on its row's key and its position in the row alone."""
    drawn = jax.vmap(lambda key: jax.random.uniform(key, (length, 2)))(keys).reshape(len(slots), -1, 2)
    return jax.vmap(lambda values, index: values[jnp.minimum(index, len(values) - 1)])(drawn, slots)


def patch_position(
    intervals: Int[Array, "*rest 4"], drawn: Float[Array, "*rest 2"] | None
) -> tuple[Int[Array, "*rest"], Int[Array, "*rest"]]:
    """Row and column index of each patch within [low, high): where `drawn` says, the rounded mean without it."""
    low, high = intervals[..., 0::2], intervals[..., 1::2]
    if drawn is None:
        index = (low + high) // 2
    else:
        index = low + (drawn * jnp.maximum(high - low, 1).astype(jnp.float32)).astype(jnp.int32)
    index = jnp.clip(index, 0, PATCH_POSITIONS - 1)
    return index[..., 0], index[..., 1]


def fourier_bins(bins: int, width: int) -> Float[np.ndarray, "bins D"]:
    """Sines and cosines of the bin's number, from one period over all bins to one over a few; scaled as other rows."""
    periods = np.geomspace(2.0, 2.0 / bins * 8, width // 2)  # in units of the range [-1, 1]
    x = (np.arange(bins) + 0.5) / bins * 2 - 1
    angles = 2 * np.pi * x[:, None] / periods[None]
    features = np.concatenate([np.sin(angles), np.cos(angles)], -1)
    features = np.pad(features, ((0, 0), (0, width - features.shape[1])))
    return (features * np.sqrt(2 / width)).astype(np.float32)
