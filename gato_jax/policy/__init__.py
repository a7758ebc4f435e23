"""The deployed agent: KV cache, constrained decoding. May import model, checkpoints, tokenization, episodes."""

from gato_jax.policy.agent import Agent, UnknownTaskError
from gato_jax.policy.policy import Policy, TextPolicy, write_texts
from gato_jax.policy.scoring import log_probabilities

__all__ = ["Agent", "Policy", "TextPolicy", "UnknownTaskError", "log_probabilities", "write_texts"]
