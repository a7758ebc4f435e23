"""Settings of all codecs; the defaults are the paper's (section 2.1, appendices B and C.3)."""

from __future__ import annotations

import dataclasses
from typing import Literal

from gato_jax.episodes.dataclass_reader import DataclassReader
from gato_jax.tokenization.vocabulary import TEXT_PIECES, Vocabulary

ACTION_BINS = 256  # bins of an action element in RT-1, RT-2 and OpenVLA


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tokenization:
    """Settings of the codecs of all modalities; construction raises ValueError for a bad value or combination.

    Attributes:
      vocabulary: sizes of the id ranges.
      observations: transformation of continuous observations to [-1, 1] before they are binned: `mu_law`, or `linear`
        scaling from their finite limits.
      mu: parameter mu of the mu-law.
      m: parameter M of the mu-law, the largest magnitude that is not clipped. With m=1, the formula that secondary
        sources print, values beyond [-1, 1] are clipped.
      actions: encoding of continuous actions:
        `gato`  as many uniform bins as `vocabulary.bins` between the task's limits, on the continuous ids;
        `rt_1`  256 uniform bins between the task's limits, on the first continuous ids (RT-1, arXiv 2212.06817);
        `rt_2`  256 uniform bins between the 1st and the 99th percentile of the data, on the 256 least used text ids, in
                falling order (RT-2, arXiv 2307.15818; OpenVLA, arXiv 2406.09246).
      patch: side of an image patch in pixels.
      image_tokenizer: fingerprint of the trained tokenizer that encodes images as codes; None for patches.
      image_ahead: number of timesteps ahead of which image codes are predicted (RoboCat: 5); 0 to predict the code
        itself, None to predict no image codes.
      local_positions: rows of the local position table; all action tokens share the last one.
      predict_text_observations: True if text in observations is a target, the literal reading of the paper's loss mask.
    """

    vocabulary: Vocabulary = Vocabulary()
    observations: Literal["mu_law", "linear"] = "mu_law"
    mu: float = 100.0
    m: float = 256.0
    actions: Literal["gato", "rt_1", "rt_2"] = "gato"
    patch: int = 16
    image_tokenizer: str | None = None
    image_ahead: int | None = None
    local_positions: int = 512
    predict_text_observations: bool = True

    def __post_init__(self):
        DataclassReader(error=ValueError).check(self, "tokenization")
        for name in ("mu", "m", "patch"):
            if not getattr(self, name) > 0:
                raise ValueError(f"tokenization.{name} must be positive, got {getattr(self, name)}")
        if self.local_positions < 2:
            raise ValueError(f"tokenization.local_positions must be 2 or more, got {self.local_positions}")
        if self.actions == "rt_1" and self.vocabulary.bins < ACTION_BINS:
            raise ValueError(
                f"tokenization.actions rt_1 needs vocabulary.bins >= {ACTION_BINS}, got {self.vocabulary.bins}"
            )
        if self.actions == "rt_2" and self.vocabulary.text != TEXT_PIECES:
            raise ValueError(
                f"tokenization.actions rt_2 uses the last of {TEXT_PIECES} text pieces, vocabulary.text is "
                f"{self.vocabulary.text}; set it to {TEXT_PIECES}"
            )
        if (self.image_tokenizer is None) != (self.vocabulary.image_codes == 0):
            raise ValueError(
                f"vocabulary.image_codes is {self.vocabulary.image_codes} and tokenization.image_tokenizer "
                f"{self.image_tokenizer}; set both for an image tokenizer, or neither"
            )
        if self.image_ahead is not None and (self.image_tokenizer is None or self.image_ahead < 0):
            raise ValueError(
                f"tokenization.image_ahead is {self.image_ahead}: it must be 0 or more, and needs an image tokenizer"
            )
