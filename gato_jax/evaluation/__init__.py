"""Batched rollouts and expert-normalised scores. May import policy, environments, experts, episodes."""

from gato_jax.evaluation.references import ReferenceError, References, measure_references
from gato_jax.evaluation.rollouts import Rollout, play_episodes, save_rollout
from gato_jax.evaluation.scores import aggregate, normalised, task_result

__all__ = [
    "ReferenceError",
    "References",
    "Rollout",
    "aggregate",
    "measure_references",
    "normalised",
    "play_episodes",
    "save_rollout",
    "task_result",
]
