"""ResNet-50 patch embedding, the variant of configs/article_variant.py, in place of the paper's residual block.

The architecture is that of torchvision's resnet50 (arXiv 1512.03385, with the stride in the 3x3 convolution), so that
its weights can be loaded by gato_jax/checkpoints/torchvision_weights.py.

Axes:
    P patches   p side of a patch   S side of a feature map   C channels   D width
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, UInt8

from gato_jax.model.config import ModelConfig
from gato_jax.model.einsum import add_bias, project
from gato_jax.model.layers import Conv

FEATURES = 2048
_BLOCKS = (3, 4, 6, 3)  # blocks of the four stages
_PIXEL_MEAN = np.array([0.485, 0.456, 0.406], np.float32)  # of ImageNet, pixels in [0, 1]
_PIXEL_STD = np.array([0.229, 0.224, 0.225], np.float32)
_EPSILON = np.float32(1e-5)


class FrozenBatchNorm(nnx.Module):
    """Batch norm with fixed statistics, computed in float32, as in DETR (arXiv 2005.12872).

    Mean and variance are params without a gradient, so the patches of a batch do not affect each other and the module
    has no state. Scale, which begins at `scale`, and bias are trained.
    """

    def __init__(self, channels: int, scale: float = 1.0):
        self.scale, self.bias = nnx.Param(jnp.full(channels, scale, jnp.float32)), nnx.Param(jnp.zeros(channels))
        self.mean, self.variance = nnx.Param(jnp.zeros(channels)), nnx.Param(jnp.ones(channels))

    def __call__(self, x: Float[Array, "P S S C"]) -> Float[Array, "P S S C"]:
        mean, variance = jax.lax.stop_gradient((self.mean[...], self.variance[...]))
        scale = self.scale[...] * jax.lax.rsqrt(variance + _EPSILON)
        centred = x.astype(jnp.float32) - mean[None, None, None]
        return (centred * scale[None, None, None] + self.bias[...][None, None, None]).astype(x.dtype)


class Bottleneck(nnx.Module):
    """Residual block of 1x1, 3x3 and 1x1 convolutions; its shortcut has a projection where the channels change.

    It maps `inputs` channels to 4 * `channels`; the 3x3 convolution has `channels` and the stride.
    """

    def __init__(self, inputs: int, channels: int, stride: int, rngs: nnx.Rngs):
        outputs = 4 * channels
        self.conv_1, self.norm_1 = _conv(inputs, channels, 1, 1, rngs), FrozenBatchNorm(channels)
        self.conv_2, self.norm_2 = _conv(channels, channels, 3, stride, rngs), FrozenBatchNorm(channels)
        # Statistics that were not measured do not bound the sum of sixteen branches, so without pretrained weights each
        # branch begins at zero.
        self.conv_3, self.norm_3 = _conv(channels, outputs, 1, 1, rngs), FrozenBatchNorm(outputs, scale=0.0)
        self.projects = inputs != outputs
        if self.projects:
            self.shortcut, self.shortcut_norm = _conv(inputs, outputs, 1, stride, rngs), FrozenBatchNorm(outputs)

    def __call__(self, x: Float[Array, "P S S C"]) -> Float[Array, "P S2 S2 C2"]:
        y = nnx.relu(self.norm_1(self.conv_1(x)))
        y = nnx.relu(self.norm_2(self.conv_2(y)))
        y = self.norm_3(self.conv_3(y))
        return nnx.relu(y + (self.shortcut_norm(self.shortcut(x)) if self.projects else x))


class ResNet50(nnx.Module):
    """ResNet-50 without its classifier: normalised pixels to 2048 features, averaged over the last feature map."""

    def __init__(self, rngs: nnx.Rngs):
        self.stem, self.stem_norm = _conv(3, 64, 7, 2, rngs), FrozenBatchNorm(64)
        self.stages = nnx.List([_stage(number, blocks, rngs) for number, blocks in enumerate(_BLOCKS)])

    def __call__(self, pixels: Float[Array, "P p p 3"]) -> Float[Array, "P features"]:
        x = self.first_features(pixels)
        for stage in self.stages:
            for block in stage:
                x = block(x)
        return x.mean((1, 2))

    def first_features(self, pixels: Float[Array, "P p p 3"]) -> Float[Array, "P S S C"]:
        """Return the input of the first stage from normalised pixels: the stem, then max pooling; S = p/4, C = 64."""
        # Zero padding is right for a maximum after ReLU, as nothing is below zero.
        x = nnx.relu(self.stem_norm(self.stem(pixels)))
        return nnx.max_pool(jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), (3, 3), (2, 2))


class ResNet50Trunk(nnx.Module):
    """Patch embedding by a ResNet-50: features of each patch, then a projection to the model's width D.

    With config.freeze_image_trunk no gradient is computed for the features; the projection is trained.
    """

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        self.resnet = ResNet50(rngs)
        self.frozen = config.freeze_image_trunk
        self.out = nnx.Param(jax.random.normal(rngs.params(), (FEATURES, config.width)) * FEATURES**-0.5)
        self.out_bias = nnx.Param(jnp.zeros(config.width))

    def __call__(self, patches: UInt8[Array, "P p p C"], dtype: DTypeLike | None = None) -> Float[Array, "P D"]:
        """Embed RGB patches of side p, computed in `dtype`, None for that of the params."""
        pixels = patches.astype(jnp.float32) / 255
        pixels = (pixels - _PIXEL_MEAN[None, None, None]) / _PIXEL_STD[None, None, None]
        features = self.resnet(pixels.astype(dtype or self.out.dtype))
        if self.frozen:
            features = jax.lax.stop_gradient(features)
        return add_bias(project("PF,FD->PD", features, self.out[...]), self.out_bias[...])


def _stage(number: int, blocks: int, rngs: nnx.Rngs) -> nnx.List:
    """Return the blocks of stage `number`, from 0; each stage but the first halves the resolution.

    The output of a stage has 256 * 2^number channels. `blocks` is the number of its blocks.
    """
    channels, stride = 64 * 2**number, 1 if number == 0 else 2
    first = Bottleneck(64 if number == 0 else 2 * channels, channels, stride, rngs)
    return nnx.List([first, *(Bottleneck(4 * channels, channels, 1, rngs) for _ in range(1, blocks))])


def _conv(inputs: int, outputs: int, kernel: int, stride: int, rngs: nnx.Rngs) -> Conv:
    """Return a convolution without bias, padded by kernel // 2 on all sides, unlike `SAME` with a stride."""
    return Conv(
        inputs,
        outputs,
        kernel,
        stride,
        padding=kernel // 2,
        use_bias=False,
        kernel_init=nnx.initializers.he_normal(),
        rngs=rngs,
    )
