"""Batched rollouts and expert-normalised scores. May import policy, environments, experts, episodes."""

from gato_jax.evaluation.references import ReferenceError, References, measure_references
from gato_jax.evaluation.rollout_file import save_rollout
from gato_jax.evaluation.scores import aggregate, normalised, task_result

__all__ = [
    "ReferenceError",
    "References",
    "aggregate",
    "measure_references",
    "normalised",
    "save_rollout",
    "task_result",
]
