"""Settings of all codecs; the defaults are the paper's (section 2.1, appendices B and C.3)."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from gato_jax.episodes.dataclass_reader import DataclassReader
from gato_jax.episodes.ranges import NonNegativeInt, PositiveFloat, PositiveInt, Range, rule
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
      task_text_first: True if the tokens of each episode begin with the text of its task (configs/article_variant.py).
        It is a target if text in observations is. Tasks without observations, such as pure text, have none.
    """

    vocabulary: Vocabulary = Vocabulary()
    observations: Literal["mu_law", "linear"] = "mu_law"
    mu: PositiveFloat = 100.0
    m: PositiveFloat = 256.0
    actions: Literal["gato", "rt_1", "rt_2"] = "gato"
    patch: PositiveInt = 16
    image_tokenizer: str | None = None
    image_ahead: NonNegativeInt | None = None
    local_positions: Annotated[int, Range(at_least=2)] = 512
    predict_text_observations: bool = True
    task_text_first: bool = False

    def __post_init__(self):
        DataclassReader(error=ValueError).check(self, "tokenization")

    @property
    def action_bins(self) -> int:
        """Number of bins between the limits of an action element."""
        return self.vocabulary.bins if self.actions == "gato" else ACTION_BINS

    @rule
    def _rt_1_has_its_bins(self) -> str | None:
        if self.actions != "rt_1" or self.vocabulary.bins >= ACTION_BINS:
            return None
        return f"vocabulary.bins is {self.vocabulary.bins}, expected {ACTION_BINS} or more for actions=rt_1. Raise it."

    @rule
    def _rt_2_has_all_text_pieces(self) -> str | None:
        if self.actions != "rt_2" or self.vocabulary.text == TEXT_PIECES:
            return None
        return (
            f"vocabulary.text is {self.vocabulary.text}, but actions=rt_2 uses the last of {TEXT_PIECES} text pieces. "
            f"Set it to {TEXT_PIECES}."
        )

    @rule
    def _images_are_codes_or_patches(self) -> str | None:
        if (self.image_tokenizer is None) == (self.vocabulary.image_codes == 0):
            return None
        return (
            f"vocabulary.image_codes is {self.vocabulary.image_codes} and image_tokenizer {self.image_tokenizer}. Set "
            "both for an image tokenizer, or neither."
        )

    @rule
    def _predicted_images_are_codes(self) -> str | None:
        if self.image_ahead is None or self.image_tokenizer is not None:
            return None
        return f"image_ahead is {self.image_ahead}, which needs an image tokenizer. Name one, or set None."
