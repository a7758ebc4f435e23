"""Codecs, the vocabulary, the layout of an episode as a token sequence and back, and the contract.

May import episodes.
"""

from gato_jax.tokenization.codecs import (
    CodeCodec,
    ContinuousCodec,
    DiscreteCodec,
    ImageCodec,
    TextCodec,
    TokenizationError,
)
from gato_jax.tokenization.contract import Contract, ContractError
from gato_jax.tokenization.decoding import Timesteps, Token, decode, decode_texts, describe
from gato_jax.tokenization.layout import Layout, decode_action
from gato_jax.tokenization.limits import Limits, check_action_limits, measure_action_limits
from gato_jax.tokenization.sequence import TokenSequence
from gato_jax.tokenization.settings import Tokenization
from gato_jax.tokenization.vocabulary import Vocabulary

__all__ = [
    "CodeCodec",
    "ContinuousCodec",
    "Contract",
    "ContractError",
    "DiscreteCodec",
    "ImageCodec",
    "Layout",
    "Limits",
    "TextCodec",
    "Timesteps",
    "Token",
    "TokenSequence",
    "Tokenization",
    "TokenizationError",
    "Vocabulary",
    "decode",
    "decode_action",
    "decode_texts",
    "describe",
    "check_action_limits",
    "measure_action_limits",
]
