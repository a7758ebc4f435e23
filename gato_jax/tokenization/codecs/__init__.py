"""Codecs of all modalities: `encode` maps values to token ids or patches, and `decode` maps them back.

All codecs are vectorised. They keep leading axes and flatten a value's own axes, row-major, into one axis of tokens:

    values (..., *shape)  <->  ids (..., token_count)

Decoding inverts encoding, exactly or up to the precision that each codec states. A value that has no token raises
TokenizationError; it never gets the token of another value.
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
