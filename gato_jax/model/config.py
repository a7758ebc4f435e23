"""Configs of a model: its architecture, and the settings of its computation."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from gato_jax.episodes.dataclass_reader import DataclassReader
from gato_jax.episodes.ranges import BelowOne, PositiveInt, Range, rule
from gato_jax.tokenization import Tokenization

_READER = DataclassReader(error=ValueError)

_Layers = Annotated[int, Range(above=0, at_most=1000)]  # each is built in Python
_EvenInt = Annotated[int, Range(above=0, multiple_of=2, remedy="GEGLU splits it in half.")]
_PatchChannels = Annotated[int, Range(above=0, multiple_of=32, remedy="Its norm has 32 groups.")]

FUSED = ("cudnn", "cudnn_mask", "splash")  # kernels without scores by distance, so for rope only


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

    layers: _Layers
    width: PositiveInt
    heads: PositiveInt
    head_size: PositiveInt
    hidden: _EvenInt
    position: Literal["relative_xl", "rope"] = "relative_xl"
    image_trunk: Literal["residual_block", "resnet_50"] = "residual_block"
    freeze_image_trunk: bool = False
    patch_channels: _PatchChannels = 64
    patch_stride: PositiveInt = 4
    stochastic_depth: BelowOne = 0.1
    dropout: BelowOne = 0.0
    bin_init: Literal["normal", "fourier"] = "normal"
    tokenization: Tokenization = Tokenization()

    def __post_init__(self):
        _READER.check(self, "model")

    @rule
    def _patch_divides_by_stride(self) -> str | None:
        if self.tokenization.patch % self.patch_stride == 0:
            return None
        return (
            f"patch_stride is {self.patch_stride}, expected a divisor of tokenization.patch "
            f"({self.tokenization.patch}). Change one of them."
        )

    @rule
    def _rope_rotates_pairs(self) -> str | None:
        if self.position != "rope" or self.head_size % 2 == 0:
            return None
        return f"head_size is {self.head_size}, expected an even number. position=rope rotates pairs."


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComputeConfig:
    """Settings of the computation that change speed and memory and no param; checkpoints do not depend on them.

    Attributes:
      dtype: dtype of matrix products and activations. Params, norms, softmax and loss stay in float32.
      float8: True to multiply activations by the weights of the blocks in float8, with one scale for each tensor. It is
        faster on GPUs from Hopper on, and less exact; elsewhere the rounded numbers are multiplied in a wider dtype.
      attention: attention kernel. `blockwise` never holds all scores, runs anywhere and is the fastest on a CPU;
        `dense` holds them all, for comparison; `triton` (GPU) and `mosaic` (TPU) are fused, for relative_xl and rope;
        `cudnn` (GPU) and `splash` (TPU) are fused and need rope. `cudnn_bias` gives the scores by distance
        of relative_xl to cuDNN as a bias in memory, a few rows at a time. `cudnn_mask` is `cudnn` with a mask of
        (T, T), for rows of any number of segments and GPUs before Hopper. A kernel that cannot run raises an error.
      row_segments: largest number of segments of a row that `cudnn` has room for; the loss of a row with more is NaN. 1
        for rows that are one segment each, which is fastest.
      triton_block: number of positions of a block of `triton`.
      triton_warps: number of warps that compute a block.
      triton_stages: number of blocks of keys that are loaded ahead, the current one included.
      remat: what the backward pass computes again: `none`; `dots`, all but matrix products and attention; `attention`,
        all but attention; `full`, whole blocks.
      scan: True to compile one block for all layers, which saves minutes of compilation, and to stack their params in
        the state of training. All that a block saves for its backward pass is copied into stacks, too.
      accumulate: number of microbatches that a step computes one after the other.
      loss_chunk: number of targets of each device whose logits are held at a time. On a CPU, models of a width up to
        256 hold at most 128, whose logits stay in its cache.

    Raises:
      ValueError: a value is of another type or out of range.
    """

    dtype: Literal["float32", "bfloat16"] = "float32"
    float8: bool = False
    attention: Literal["dense", "blockwise", "cudnn", "cudnn_mask", "cudnn_bias", "splash", "triton", "mosaic"] = (
        "blockwise"
    )
    row_segments: PositiveInt = 16
    triton_block: Literal[16, 32, 64, 128] = 64
    triton_warps: Literal[4, 8] = 8
    triton_stages: Literal[1, 2, 3] = 2
    remat: Literal["none", "dots", "attention", "full"] = "none"
    scan: bool = False
    accumulate: PositiveInt = 1
    loss_chunk: PositiveInt = 2048

    def __post_init__(self):
        _READER.check(self, "compute")

    @rule
    def _cudnn_has_16_bits(self) -> str | None:
        if not self.attention.startswith("cudnn") or self.dtype == "bfloat16":
            return None
        name = self.attention
        return f"attention={name} computes in 16 bits, and dtype is {self.dtype}. Set dtype=bfloat16, or blockwise."

    @rule
    def _float8_is_beside_bfloat16(self) -> str | None:
        if not self.float8 or self.dtype == "bfloat16":
            return None
        return f"float8 is True, and dtype is {self.dtype}, expected bfloat16. Set dtype=bfloat16, or float8=False."

    def misfit(self, position: str) -> str | None:
        """Return why the attention kernel cannot compute a position scheme, None if it can; no platform is checked."""
        if self.attention == "cudnn_bias" and position == "rope":
            return "compute.attention=cudnn_bias is for model.position=relative_xl. Set compute.attention=cudnn."
        if self.attention not in FUSED or position == "rope":
            return None
        return (
            f"compute.attention={self.attention} cannot add the position scores of model.position={position}. "
            "Set compute.attention=blockwise, triton or mosaic, or model.position=rope."
        )
