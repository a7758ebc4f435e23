"""Results of one task and of several tasks, computed from the scores of played episodes.

Normalised scores are fractions: 0 is random play and 1 is the expert.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gato_jax.episodes import Episode
from gato_jax.evaluation.episode_scores import EpisodeScore
from gato_jax.evaluation.references import References

BOOTSTRAP_SAMPLES = 10_000


def normalise(score: float, references: References | None) -> float | None:
    """Return (score - random) / (expert - random), which is not clipped to [0, 1].

    The result is None without references, or if there is no expert that beats random play.
    """
    if references is None or references.expert is None or not references.has_scale:
        return None
    random = references.random.mean
    return (score - random) / (references.expert.mean - random)


def task_result(
    episodes: Sequence[Episode | EpisodeScore], metric: str, references: References | None
) -> dict[str, Any]:
    """Return one task's entry of results.json.

    Args:
      episodes: the episodes that the agent played, one or more.
      metric: the task's metric, "return" or "success".
      references: the task's reference scores, None if there are none.

    Returns:
      `episodes`, their number; `metric`; `agent`, `random`, `constant` and `expert`, mean scores in the task's own
      metric, of which the last three are None without references; `agent_ci`, see `interval`; `normalised`, see
      `normalise`; `return_mean`, the mean episode return; and `success_rate`, a fraction, None unless every episode has
      a success.
    """
    scores = np.array([episode.score for episode in episodes], np.float64)
    successes = [episode.success for episode in episodes if episode.success is not None]
    expert = references.expert if references else None
    return {
        "episodes": len(episodes),
        "metric": metric,
        "agent": float(scores.mean()),
        "agent_ci": interval(scores),
        "random": references.random.mean if references else None,
        "constant": references.constant.mean if references else None,
        "expert": expert.mean if expert else None,
        "normalised": normalise(float(scores.mean()), references),
        "return_mean": float(np.mean([episode.episode_return for episode in episodes])),
        "success_rate": float(np.mean(successes)) if len(successes) == len(episodes) else None,
    }


def interval(scores: np.ndarray) -> list[float]:
    """Return the 95% confidence interval [low, high] of the mean of scores (N,), by percentile bootstrap, seed 0."""
    draws = np.random.default_rng(0).choice(scores, (BOOTSTRAP_SAMPLES, len(scores))).mean(axis=1)
    return [float(bound) for bound in np.percentile(draws, [2.5, 97.5])]


def aggregate(results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Aggregate the normalised scores of the tasks that have one.

    Args:
      results: {task: entry of `task_result`}.

    Returns:
      `tasks`, the number of tasks with a normalised score; `mean` and `iqm`, the mean and the interquartile mean of
      these scores, the latter without the lowest and highest quarter, each rounded down to whole tasks; `share_at_50`,
      the share of them, from 0 to 1, that are 0.5 or above. All but `tasks` are None if it is 0.
    """
    scores = np.sort([result["normalised"] for result in results.values() if result["normalised"] is not None])
    if not len(scores):
        return {"tasks": 0, "mean": None, "iqm": None, "share_at_50": None}
    cut = len(scores) // 4
    return {
        "tasks": len(scores),
        "mean": float(scores.mean()),
        "iqm": float(scores[cut : len(scores) - cut].mean()),
        "share_at_50": float((scores >= 0.5).mean()),
    }
