"""Configs of a model: its architecture, and the settings of its computation."""

from __future__ import annotations

import dataclasses
from typing import Literal

from gato_jax.episodes.dataclass_reader import DataclassReader
from gato_jax.tokenization import Tokenization

_READER = DataclassReader(error=ValueError)

FUSED = ("cudnn", "splash")  # kernels without scores by distance, so for rope only


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Architecture of a model, with the paper's names (table 5) and defaults.

    Attributes:
      layers: number of transformer blocks L.
      width: width D of the residual stream.
      heads: number of attention heads N.
      head_size: size H of keys, queries and values.
      hidden: feed-forward hidden size F, which GEGLU splits in half.
      position: position scheme of attention. `relative_xl`, as in Transformer-XL, gives the published sizes; `rope` has
        one matrix less in each block and runs on fused kernels.
      image_trunk: patch embedding: `residual_block`, the paper's, or `resnet_50`, of configs/article_variant.py.
      freeze_image_trunk: True to train only the trunk's output projection and leave its other params unchanged.
      patch_channels: channels of the residual block, a multiple of 32. The paper publishes neither this nor the stride;
        docs/decisions.md has the choices and their reasons.
      patch_stride: stride of the residual block's stem, in pixels; it divides the side of a patch.
      stochastic_depth: probability of dropping each sub-layer of a row in training (appendix D).
      dropout: probability of dropping each element of a sub-layer's output in training (appendix E: 0.1 to fine-tune).
      bin_init: initial embeddings of the bins of continuous values: `normal`, as of all other ids, or `fourier`, smooth
        features of the bin's centre, from which short runs learn sooner.
      tokenization: sizes of vocabulary, local positions and patches.

    Raises:
      ValueError: a value is of another type or out of range, or two contradict each other.
    """

    layers: int
    width: int
    heads: int
    head_size: int
    hidden: int
    position: Literal["relative_xl", "rope"] = "relative_xl"
    image_trunk: Literal["residual_block", "resnet_50"] = "residual_block"
    freeze_image_trunk: bool = False
    patch_channels: int = 64
    patch_stride: int = 4
    stochastic_depth: float = 0.1
    dropout: float = 0.0
    bin_init: Literal["normal", "fourier"] = "normal"
    tokenization: Tokenization = Tokenization()

    def __post_init__(self):
        _READER.check(self, "model")
        for name in ("layers", "width", "heads", "head_size", "hidden", "patch_channels", "patch_stride"):
            if getattr(self, name) < 1:
                raise ValueError(f"model.{name} must be positive, got {getattr(self, name)}")
        if self.hidden % 2:
            raise ValueError(f"model.hidden must be even, as GEGLU splits it in half; got {self.hidden}")
        if self.patch_channels % 32:
            raise ValueError(
                f"model.patch_channels must be a multiple of 32, its norm's groups; got {self.patch_channels}"
            )
        if self.tokenization.patch % self.patch_stride:
            raise ValueError(f"model.patch_stride {self.patch_stride} does not divide patch {self.tokenization.patch}")
        for name in ("stochastic_depth", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"model.{name} must be in [0, 1), got {getattr(self, name)}")
        if self.position == "rope" and self.head_size % 2:
            raise ValueError(f"model.head_size must be even for rope, which rotates pairs; got {self.head_size}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComputeConfig:
    """Settings of the computation that change speed and memory and no param; checkpoints do not depend on them.

    Attributes:
      dtype: dtype of matrix products and activations. Params, norms, softmax and loss stay in float32.
      attention: attention kernel. `blockwise` never holds all scores, runs anywhere and is the fastest on a CPU;
        `dense` holds them all, for comparison; `cudnn` (GPU) and `splash` (TPU) are fused and need rope. A kernel that
        cannot run raises an error.
      remat: what the backward pass computes again: `none`; `dots`, all but the matrix products; `full`, whole blocks.
      scan: True to compile one block for all layers, which saves minutes of compilation and costs a copy of the params
        in `dtype`.
      accumulate: number of microbatches that a step computes one after the other.
      loss_chunk: number of targets of each device whose logits are held at a time.

    Raises:
      ValueError: a value is of another type or out of range.
    """

    dtype: Literal["float32", "bfloat16"] = "float32"
    attention: Literal["dense", "blockwise", "cudnn", "splash"] = "blockwise"
    remat: Literal["none", "dots", "full"] = "none"
    scan: bool = False
    accumulate: int = 1
    loss_chunk: int = 2048

    def __post_init__(self):
        _READER.check(self, "compute")
        for name in ("accumulate", "loss_chunk"):
            if getattr(self, name) < 1:
                raise ValueError(f"compute.{name} must be positive, got {getattr(self, name)}")

    def require_fits(self, model: ModelConfig):
        """Raise ValueError if the attention kernel cannot compute this model or dtype; no platform is checked."""
        if self.attention in FUSED and model.position != "rope":
            raise ValueError(
                f"compute.attention={self.attention} cannot add the position scores of model.position="
                f"{model.position}; set compute.attention=blockwise or model.position=rope"
            )
        if self.attention == "cudnn" and self.dtype != "bfloat16":
            raise ValueError("compute.attention=cudnn computes in 16 bits; set compute.dtype=bfloat16, or blockwise")
