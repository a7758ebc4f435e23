"""Codecs, the vocabulary, the layout of an episode as one token sequence, and the contract. May import episodes."""

from gato_jax.tokenization.codecs import ContinuousCodec, DiscreteCodec, ImageCodec, TextCodec, TokenizationError
from gato_jax.tokenization.contract import Contract, ContractError, Tokenization
from gato_jax.tokenization.layout import Layout
from gato_jax.tokenization.sequence import TokenSequence
from gato_jax.tokenization.vocabulary import Vocabulary

__all__ = [
    "ContinuousCodec",
    "Contract",
    "ContractError",
    "DiscreteCodec",
    "ImageCodec",
    "Layout",
    "TextCodec",
    "TokenSequence",
    "Tokenization",
    "TokenizationError",
    "Vocabulary",
]
