"""The deployed agent: KV cache, constrained decoding, one compiled `act`; and the agent as an `Actor`.

May import model, checkpoints, tokenization, rollouts, environments, episodes.
"""

from gato_jax.policy.actor import AgentActor
from gato_jax.policy.agent import Agent, UnknownTaskError
from gato_jax.policy.decoding import Decoding
from gato_jax.policy.policy import Policy, TextPolicy, write_texts
from gato_jax.policy.scoring import log_probabilities

__all__ = [
    "Agent",
    "AgentActor",
    "Decoding",
    "Policy",
    "TextPolicy",
    "UnknownTaskError",
    "log_probabilities",
    "write_texts",
]
