"""Codec of text by SentencePiece with 32,000 pieces (paper, section 2.1)."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from gato_jax.tokenization.codecs.values import TokenizationError
from gato_jax.tokenization.vocabulary import TEXT_PIECES

# The 32,000-piece SentencePiece model of mistral-common (Apache-2.0); see third_party/mistral_tokenizer.
TOKENIZER_MODEL = pathlib.Path(__file__).parents[3] / "third_party" / "mistral_tokenizer" / "tokenizer.model.v1"
END_OF_TEXT = 2  # id of the piece </s>


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextCodec:
    """Exact codec of text as SentencePiece ids, closed by the end-of-text piece so that a sequence can be decoded."""

    token_count = None  # depends on the text
    token_range = (0, TEXT_PIECES)

    def encode(self, text: Any) -> np.ndarray:
        """Encode a str as int32 ids (n,), the last of which is the end-of-text piece; the array is read-only.

        Raises:
          TokenizationError: the text is of another type, or its pieces do not decode to exactly this text.
        """
        if not isinstance(text, str):
            raise TokenizationError(f"text must be str, got {type(text).__name__} {text!r:.60}")
        return _encode(text)

    def encode_each(self, texts: Iterable[Any]) -> list[np.ndarray]:
        """Encode each of several texts, in their order; a TokenizationError has the index of its text as `step`."""
        ids = []
        for number, text in enumerate(texts):
            try:
                ids.append(self.encode(text))
            except TokenizationError as error:
                raise TokenizationError(str(error), step=number) from None
        return ids

    def decode(self, ids: Iterable[int] | np.ndarray) -> str:
        """Decode ids up to the first end-of-text piece, or all ids without one.

        Raises:
          TokenizationError: an id before the end of the text is not that of a text piece.
        """
        pieces = []
        for token in ids.tolist() if isinstance(ids, np.ndarray) else ids:
            if token == END_OF_TEXT:
                break
            pieces.append(self._piece(token))
        return _sentencepiece().decode(pieces)

    def pieces(self, ids: np.ndarray) -> list[str]:
        """Return the piece of each id, with U+2581 for a space and `</s>` for the end of a text.

        Raises:
          TokenizationError: an id is not that of a text piece.
        """
        return [_sentencepiece().id_to_piece(self._piece(token)) for token in ids]

    def _piece(self, token: Any) -> int:
        low, high = self.token_range
        if not low <= token < high:
            raise TokenizationError(f"id {token} is not that of a text piece, [{low}, {high})")
        return int(token)


@functools.lru_cache(maxsize=65_536)  # an instruction is the same at every step
def _encode(text: str) -> np.ndarray:
    try:
        text.encode()  # SentencePiece's own message about a lone surrogate names neither text nor place
    except UnicodeEncodeError as error:
        raise TokenizationError(f"text {text!r:.60} is not Unicode ({error.reason} at {error.start})") from None
    pieces = _sentencepiece().encode(text)
    if (back := _sentencepiece().decode(pieces)) != text:
        at = next((i for i, (a, b) in enumerate(zip(text, back, strict=False)) if a != b), min(len(text), len(back)))
        raise TokenizationError(f"text {text!r:.60} has no exact pieces: {text[at : at + 1]!r} at {at}; replace it")
    ids = np.array([*pieces, END_OF_TEXT], np.int32)
    ids.setflags(write=False)  # the cached array is shared by all callers
    return ids


@functools.cache
def _sentencepiece():
    import sentencepiece

    return sentencepiece.SentencePieceProcessor(model_proto=_model())


@functools.cache
def text_model_fingerprint() -> str:
    """Return sixteen hexadecimal digits that identify the SentencePiece model, as part of the contract."""
    return hashlib.sha256(_model()).hexdigest()[:16]


def _model() -> bytes:
    """Return the content of the model file, or raise TokenizationError if it cannot be read."""
    try:
        return TOKENIZER_MODEL.read_bytes()
    except OSError as error:
        raise TokenizationError(
            f"no SentencePiece model at {TOKENIZER_MODEL} ({error.strerror}); restore third_party/mistral_tokenizer"
        ) from None
