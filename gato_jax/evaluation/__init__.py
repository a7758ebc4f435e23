"""Scores of played episodes beside reference scores.

May import policy, experts, training, batching, rollouts, environments, sources, tokenization, episodes.
"""

from gato_jax.evaluation.actor_results import EpisodeFailure, EvaluationError, evaluate_actor, require_played
from gato_jax.evaluation.aggregates import aggregate
from gato_jax.evaluation.demonstrations import Demonstrations, NoDemonstrationError, open_demonstrations
from gato_jax.evaluation.episode_scores import EpisodeScore, PlayedBy, ScoreJournal, evaluation_lock
from gato_jax.evaluation.measurement import gather_references, measure_references
from gato_jax.evaluation.reference_table import (
    MissingReferencesError,
    add_references,
    find_references,
    read_table,
    write_table,
)
from gato_jax.evaluation.references import References, ReferencesError, Score
from gato_jax.evaluation.results_file import (
    ResultsFileError,
    merge_baseline,
    merge_held_out,
    merge_results,
    read_results_file,
    write_results_file,
)
from gato_jax.evaluation.rollout_file import save_rollout
from gato_jax.evaluation.saved_episodes import SavedEpisodes
from gato_jax.evaluation.score_table import describe_task, summary_lines
from gato_jax.evaluation.scores import normalise, task_result

__all__ = [
    "EpisodeFailure",
    "EvaluationError",
    "SavedEpisodes",
    "evaluate_actor",
    "require_played",
    "merge_baseline",
    "Demonstrations",
    "EpisodeScore",
    "MissingReferencesError",
    "NoDemonstrationError",
    "PlayedBy",
    "References",
    "ReferencesError",
    "ResultsFileError",
    "Score",
    "ScoreJournal",
    "add_references",
    "aggregate",
    "describe_task",
    "evaluation_lock",
    "find_references",
    "gather_references",
    "measure_references",
    "merge_held_out",
    "merge_results",
    "normalise",
    "open_demonstrations",
    "read_results_file",
    "read_table",
    "save_rollout",
    "summary_lines",
    "task_result",
    "write_results_file",
    "write_table",
]
