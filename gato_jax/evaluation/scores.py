"""From episodes to the numbers of a results table. `normalised` is a fraction everywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gato_jax.episodes import Episode
from gato_jax.evaluation.references import References

BOOTSTRAP_SAMPLES = 10_000


def normalised(agent: float, references: References) -> float:
    """(agent - random) / (expert - random).

    Raises:
      ReferenceError: the expert does not beat random play, which makes the fraction meaningless.
    """
    references.require_scale()
    return (agent - references.random) / (references.expert - references.random)


def task_result(episodes: Sequence[Episode], references: References) -> dict[str, Any]:
    """One task's entry of `gato evaluate --json`; scores are means in the task's own metric, the interval is 95%."""
    scores = np.array([episode.score for episode in episodes], np.float64)
    successes = [episode.success for episode in episodes if episode.success is not None]
    return {
        "episodes": len(episodes),
        "metric": references.metric,
        "agent": float(scores.mean()),
        "agent_ci": interval(scores),
        "random": references.random,
        "constant": references.constant,
        "expert": references.expert,
        "normalised": normalised(float(scores.mean()), references),
        "return_mean": float(np.mean([episode.episode_return for episode in episodes])),
        "success_rate": float(np.mean(successes)) if len(successes) == len(episodes) else None,
    }


def interval(scores: np.ndarray) -> list[float]:
    """95% interval of the mean, by percentile bootstrap."""
    draws = np.random.default_rng(0).choice(scores, (BOOTSTRAP_SAMPLES, len(scores))).mean(axis=1)
    return [float(bound) for bound in np.percentile(draws, [2.5, 97.5])]


def aggregate(tasks: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Mean and interquartile mean of the normalised scores, and the share of tasks at half of the expert's or above."""
    scores = np.sort([task["normalised"] for task in tasks.values()])
    cut = len(scores) // 4
    return {
        "mean": float(scores.mean()),
        "iqm": float(scores[cut : len(scores) - cut].mean()),
        "share_at_50": float((scores >= 0.5).mean()),
    }
