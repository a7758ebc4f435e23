"""The numbers that make a model."""

from __future__ import annotations

import dataclasses
from typing import Literal

from gato_jax.tokenization import Tokenization


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Attributes (names as in the paper's table 5):

    layers: transformer blocks.
    width: layer width D.
    heads, head_size: attention heads N and key/value size H.
    hidden: feed-forward hidden size F; GEGLU splits it in half.
    patch_channels, patch_stride: channels of the patch block, and the stride of its stem. The paper publishes
      neither; docs/decisions.md has what was chosen and why.
    stochastic_depth: probability of skipping each sub-layer in training (appendix D).
    bin_init: how the embeddings of continuous bins start: `normal` like every other row, or `fourier`, smooth features
      of the bin's number, which short runs learn from sooner.
    tokenization: sizes the tables.
    """

    layers: int
    width: int
    heads: int
    head_size: int
    hidden: int
    patch_channels: int = 64
    patch_stride: int = 4
    stochastic_depth: float = 0.1
    bin_init: Literal["normal", "fourier"] = "normal"
    tokenization: Tokenization = Tokenization()

    def __post_init__(self):
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
        if not 0 <= self.stochastic_depth < 1:
            raise ValueError(f"model.stochastic_depth must be in [0, 1), got {self.stochastic_depth}")
        if self.bin_init not in ("normal", "fourier"):
            raise ValueError(f"model.bin_init must be normal or fourier, got {self.bin_init!r}")
