"""The settings of all codecs; the defaults are the paper's (section 2.1, appendix B and C.3)."""

from __future__ import annotations

import dataclasses
from typing import Literal

from gato_jax.episodes.dataclass_reader import DataclassReader
from gato_jax.tokenization.vocabulary import TEXT_PIECES, Vocabulary

ACTION_BINS = 256  # of RT-1, RT-2 and OpenVLA


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tokenization:
    """How everything becomes tokens.

    Attributes:
      observations: what continuous observations go through before they are binned: `mu_law`, or `linear`, scaled from
        their finite limits.
      mu, m: of the mu-law. m=1 is the formula that secondary sources print, without M: it clips beyond [-1, 1].
      actions: how continuous actions become ids:
        `gato`  as many uniform bins as `vocabulary.bins` between the task's limits, on the continuous ids;
        `rt_1`  256 uniform bins between the task's limits, on the first continuous ids (RT-1, arXiv 2212.06817);
        `rt_2`  256 uniform bins between the 1st and the 99th percentile of the data, on the 256 least used text ids, in
                falling order (RT-2, arXiv 2307.15818; OpenVLA, arXiv 2406.09246).
      patch: side of an image patch in pixels.
      image_tokenizer: fingerprint of the trained tokenizer whose codes stand for images instead of patches, or None.
      image_ahead: how many steps ahead image codes are predicted (RoboCat: 5); 0 predicts the code itself, None none.
      local_positions: rows of the local position table; the last is the one that all action tokens share.
      predict_text_observations: whether text in an observation is a target, as the paper's loss mask reads literally.
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
            raise ValueError(f"tokenization.actions rt_1 needs vocabulary.bins >= {ACTION_BINS}")
        if self.actions == "rt_2" and self.vocabulary.text != TEXT_PIECES:
            raise ValueError(
                f"tokenization.actions rt_2 uses the last of {TEXT_PIECES} text pieces, vocabulary.text is "
                f"{self.vocabulary.text}; set it to {TEXT_PIECES}"
            )
        if (self.image_tokenizer is None) != (self.vocabulary.image_codes == 0):
            raise ValueError(
                f"vocabulary.image_codes is {self.vocabulary.image_codes} and tokenization.image_tokenizer "
                f"{self.image_tokenizer}; an image tokenizer brings both, and without one there are no codes"
            )
        if self.image_ahead is not None and (self.image_tokenizer is None or self.image_ahead < 0):
            raise ValueError(
                f"tokenization.image_ahead is {self.image_ahead}: it must be 0 or more, and needs an image tokenizer"
            )
