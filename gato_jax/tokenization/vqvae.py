"""The VQ-VAE that reads images as codes of a learned table: its settings and modules.

RoboCat (arXiv 2306.11706) reads images so, instead of by Gato's patches, and predicts the codes of later images. What
it says of its VQ-GAN, and what is here:

    codes of an image   8 by 8; the same
    code table          4096 codes in its ablation, "64 embeddings of dimension 128" in its appendix; here 1024 of 32
                        numbers, which a short run can fill
    encoder             2 groups of 2 residual blocks, 3 attention layers; here a group for each side from a quarter
                        of the image down to the codes (2 groups for 64 pixels) and no attention, so that two cores do
    decoder             3 attention layers, 2 groups of 3 blocks; here the encoder's mirror
    loss                0.25 discretisation + l2 + 0.1 log-Laplace; the same (training/image_tokenizer.py)

Sides, channels and norms of RoboCat's are not known to us; ours are choices.

Axes:
    N images   S side of an image   G side of the grid of codes   M vectors   E numbers of a code vector   C channels
    y x, v u rows and columns of a finer and of a coarser map   A B channels in and out
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int32, Key, UInt8

from gato_jax.episodes.dataclass_reader import DataclassReader

NORM_GROUPS = 8
STEM_STRIDE = 4  # at most: blocks at the full side would take most of the time


class ImageTokenizerError(ValueError):
    """Settings, images, codes or files of an image tokenizer that cannot be used; the message has the remedy."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageTokenizerConfig:
    """Attributes:

    side: pixels; an image of any size is resized to side by side.
    grid: codes in a row and in a column; side is grid times a power of two.
    codes: code vectors in the table.
    code_size: numbers of a code vector.
    channels: of all convolutions.
    blocks: residual blocks at each resolution.
    commitment: weight of the loss that keeps the encoder near its codes.
    """

    side: int = 64
    grid: int = 8
    codes: int = 1024
    code_size: int = 32
    channels: int = 64
    blocks: int = 2
    commitment: float = 0.25

    def __post_init__(self):
        DataclassReader(error=ImageTokenizerError).check(self, "image tokenizer")
        for name in ("side", "grid", "codes", "code_size", "channels", "blocks"):
            if (value := getattr(self, name)) < 1:
                raise ImageTokenizerError(f"image tokenizer: {name} is {value}, expected a positive number")
        factor, rest = divmod(self.side, self.grid)
        if rest or factor & (factor - 1):
            raise ImageTokenizerError(
                f"image tokenizer: side must be grid times a power of two, got side {self.side} and grid {self.grid}; "
                f"for this grid take {self.grid * 4}, {self.grid * 8} or {self.grid * 16}"
            )
        if self.channels % NORM_GROUPS:
            raise ImageTokenizerError(
                f"image tokenizer: channels must be a multiple of {NORM_GROUPS}, its norms' groups; got {self.channels}"
            )
        if not 0 <= self.commitment < math.inf:
            raise ImageTokenizerError(f"image tokenizer: commitment must not be negative, got {self.commitment!r}")

    @property
    def token_count(self) -> int:
        """Codes of one image."""
        return self.grid * self.grid

    @property
    def strides(self) -> list[int]:
        """Of the encoder's convolutions, from pixels to codes: the first takes up to four at once."""
        factor = self.side // self.grid
        stem = min(factor, STEM_STRIDE)
        return [stem] + [2] * int(math.log2(factor // stem))


class ResidualBlock(nnx.Module):
    """Two convolutions, each behind its norm and activation, beside the identity."""

    def __init__(self, channels: int, rngs: nnx.Rngs):
        self.norm_1 = nnx.GroupNorm(channels, NORM_GROUPS, rngs=rngs)
        self.conv_1 = nnx.Conv(channels, channels, (3, 3), rngs=rngs)
        self.norm_2 = nnx.GroupNorm(channels, NORM_GROUPS, rngs=rngs)
        self.conv_2 = nnx.Conv(channels, channels, (3, 3), rngs=rngs)

    def __call__(self, x: Float[Array, "N y x C"]) -> Float[Array, "N y x C"]:
        y = self.conv_1(nnx.gelu(self.norm_1(x)))
        return x + self.conv_2(nnx.gelu(self.norm_2(y)))


class DownsampleConv(nnx.Module):
    """A convolution of stride s, as one of stride 1 over squares of s by s pixels folded into channels.

    Its windows of 3s by 3s overlap, so codes leave no seams; on a CPU its gradient takes a fraction of a strided one's.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, rngs: nnx.Rngs):
        self.conv = nnx.Conv(stride * stride * inputs, outputs, (3, 3), rngs=rngs)
        self.stride = stride

    def __call__(self, x: Float[Array, "N y x A"]) -> Float[Array, "N v u B"]:
        n, y, x_, c = x.shape
        s = self.stride
        squares = x.reshape(n, y // s, s, x_ // s, s, c).transpose(0, 1, 3, 2, 4, 5)
        return self.conv(squares.reshape(n, y // s, x_ // s, s * s * c))


class UpsampleConv(nnx.Module):
    """The mirror: a convolution to s by s times the channels, unfolded into squares of s by s pixels."""

    def __init__(self, inputs: int, outputs: int, stride: int, rngs: nnx.Rngs):
        self.conv = nnx.Conv(inputs, stride * stride * outputs, (3, 3), rngs=rngs)
        self.stride = stride

    def __call__(self, x: Float[Array, "N v u A"]) -> Float[Array, "N y x B"]:
        n, v, u, _ = x.shape
        s = self.stride
        squares = self.conv(x).reshape(n, v, u, s, s, -1).transpose(0, 1, 3, 2, 4, 5)
        return squares.reshape(n, v * s, u * s, -1)


class Encoder(nnx.Module):
    """From pixels to one vector for each place of the grid: at each stride a convolution, then residual blocks."""

    def __init__(self, config: ImageTokenizerConfig, rngs: nnx.Rngs):
        c = config.channels
        layers, inputs = [], 3
        for stride in config.strides:
            layers.append(DownsampleConv(inputs, c, stride, rngs))
            layers.extend(ResidualBlock(c, rngs) for _ in range(config.blocks))
            inputs = c
        self.layers = nnx.List(layers)
        self.out = nnx.Conv(c, config.code_size, (1, 1), rngs=rngs)

    def __call__(self, pixels: Float[Array, "N S S 3"]) -> Float[Array, "N G G E"]:
        x = pixels
        for layer in self.layers:
            x = layer(x)
        return self.out(x)  # with no norm, which would take an image's mean colour away


class Quantizer(nnx.Module):
    """The table of code vectors."""

    def __init__(self, config: ImageTokenizerConfig, rngs: nnx.Rngs):
        self.vectors = nnx.Param(jax.random.normal(rngs.params(), (config.codes, config.code_size)))

    def nearest(self, encoded: Float[Array, "M E"]) -> Int32[Array, " M"]:
        """The code whose vector is nearest by l2, the lowest where several are."""
        vectors = self.vectors[...]
        # |z - e|^2 less |z|^2, which is the same for every code
        distances = jnp.sum(vectors * vectors, -1)[None] - 2 * encoded @ vectors.T
        return jnp.argmin(distances, -1).astype(jnp.int32)


class Decoder(nnx.Module):
    """The encoder's mirror: residual blocks, then, at each stride, a convolution to a finer side."""

    def __init__(self, config: ImageTokenizerConfig, rngs: nnx.Rngs):
        c = config.channels
        self.stem = nnx.Conv(config.code_size, c, (3, 3), rngs=rngs)
        layers = []
        for place, stride in enumerate(reversed(config.strides), 1):
            outputs = 3 if place == len(config.strides) else c
            layers.extend(ResidualBlock(c, rngs) for _ in range(config.blocks))
            layers.append(UpsampleConv(c, outputs, stride, rngs))
        self.layers = nnx.List(layers)

    def __call__(self, quantized: Float[Array, "N G G E"]) -> Float[Array, "N S S 3"]:
        x = self.stem(quantized)
        for layer in self.layers:
            x = layer(x)
        return x


class Reconstruction(NamedTuple):
    """What a VQ-VAE makes of images."""

    pixels: Float[Array, "N S S 3"]
    encoded: Float[Array, "M E"]
    chosen: Float[Array, "M E"]
    codes: Int32[Array, " M"]


class VQVAE(nnx.Module):
    """Encoder, code table and decoder; pixels are scaled to [-1, 1] (see `to_pixels`)."""

    def __init__(self, config: ImageTokenizerConfig, rngs: nnx.Rngs):
        self.encoder = Encoder(config, rngs)
        self.quantizer = Quantizer(config, rngs)
        self.decoder = Decoder(config, rngs)

    def __call__(self, pixels: Float[Array, "N S S 3"]) -> Reconstruction:
        """The reconstruction; its gradient passes the choice of codes as if that were the identity."""
        grid = self.encoder(pixels)
        encoded = grid.reshape(-1, grid.shape[-1])
        codes = self.quantizer.nearest(jax.lax.stop_gradient(encoded))
        chosen = self.quantizer.vectors[...][codes]
        straight_through = encoded + jax.lax.stop_gradient(chosen - encoded)
        return Reconstruction(self.decoder(straight_through.reshape(grid.shape)), encoded, chosen, codes)


def to_pixels(images: UInt8[Array, "*lead"]) -> Float[Array, "*lead"]:
    """0..255 to [-1, 1]."""
    return images.astype(jnp.float32) / 127.5 - 1


def graphdef(config: ImageTokenizerConfig) -> nnx.GraphDef:
    """The VQ-VAE without its arrays."""
    return nnx.split(nnx.eval_shape(lambda: VQVAE(config, nnx.Rngs(0))))[0]


def initialise(config: ImageTokenizerConfig, key: Key[Array, ""]) -> nnx.State:
    """Untrained params, a plain pytree of arrays; jit it, or it is compiled piece by piece."""
    return nnx.split(VQVAE(config, nnx.Rngs(params=key)))[1]
