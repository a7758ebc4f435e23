"""Actors that play tasks well without downloaded weights: scripted policies, planners and bots.

May import rollouts, environments, episodes.
"""

from gato_jax.experts.actor import ExpertActor
from gato_jax.experts.base import Expert
from gato_jax.experts.registry import NoExpertError, description, expert, expert_names

__all__ = ["Expert", "ExpertActor", "NoExpertError", "description", "expert", "expert_names"]
