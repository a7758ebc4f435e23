"""The deployed agent: KV cache, prompts, constrained decoding, one compiled `act`; and the agent as an `Actor`.

May import model, checkpoints, tokenization, rollouts, environments, episodes.
"""

from gato_jax.policy.actor import AgentActor
from gato_jax.policy.agent import Agent, UnknownTaskError
from gato_jax.policy.decoding import REAL_ROBOT, Decoding
from gato_jax.policy.mixed import MixedPolicy
from gato_jax.policy.policy import Policy, TextPolicy, write_texts
from gato_jax.policy.prompts import Prompt, PromptSource
from gato_jax.policy.sampling import Greedy, Sampling, Temperature, TopK, TopP
from gato_jax.policy.scoring import log_probabilities

__all__ = [
    "REAL_ROBOT",
    "Agent",
    "AgentActor",
    "Decoding",
    "Greedy",
    "MixedPolicy",
    "Policy",
    "Prompt",
    "PromptSource",
    "Sampling",
    "Temperature",
    "TextPolicy",
    "TopK",
    "TopP",
    "UnknownTaskError",
    "log_probabilities",
    "write_texts",
]
