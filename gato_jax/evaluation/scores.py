"""Results of one task, computed from the scores of played episodes; `aggregates` has those of several tasks.

Normalised scores are fractions: 0 is random play and 1 is the expert.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gato_jax.episodes import Episode
from gato_jax.evaluation.episode_scores import EpisodeScore
from gato_jax.evaluation.references import References

BOOTSTRAP_SAMPLES = 10_000
_TWO_SIDED = 1.96  # standard deviations of a normal distribution that bound 95% of it


def normalise(score: float, references: References | None) -> float | None:
    """Return (score - random) / (expert - random), which is not clipped to [0, 1].

    The result is None where `unscaled_reason` gives a reason.
    """
    if references is None or references.expert is None or not references.has_scale:
        return None
    random = references.random.mean
    return (score - random) / (references.expert.mean - random)


def unscaled_reason(references: References | None) -> str | None:
    """Return why scores of a task cannot be normalised; None if they can."""
    if references is None:
        return "no reference scores"
    if references.expert is None:
        return "no expert"
    if references.expert_cut is not None:
        return "the expert's episodes were cut off"
    if not references.has_scale:
        return f"the expert ({references.expert.mean:.4g}) is about equal to random play ({references.random.mean:.4g})"
    return None


def normalise_by_human(score: float, references: References | None) -> float | None:
    """Return (score - random) / (human - random) by the published scores of both, None where there are none."""
    if references is None or references.human is None or references.published_random is None:
        return None
    return (score - references.published_random) / (references.human - references.published_random)


def noise_floor(references: References | None, episodes: int) -> float | None:
    """Return the least normalised score that differs from random play, which reaches it in one of forty evaluations.

    It follows from the spread of random play over as many episodes as the agent has played and over those of the
    reference, on the scale of the expert. None where scores cannot be normalised.
    """
    if references is None or references.expert is None or not references.has_scale:
        return None
    random = references.random
    error = random.std * math.sqrt(1 / episodes + 1 / random.episodes)
    return _TWO_SIDED * error / (references.expert.mean - random.mean)


def task_result(
    episodes: Sequence[Episode | EpisodeScore], metric: str, references: References | None
) -> dict[str, Any]:
    """Return one task's entry of results.json.

    Args:
      episodes: the episodes that the agent played, one or more.
      metric: the task's metric, "return" or "success".
      references: the task's reference scores, None if there are none.

    Returns:
      `episodes`, their number; `seeds` and `scores` of each; `metric`; `agent`, `random`, `constant`, `expert` and
      `human`, mean scores in the task's own metric, of which the last four are None without references, and
      `reference_episodes`, the numbers of episodes of the middle three; `agent_ci`, see `interval`; `normalised`, see
      `normalise`, with its interval `normalised_ci` and its `noise_floor`; `unscaled`, the reason where it is None;
      `human_normalised`; `return_mean`, the mean episode return; and `success_rate`, a fraction, None unless every
      episode has a success.
    """
    scores = np.array([episode.score for episode in episodes], np.float64)
    successes = [episode.success for episode in episodes if episode.success is not None]
    known = {kind: getattr(references, kind) for kind in ("random", "constant", "expert")} if references else {}
    mean, bounds = float(scores.mean()), interval(scores)
    return {
        "episodes": len(episodes),
        "seeds": [episode.seed for episode in episodes],
        "scores": scores.tolist(),
        "metric": metric,
        "agent": mean,
        "agent_ci": bounds,
        **{kind: score.mean if (score := known.get(kind)) else None for kind in ("random", "constant", "expert")},
        "human": references.human if references else None,
        "reference_episodes": {kind: score.episodes for kind, score in known.items() if score},
        "normalised": normalise(mean, references),
        "normalised_ci": None if unscaled_reason(references) else [normalise(bound, references) for bound in bounds],
        "noise_floor": noise_floor(references, len(episodes)),
        "unscaled": unscaled_reason(references),
        "human_normalised": normalise_by_human(mean, references),
        "return_mean": float(np.mean([episode.episode_return for episode in episodes])),
        "success_rate": float(np.mean(successes)) if len(successes) == len(episodes) else None,
    }


def interval(scores: np.ndarray) -> list[float]:
    """Return the 95% confidence interval [low, high] of the mean of scores (N,), by percentile bootstrap, seed 0."""
    draws = np.random.default_rng(0).choice(scores, (BOOTSTRAP_SAMPLES, len(scores))).mean(axis=1)
    return [float(bound) for bound in np.percentile(draws, [2.5, 97.5])]
