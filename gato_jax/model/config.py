"""The numbers that make a model, and those that say how it is computed."""

from __future__ import annotations

import dataclasses
from typing import Literal

from gato_jax.episodes.dataclass_reader import DataclassReader
from gato_jax.tokenization import Tokenization

_READER = DataclassReader(error=ValueError)

FUSED = ("cudnn", "splash")  # kernels that know no other scores than query times key


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What the parameters are. Attributes (names as in the paper's table 5):

    layers: transformer blocks.
    width: layer width D.
    heads, head_size: attention heads N and key/value size H.
    hidden: feed-forward hidden size F; GEGLU splits it in half.
    position: how attention knows distance. `relative_xl`, as in Transformer-XL, gives the published sizes; `rope` has
      one matrix less in each block and runs on fused kernels.
    image_trunk: `residual_block` is the paper's; `resnet_50` another one, of configs/article_variant.py.
    freeze_image_trunk: leave the trunk's params as they are, and train the projection of its features alone.
    patch_channels, patch_stride: channels of the residual block, and the stride of its stem. The paper publishes
      neither; docs/decisions.md has what was chosen and why.
    stochastic_depth: probability of skipping each sub-layer in training (appendix D).
    dropout: of what each sub-layer adds, in training (appendix E: 0.1 in fine-tuning).
    bin_init: how the embeddings of continuous bins start: `normal` like every other row, or `fourier`, smooth features
      of the bin's number, which short runs learn from sooner.
    tokenization: sizes the tables.
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
            raise ValueError(f"model.head_size must be even for rope, which turns pairs; got {self.head_size}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComputeConfig:
    """How the same numbers are computed; no checkpoint depends on it. Attributes:

    dtype: of matrix products and what flows between them. Params, norms, softmax and loss stay float32.
    attention: `blockwise` never holds all scores, runs anywhere and is the fastest on a CPU; `dense` holds them, to
      compare with; `cudnn` (GPU) and `splash` (TPU) are fused and need rope. One that cannot run is an error.
    remat: what the backward pass computes again: `none`; `dots`, all but the matrix products; `full`, whole blocks.
    scan: compile one block for all layers: minutes less to compile, and a copy of the params in `dtype` more to hold.
    accumulate: microbatches of a step, one after the other.
    loss_chunk: targets whose logits are held at a time.
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
        """Refuses a kernel that cannot compute this model.

        Raises:
          ValueError: naming both and the remedy.
        """
        if self.attention in FUSED and model.position != "rope":
            raise ValueError(
                f"compute.attention={self.attention} cannot add the position scores of model.position="
                f"{model.position}; set compute.attention=blockwise or model.position=rope"
            )
        if self.attention == "cudnn" and self.dtype != "bfloat16":
            raise ValueError("compute.attention=cudnn computes in 16 bits; set compute.dtype=bfloat16, or blockwise")
