"""VQ-VAE that encodes images as codes of a learned table: its config and modules.

RoboCat (arXiv 2306.11706) encodes images by a VQ-GAN instead of Gato's patches and predicts the codes of later images.
This VQ-VAE differs from the published facts of that VQ-GAN as follows:

                       RoboCat                                      here
    codes of an image  8 by 8                                       the same
    code table         4096 codes (ablation), "64 embeddings of     1024 codes of 32 numbers, as a short run can fill it
                       dimension 128" (appendix)
    encoder            2 groups of 2 residual blocks, 3 attention   one group for each side from a quarter of the image
                       layers                                       to that of the codes; no attention, for two cores
    decoder            3 attention layers, 2 groups of 3 blocks     the mirror of the encoder
    loss               0.25 discretisation + l2 + 0.1 log-Laplace   the same (training/image_tokenizer.py)

RoboCat does not publish image sides, channels and norms; those here are our choices.

Axes:
    N images   S side of an image   G side of the grid of codes   M vectors   E numbers of a code vector   C channels
    y x, v u rows and columns of a finer and of a coarser map   A B channels in and out
"""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int32, Key, UInt8

from gato_jax.episodes.dataclass_reader import DataclassReader
from gato_jax.episodes.ranges import NonNegativeFloat, PositiveInt, Range, rule

NORM_GROUPS = 8
STEM_STRIDE = 4  # largest stride of the first convolution; blocks at the full side would take most of the time


class ImageTokenizerError(ValueError):
    """A config, image, code or file of an image tokenizer that cannot be used; the message has the remedy."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageTokenizerConfig:
    """Architecture of the VQ-VAE, and the weight of its commitment loss.

    Attributes:
      side: side in pixels of the square to which images of any size are resized.
      grid: number of codes in a row and in a column; `side` must be `grid` times a power of two.
      codes: number of code vectors in the table.
      code_size: size of a code vector.
      channels: channels of all convolutions, a multiple of 8.
      blocks: number of residual blocks at each resolution.
      commitment: weight of the commitment loss, which keeps the encoder's vectors near their code vectors.
    """

    side: PositiveInt = 64
    grid: PositiveInt = 8
    codes: PositiveInt = 1024
    code_size: PositiveInt = 32
    channels: Annotated[int, Range(above=0, multiple_of=NORM_GROUPS, remedy="Norms have that many groups.")] = 64
    blocks: PositiveInt = 2
    commitment: NonNegativeFloat = 0.25

    def __post_init__(self):
        DataclassReader(error=ImageTokenizerError).check(self, "image_tokenizer")

    @rule
    def _side_halves_to_grid(self) -> str | None:
        factor, rest = divmod(self.side, self.grid)
        if not rest and factor & (factor - 1) == 0:
            return None
        return (
            f"side is {self.side}, expected grid ({self.grid}) times a power of two. Take {self.grid * 4}, "
            f"{self.grid * 8} or {self.grid * 16}."
        )

    @property
    def token_count(self) -> int:
        """Number of codes of one image."""
        return self.grid * self.grid

    @property
    def strides(self) -> list[int]:
        """Strides of the encoder's convolutions, from pixels to codes, with product side / grid; e.g. [4, 2]."""
        factor = self.side // self.grid
        stem = min(factor, STEM_STRIDE)
        return [stem] + [2] * int(math.log2(factor // stem))


class ResidualBlock(nnx.Module):
    """Pre-activation residual block: two 3x3 convolutions, each after GroupNorm and GELU."""

    def __init__(self, channels: int, rngs: nnx.Rngs):
        self.norm_1 = nnx.GroupNorm(channels, NORM_GROUPS, rngs=rngs)
        self.conv_1 = nnx.Conv(channels, channels, (3, 3), rngs=rngs)
        self.norm_2 = nnx.GroupNorm(channels, NORM_GROUPS, rngs=rngs)
        self.conv_2 = nnx.Conv(channels, channels, (3, 3), rngs=rngs)

    def __call__(self, x: Float[Array, "N y x C"]) -> Float[Array, "N y x C"]:
        y = self.conv_1(nnx.gelu(self.norm_1(x)))
        return x + self.conv_2(nnx.gelu(self.norm_2(y)))


class DownsampleConv(nnx.Module):
    """Convolution of stride s, computed with stride 1 over squares of s by s pixels folded into channels.

    Its windows of 3s by 3s pixels overlap, so reconstructions have no seams between codes. On a CPU its gradient takes
    a fraction of the time of a strided convolution's.
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
    """Convolution that enlarges a map by s: s * s times the output channels, unfolded into squares of s by s pixels."""

    def __init__(self, inputs: int, outputs: int, stride: int, rngs: nnx.Rngs):
        self.conv = nnx.Conv(inputs, stride * stride * outputs, (3, 3), rngs=rngs)
        self.stride = stride

    def __call__(self, x: Float[Array, "N v u A"]) -> Float[Array, "N y x B"]:
        n, v, u, _ = x.shape
        s = self.stride
        squares = self.conv(x).reshape(n, v, u, s, s, -1).transpose(0, 1, 3, 2, 4, 5)
        return squares.reshape(n, v * s, u * s, -1)


class Encoder(nnx.Module):
    """Encoder of pixels to one vector for each code of the grid: for each stride a convolution and residual blocks."""

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
        return self.out(x)  # without a norm, which would remove the image's mean colour


class Quantizer(nnx.Module):
    """Table of code vectors, (codes, code_size)."""

    def __init__(self, config: ImageTokenizerConfig, rngs: nnx.Rngs):
        self.vectors = nnx.Param(jax.random.normal(rngs.params(), (config.codes, config.code_size)))

    def nearest(self, encoded: Float[Array, "M E"]) -> Int32[Array, " M"]:
        """Return for each of M vectors the code whose vector has the smallest l2 distance, the lowest code in a tie."""
        vectors = self.vectors[...]
        # This is |z - e|^2 without |z|^2, which is the same for every code.
        distances = jnp.sum(vectors * vectors, -1)[None] - 2 * encoded @ vectors.T
        return jnp.argmin(distances, -1).astype(jnp.int32)


class Decoder(nnx.Module):
    """Decoder, the mirror of the encoder: for each stride residual blocks and a convolution to a finer side."""

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
    """Output of the VQ-VAE for N images, with M = N * G * G vectors, image by image and in raster order.

    Attributes:
      pixels: reconstruction, scaled to [-1, 1] but not clipped to it.
      encoded: vectors of the encoder.
      quantized: code vectors nearest to them.
      codes: rows of these code vectors in the table.
    """

    pixels: Float[Array, "N S S 3"]
    encoded: Float[Array, "M E"]
    quantized: Float[Array, "M E"]
    codes: Int32[Array, " M"]


class VQVAE(nnx.Module):
    """Vector-quantised autoencoder: encoder, code table and decoder, for pixels scaled to [-1, 1]."""

    def __init__(self, config: ImageTokenizerConfig, rngs: nnx.Rngs):
        self.encoder = Encoder(config, rngs)
        self.quantizer = Quantizer(config, rngs)
        self.decoder = Decoder(config, rngs)

    def __call__(self, pixels: Float[Array, "N S S 3"]) -> Reconstruction:
        """Reconstruct images of pixels in [-1, 1]; gradients pass straight through the quantization to the encoder."""
        grid = self.encoder(pixels)
        encoded = grid.reshape(-1, grid.shape[-1])
        codes = self.quantizer.nearest(jax.lax.stop_gradient(encoded))
        quantized = self.quantizer.vectors[...][codes]
        straight_through = encoded + jax.lax.stop_gradient(quantized - encoded)
        return Reconstruction(self.decoder(straight_through.reshape(grid.shape)), encoded, quantized, codes)


def to_pixels(images: UInt8[Array, "*lead"]) -> Float[Array, "*lead"]:
    """Scale uint8 images to float32 pixels in [-1, 1]."""
    return images.astype(jnp.float32) / 127.5 - 1


def graphdef(config: ImageTokenizerConfig) -> nnx.GraphDef:
    """Return the structure of the VQ-VAE without its arrays, for `nnx.merge` with params."""
    return nnx.split(nnx.eval_shape(lambda: VQVAE(config, nnx.Rngs(0))))[0]


def initialise(config: ImageTokenizerConfig, key: Key[Array, ""]) -> nnx.State:
    """Return random params, for `nnx.merge` with `graphdef`; under jit it compiles once, otherwise op by op."""
    return nnx.split(VQVAE(config, nnx.Rngs(params=key)))[1]
