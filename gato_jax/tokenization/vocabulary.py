"""The one vocabulary that all modalities share (paper, section 2.1)."""

from __future__ import annotations

import dataclasses

TEXT_PIECES = 32_000  # of the SentencePiece model in third_party/mistral_tokenizer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """Which id means what.

        [0, text)                     SentencePiece pieces
        [0, bins)                     discrete values: the same ids as the first text pieces, as in the paper
        [text, text + bins)           bins of continuous values
        text + bins                   the separator between observation and action

    Attributes:
      text: number of text pieces.
      bins: number of bins of a continuous value, and the largest number of values of a discrete one.
    """

    text: int = TEXT_PIECES
    bins: int = 1024

    def __post_init__(self):
        if self.text < 1:
            raise ValueError(f"vocabulary.text must be positive, got {self.text}")
        if not 2 <= self.bins <= 65_536:
            raise ValueError(f"vocabulary.bins must be in [2, 65536], got {self.bins}")

    @property
    def continuous(self) -> int:
        """The id of bin 0."""
        return self.text

    @property
    def separator(self) -> int:
        return self.text + self.bins

    @property
    def size(self) -> int:
        return self.text + self.bins + 1

    @property
    def padded_size(self) -> int:
        """Rows of the embedding table: the size rounded up to a multiple of 128, for the hardware's tiles."""
        return -(-self.size // 128) * 128
