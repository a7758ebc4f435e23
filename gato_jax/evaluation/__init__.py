"""Batched rollouts, reference scores and normalised scores. May import policy, environments, experts, episodes."""

from gato_jax.evaluation.references import ReferenceError, References, Score, read_table
from gato_jax.evaluation.rollouts import Rollout, play_episodes, save_rollout
from gato_jax.evaluation.scores import aggregate, normalised, task_result

__all__ = [
    "ReferenceError",
    "References",
    "Rollout",
    "Score",
    "aggregate",
    "normalised",
    "play_episodes",
    "read_table",
    "save_rollout",
    "task_result",
]
