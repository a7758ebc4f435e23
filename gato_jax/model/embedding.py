"""From tokens and patches to vectors (paper, section 2.2 and appendix C).

Axes:
    B rows   T positions   D width   P patches of all rows   V vocabulary
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, Key, UInt8

from gato_jax.model.config import ModelConfig
from gato_jax.tokenization.codecs.image import PATCH_POSITIONS

NORM_GROUPS = 32  # appendix C.2


class PatchBlock(nnx.Module):
    """One pre-activation residual block, then the whole patch to one vector."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        channels, stride = config.patch_channels, config.patch_stride
        side = config.tokenization.patch // stride

        def conv(inputs, kernel, strides=1):
            return nnx.Conv(inputs, channels, (kernel, kernel), strides, padding="SAME", rngs=rngs)

        self.stem = conv(3, max(stride, 3), stride)
        self.norm_1 = nnx.GroupNorm(channels, NORM_GROUPS, rngs=rngs)
        self.conv_1 = conv(channels, 3)
        self.norm_2 = nnx.GroupNorm(channels, NORM_GROUPS, rngs=rngs)
        self.conv_2 = conv(channels, 3)
        self.out = nnx.Linear(side * side * channels, config.width, rngs=rngs)

    def __call__(self, patches: UInt8[Array, "P p p C"]) -> Float[Array, "P D"]:
        side = patches.shape[1]
        pixels = (patches.astype(jnp.float32) / 127.5 - 1) / np.float32(np.sqrt(side))
        x = self.stem(pixels)
        y = self.conv_1(nnx.gelu(self.norm_1(x)))
        y = self.conv_2(nnx.gelu(self.norm_2(y)))
        return self.out((x + y).reshape(len(patches), -1))


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
        self.patch = PatchBlock(config, rngs)

    def __call__(
        self,
        token_ids: Int[Array, "B T"],
        local_position: Int[Array, "B T"],
        patches: UInt8[Array, "P p p C"],
        patch_slots: Int[Array, " P"],
        patch_intervals: Int[Array, "P 4"],
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, "B T D"]:
        """Vectors at all positions.

        `patch_slots` index the flattened (B T) positions; slots beyond the last are padding and dropped. With a key
        (training) patch positions are drawn from their intervals, without one (evaluation) they are the mean.
        """
        vectors = self.tokens[token_ids]
        if patches.shape[0]:
            flat = vectors.reshape(-1, vectors.shape[-1])
            rows, columns = patch_position(patch_intervals, key)
            embedded = self.patch(patches) + self.row[rows] + self.column[columns]
            vectors = flat.at[patch_slots].set(embedded, mode="drop").reshape(vectors.shape)
        return vectors + self.local[local_position]

    def attend(self, hidden: Float[Array, "*rest D"]) -> Float[Array, "*rest V"]:
        """Logits by the transposed token table."""
        return hidden @ self.tokens[...].T


def patch_position(
    intervals: Int[Array, "P 4"], key: Key[Array, ""] | None
) -> tuple[Int[Array, " P"], Int[Array, " P"]]:
    """Row and column index of each patch within [low, high): uniform with a key, the rounded mean without."""
    low, high = intervals[:, 0::2], intervals[:, 1::2]
    if key is None:
        index = (low + high) // 2
    else:
        index = jax.random.randint(key, low.shape, low, jnp.maximum(high, low + 1))
    index = jnp.clip(index, 0, PATCH_POSITIONS - 1)
    return index[:, 0], index[:, 1]


def fourier_bins(bins: int, width: int) -> Float[np.ndarray, "bins D"]:
    """Sines and cosines of the bin's number, from one period over all bins to one over a few; scaled as other rows."""
    periods = np.geomspace(2.0, 2.0 / bins * 8, width // 2)  # in units of the range [-1, 1]
    x = (np.arange(bins) + 0.5) / bins * 2 - 1
    angles = 2 * np.pi * x[:, None] / periods[None]
    features = np.concatenate([np.sin(angles), np.cos(angles)], -1)
    features = np.pad(features, ((0, 0), (0, width - features.shape[1])))
    return (features * np.sqrt(2 / width)).astype(np.float32)
