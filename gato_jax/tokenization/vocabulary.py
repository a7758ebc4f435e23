"""Vocabulary of token ids that all modalities share (paper, section 2.1)."""

from __future__ import annotations

import dataclasses
from typing import Annotated, NamedTuple

from gato_jax.episodes.dataclass_reader import DataclassReader
from gato_jax.episodes.ranges import NonNegativeInt, PositiveInt, Range

TEXT_PIECES = 32_000  # pieces of the SentencePiece model in third_party/mistral_tokenizer


class VocabularyRow(NamedTuple):
    """Range of ids [first, stop) of one kind of token.

    Attributes:
      tokens: name of the kind: text, discrete, continuous, separator or image codes.
      first: lowest id.
      stop: the id after the highest one.
    """

    tokens: str
    first: int
    stop: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """Sizes of the ranges of ids; construction raises ValueError for a size that is not possible.

        [0, text)                     SentencePiece pieces
        [0, bins)                     discrete values: the same ids as the first text pieces, as in the paper
        [text, text + bins)           bins of continuous values
        text + bins                   the separator between observation and action
        [text + bins + 1, ...)        codes of images, with an image tokenizer

    Attributes:
      text: number of text pieces.
      bins: number of bins of a continuous value, and the largest number of values of a discrete one.
      image_codes: number of codes of the image tokenizer; 0 without one.
    """

    text: PositiveInt = TEXT_PIECES
    bins: Annotated[int, Range(at_least=2, at_most=65_536)] = 1024
    image_codes: NonNegativeInt = 0

    def __post_init__(self):
        DataclassReader(error=ValueError).check(self, "vocabulary")

    @property
    def continuous(self) -> int:
        """Id of the first bin of continuous values."""
        return self.text

    @property
    def separator(self) -> int:
        return self.text + self.bins

    @property
    def first_image_code(self) -> int:
        return self.separator + 1

    @property
    def size(self) -> int:
        return self.first_image_code + self.image_codes

    @property
    def padded_size(self) -> int:
        """Rows of the embedding table: the size, rounded up to a multiple of 128 for the tiles of accelerators."""
        return -(-self.size // 128) * 128

    @property
    def table(self) -> tuple[VocabularyRow, ...]:
        """Ranges of ids by kind of token, the discrete ones within the text ones; image codes only if there are any."""
        rows = (
            VocabularyRow("text", 0, self.text),
            VocabularyRow("discrete", 0, self.bins),
            VocabularyRow("continuous", self.continuous, self.separator),
            VocabularyRow("separator", self.separator, self.separator + 1),
            VocabularyRow("image codes", self.first_image_code, self.size),
        )
        return rows if self.image_codes else rows[:-1]
