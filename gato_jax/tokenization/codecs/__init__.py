"""One codec for each modality: `encode` to token ids (or patches), `decode` back, each the other's inverse to a bound.

All are vectorised. Leading axes are kept, a value's own axes are flattened row-major into one axis of tokens:

    values (..., *shape)  <->  ids (..., token_count)

What has no exact token is a TokenizationError; nothing is ever given the token of something else.
"""

from typing import TypeAlias

from gato_jax.tokenization.codecs.continuous import ContinuousCodec
from gato_jax.tokenization.codecs.discrete import DiscreteCodec
from gato_jax.tokenization.codecs.image import CodeCodec, ImageCodec, fit_image
from gato_jax.tokenization.codecs.text import TextCodec
from gato_jax.tokenization.codecs.values import TokenizationError

TokenCodec: TypeAlias = TextCodec | DiscreteCodec | ContinuousCodec | CodeCodec
Codec: TypeAlias = TokenCodec | ImageCodec

__all__ = [
    "CodeCodec",
    "Codec",
    "ContinuousCodec",
    "DiscreteCodec",
    "ImageCodec",
    "TextCodec",
    "TokenCodec",
    "TokenizationError",
    "fit_image",
]
