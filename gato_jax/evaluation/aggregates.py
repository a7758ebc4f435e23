"""Aggregates of the normalised scores of several tasks, with intervals, as rliable defines them (arXiv 2108.13264).

An episode of a task takes the place of a run in rliable's definitions. Tasks have equal weights, whatever the numbers
of their episodes. Scores are fractions: 0 is random play and 1 is the expert.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gato_jax.evaluation.published import published_on_domain

SAMPLES = 2_000  # of the bootstrap
THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(21))  # of the curve, from random play to the expert
_CHUNK = 4_000_000  # scores that are resampled at once
_ROUNDING = 1e-9

Results = Mapping[str, Mapping[str, Any]]


def aggregate(results: Results) -> dict[str, Any]:
    """Aggregate the normalised scores of the tasks that have one.

    Args:
      results: {task: entry of `task_result`}. An entry of an earlier version, which lacks the scores of its episodes,
        counts as one episode with the mean score.

    Returns:
      `tasks` and `episodes`, their numbers; `mean`, the mean over tasks; `iqm`, the mean of the middle half of the
      scores of all episodes; `share_at_50`, the share of tasks, from 0 to 1, whose mean is 0.5 or above; the 95%
      intervals of the three as `mean_ci`, `iqm_ci` and `share_at_50_ci`, each [low, high]; `noise_floor`, the least
      mean that random play would reach in one of forty such evaluations; and `curve`, the share of tasks at or above
      each threshold, see `_curve`. All but the numbers are None if `tasks` is 0.
    """
    entries = [entry for entry in results.values() if entry["normalised"] is not None]
    scores = [normalised_episodes(entry) for entry in entries]
    floors = [entry.get("noise_floor") or 0.0 for entry in entries]
    return {
        **_summarise(scores),
        "noise_floor": float(np.sqrt(np.sum(np.square(floors))) / len(floors)) if floors else None,
    }


def aggregate_domains(results: Results) -> dict[str, dict[str, Any]]:
    """Return {suite: `aggregate` of its tasks}, each with the `published` results of other agents on it."""
    domains: dict[str, dict[str, Mapping[str, Any]]] = {}
    for task, entry in results.items():
        domains.setdefault(task.split("/")[0], {})[task] = entry
    return {
        suite: aggregate(tasks) | {"published": published_on_domain(suite, _scaled(tasks))}
        for suite, tasks in sorted(domains.items())
    }


def aggregate_human(results: Results) -> dict[str, Any] | None:
    """Aggregate the scores of the tasks that have a human score, on the scale from random play to the human.

    Returns:
      `tasks`, their number; `mean`, `median` over tasks; `at_human` and `at_twice_human`, the numbers of tasks at or
      above the human score and twice that. None without such a task.
    """
    scores = np.array([one for entry in results.values() if (one := entry.get("human_normalised")) is not None])
    if not len(scores):
        return None
    return {
        "tasks": len(scores),
        "mean": float(scores.mean()),
        "median": float(np.median(scores)),
        "at_human": int((scores >= 1).sum()),
        "at_twice_human": int((scores >= 2).sum()),
    }


def unscaled_tasks(results: Results) -> dict[str, str]:
    """Return {task: reason} of the tasks that no aggregate includes, see `scores.unscaled_reason`."""
    return {
        task: entry.get("unscaled") or "no normalised score"
        for task, entry in results.items()
        if entry["normalised"] is None
    }


def normalised_episodes(entry: Mapping[str, Any]) -> np.ndarray:
    """Return the normalised scores of the episodes in an entry of `task_result` that has a scale, float64 (N,)."""
    if "scores" not in entry:
        return np.array([entry["normalised"]], np.float64)
    return (np.array(entry["scores"], np.float64) - entry["random"]) / (entry["expert"] - entry["random"])


def interquartile_mean(scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the mean of the middle half of each row of scores (B, N), float64 (B,).

    The lowest scores are left out as long as their weights do not exceed a quarter of all, and so are the highest.
    With equal weights this is `scipy.stats.trim_mean(row, 0.25)`.

    Args:
      scores: The scores, (B, N).
      weights: The weight of each column, (N,).
    """
    order = np.argsort(scores, axis=1, kind="stable")
    ordered, weights = np.take_along_axis(scores, order, axis=1), weights[order]
    quarter = weights.sum(axis=1, keepdims=True) / 4 + _ROUNDING
    below = np.cumsum(weights, axis=1) <= quarter
    above = np.cumsum(weights[:, ::-1], axis=1)[:, ::-1] <= quarter
    kept = np.where(below | above, 0.0, weights)
    return (ordered * kept).sum(axis=1) / kept.sum(axis=1)


def _scaled(results: Results) -> list[str]:
    return [task for task, entry in results.items() if entry["normalised"] is not None]


def _summarise(scores: Sequence[np.ndarray]) -> dict[str, Any]:
    """Return the fields of `aggregate` but its noise floor, from the normalised scores of each task's episodes."""
    names = ("mean", "iqm", "share_at_50")
    fields: dict[str, Any] = {"tasks": len(scores), "episodes": sum(map(len, scores))}
    if not scores:
        return fields | dict.fromkeys([*names, *(f"{name}_ci" for name in names), "curve"])
    point = _statistics([task[None] for task in scores])[0]
    low, high = np.percentile(_resample(scores, _statistics), [2.5, 97.5], axis=0)
    for index, name in enumerate(names):
        fields[name] = float(point[index])
        fields[f"{name}_ci"] = [float(low[index]), float(high[index])]
    return fields | {"curve": _curve(point[3:], low[3:], high[3:])}


def _curve(share: np.ndarray, low: np.ndarray, high: np.ndarray) -> dict[str, list[float]]:
    """Return the curve of the paper's figure 5: the `share` of tasks whose mean is at or above each of `thresholds`.

    `low` and `high` bound its 95% interval, threshold by threshold.
    """
    return {"thresholds": list(THRESHOLDS), "share": share.tolist(), "low": low.tolist(), "high": high.tolist()}


def _statistics(scores: Sequence[np.ndarray]) -> np.ndarray:
    """Return mean, IQM, share at 50% and the shares at THRESHOLDS of B resamples, float64 (B, 3 + thresholds).

    Args:
      scores: For each task, the scores of its episodes in each resample, (B, episodes).
    """
    means = np.stack([task.mean(axis=1) for task in scores], axis=1)
    weights = np.concatenate([np.full(task.shape[1], 1 / task.shape[1]) for task in scores])
    shares = [(means >= threshold - _ROUNDING).mean(axis=1) for threshold in (0.5, *THRESHOLDS)]
    pooled = np.concatenate(scores, axis=1)
    return np.stack([means.mean(axis=1), interquartile_mean(pooled, weights), *shares], axis=1)


def _resample(scores: Sequence[np.ndarray], statistics: Callable[[Sequence[np.ndarray]], np.ndarray]) -> np.ndarray:
    """Return the statistics of SAMPLES stratified bootstrap samples, by seed 0, (SAMPLES, number of statistics).

    The episodes of each task are drawn with replacement among those of the task; the tasks are kept.
    """
    generator = np.random.default_rng(0)
    rows = max(1, min(SAMPLES, _CHUNK // sum(map(len, scores))))
    parts = []
    for start in range(0, SAMPLES, rows):
        count = min(rows, SAMPLES - start)
        drawn = [task[generator.integers(len(task), size=(count, len(task)))] for task in scores]
        parts.append(statistics(drawn))
    return np.concatenate(parts)
