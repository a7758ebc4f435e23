"""What plays the tasks well without downloaded weights, and collect, which records it.

May import episodes, environments.
"""

from gato_jax.experts.base import Expert, ExpertFailure
from gato_jax.experts.collect import record
from gato_jax.experts.registry import NoExpertError, description, expert, expert_names

__all__ = ["Expert", "ExpertFailure", "NoExpertError", "description", "expert", "expert_names", "record"]
