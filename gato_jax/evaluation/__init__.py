"""Scores of played episodes beside reference scores.

May import policy, rollouts, experts, environments, tokenization, episodes.
"""

from gato_jax.evaluation.measurement import gather_references, measure_references
from gato_jax.evaluation.reference_table import MissingReferencesError, find_references, read_table, write_table
from gato_jax.evaluation.references import References, ReferencesError, Score
from gato_jax.evaluation.rollout_file import save_rollout
from gato_jax.evaluation.scores import aggregate, normalise, task_result

__all__ = [
    "MissingReferencesError",
    "ReferencesError",
    "References",
    "Score",
    "aggregate",
    "find_references",
    "gather_references",
    "measure_references",
    "normalise",
    "read_table",
    "save_rollout",
    "task_result",
    "write_table",
]
