"""Embedding of tokens and image patches as vectors (paper, section 2.2 and appendix C).

Axes:
    B rows   T positions   D width   G pools of B/G rows   P patches of a pool   p side of a patch   V vocabulary

A pool is the rows of one device in one microbatch.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key, UInt8

from gato_jax.model.axes import constrain
from gato_jax.model.config import ModelConfig
from gato_jax.model.einsum import add_bias, einsum_f32, project
from gato_jax.model.layers import Conv, GroupNorm
from gato_jax.model.resnet import ResNet50Trunk
from gato_jax.tokenization.codecs.image import PATCH_POSITIONS


class PatchBlock(nnx.Module):
    """Patch embedding (appendix C.2): a strided stem, a pre-activation residual block, and a projection to width D."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        channels, stride = config.patch_channels, config.patch_stride
        side = config.tokenization.patch // stride

        def conv(inputs, kernel, strides=1):
            return Conv(inputs, channels, kernel, strides, rngs=rngs)

        self.stem = conv(3, max(stride, 3), stride)
        self.norm_1 = GroupNorm(channels, rngs)
        self.conv_1 = conv(channels, 3)
        self.norm_2 = GroupNorm(channels, rngs)
        self.conv_2 = conv(channels, 3)
        self.out = nnx.Param(jax.random.normal(rngs.params(), (side * side * channels, config.width)))
        self.out[...] = self.out[...] * self.out.shape[0] ** -0.5
        self.out_bias = nnx.Param(jnp.zeros(config.width))

    def __call__(self, patches: UInt8[Array, "P p p C"], dtype: DTypeLike | None = None) -> Float[Array, "P D"]:
        """Embed RGB patches of side p, computed in `dtype`, None for that of the params.

        Pixels are scaled to [-1, 1] and divided by sqrt(p) (section 2.1).
        """
        side = patches.shape[1]
        pixels = (patches.astype(jnp.float32) / 127.5 - 1) / np.float32(np.sqrt(side))
        x = self.stem(pixels.astype(dtype or self.out.dtype))
        y = self.conv_1(nnx.gelu(self.norm_1(x)))
        y = self.conv_2(nnx.gelu(self.norm_2(y)))
        return add_bias(project("PF,FD->PD", (x + y).reshape(len(patches), -1), self.out[...]), self.out_bias[...])


class Embedding(nnx.Module):
    """Embeddings of tokens, local positions and patches; the output head shares the token table."""

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
        dtype: DTypeLike | None = None,
    ) -> Float[Array, "B T D"]:
        """Embed all positions of a batch.

        Vectors are looked up and added in float32, and their sum is rounded: the gradient of a row of a table is a sum
        over all positions that look it up, thousands for a separator or an action, and is summed in float32.

        A pool holds the patches of the rows of one device in one microbatch. The device embeds these patches and puts
        them into place without communication.

        Args:
          token_ids: token of each position; those in patch slots have no effect.
          local_position: index of each position within its timestep's observation.
          patches: pixels.
          patch_slots: index of each patch in the flattened positions of its pool's rows, whose token embedding it
            replaces; slots beyond the last position are padding and dropped.
          patch_intervals: row interval [low, high) and column interval [low, high) of each patch, in 128ths of the
            image.
          keys: one key for each row in training, to draw the position of each patch from its intervals; None in
            evaluation, to use the mean, rounded (appendix C.3).
          dtype: dtype of the result and of the patch embedding; None for that of the params.
        """
        dtype = dtype or self.tokens.dtype
        vectors = _look_up(self.tokens, token_ids)
        pools, count = patch_slots.shape
        if count:
            uniform = None if keys is None else _uniform_of_patches(keys, token_ids.shape[1], patch_slots)
            rows, columns = patch_position(patch_intervals, uniform)
            embedded = self.patch(patches.reshape(pools * count, *patches.shape[2:]), dtype).astype(jnp.float32)
            embedded = embedded.reshape(pools, count, -1) + _look_up(self.row, rows) + _look_up(self.column, columns)
            embedded = constrain(embedded, "batch", None, None)
            pooled = constrain(vectors.reshape(pools, -1, vectors.shape[-1]), "batch", None, None)
            scatter = jax.vmap(lambda into, slots, values: into.at[slots].set(values, mode="drop"))
            vectors = scatter(pooled, patch_slots, embedded).reshape(vectors.shape)
        vectors += _look_up(self.local, local_position)
        return constrain(vectors.astype(dtype), "batch", None, None)

    def attend(self, hidden: Float[Array, "*rest D"]) -> Float[Array, "*rest V"]:
        """Return unmasked float32 logits over the padded vocabulary: hidden vectors by the transposed token table."""
        return einsum_f32("...D,VD->...V", hidden, self.tokens[...])


def _look_up(table: nnx.Param, index: Int[Array, "*rest"]) -> Float[Array, "*rest D"]:
    """Return rows of a table in float32, so that the gradient of the table is summed in float32."""
    return table[index].astype(jnp.float32)


def _uniform_of_patches(keys: Key[Array, " B"], length: int, slots: Int[Array, "G P"]) -> Float[Array, "G P 2"]:
    """Draw two uniform numbers in [0, 1) for each patch, which depend only on its row's key and its position there.

    `length` is the number of positions of a row, `slots` are the patch_slots of the batch.
    """
    drawn = jax.vmap(lambda key: jax.random.uniform(key, (length, 2)))(keys).reshape(len(slots), -1, 2)
    return jax.vmap(lambda values, index: values[jnp.minimum(index, len(values) - 1)])(drawn, slots)


def patch_position(
    intervals: Int[Array, "*rest 4"], uniform: Float[Array, "*rest 2"] | None
) -> tuple[Int[Array, "*rest"], Int[Array, "*rest"]]:
    """Return a row index and a column index, in [0, 128), within the intervals of each patch (appendix C.3).

    Args:
      intervals: row interval [low, high) and column interval [low, high), in 128ths of the image.
      uniform: numbers in [0, 1) that choose row and column, in this order; None for the mean (low + high) / 2, rounded
        to the nearest whole number, and to the even one of two that are equally near.
    """
    low, high = intervals[..., 0::2], intervals[..., 1::2]
    if uniform is None:
        index = jnp.round((low + high).astype(jnp.float32) / 2).astype(jnp.int32)  # exact: the sums are small
    else:
        index = low + (uniform * jnp.maximum(high - low, 1).astype(jnp.float32)).astype(jnp.int32)
    index = jnp.clip(index, 0, PATCH_POSITIONS - 1)
    return index[..., 0], index[..., 1]


def fourier_bins(bins: int, width: int) -> Float[np.ndarray, "bins D"]:
    """Return initial embeddings of the bins of continuous values: sines and cosines of the bin's centre in [-1, 1].

    Periods fall geometrically from 2, the width of the whole range, to the width of 8 bins. Vectors have the scale of
    other rows of the table; their first half are sines, their second half cosines.
    """
    periods = np.geomspace(2.0, 2.0 / bins * 8, width // 2)
    x = (np.arange(bins) + 0.5) / bins * 2 - 1
    angles = 2 * np.pi * x[:, None] / periods[None]
    features = np.concatenate([np.sin(angles), np.cos(angles)], -1)
    features = np.pad(features, ((0, 0), (0, width - features.shape[1])))
    return (features * np.sqrt(2 / width)).astype(np.float32)
