"""The deployed agent: KV cache, prompt, constrained decoding. May import model, checkpoints, tokenization, episodes."""

from gato_jax.policy.agent import Agent, UnknownTaskError
from gato_jax.policy.policy import Policy, TextPolicy

__all__ = ["Agent", "Policy", "TextPolicy", "UnknownTaskError"]
