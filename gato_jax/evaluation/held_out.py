"""Scores on recordings that were held out of training: robot actions, captions, text; each beside a baseline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gato_jax.episodes import Continuous, Episode
from gato_jax.policy import Agent, Policy, log_probabilities

GREEDY_ROWS = 32
_SMOOTHING = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)


class HeldOutError(ValueError):
    """Recordings that cannot be scored in this way; the message names what they hold."""


def action_error(agent: Agent, task: str, train: Sequence[Episode], test: Sequence[Episode]) -> dict[str, Any]:
    """Mean absolute error of the most probable action at each held-out step, beside that of the training set's mean.

    In units of half of each dimension's range.
    """
    codecs = agent.layout(task).action_codecs
    observations = [{k: v[t] for k, v in e.observation.items()} for e in test for t in range(e.acting_steps)]
    truth = _scaled(codecs, test)
    policy = Policy(agent, task, GREEDY_ROWS, temperature=0.0)
    predicted = []
    for start in range(0, len(observations), GREEDY_ROWS):
        rows = observations[start : start + GREEDY_ROWS]
        for row in range(GREEDY_ROWS):
            policy.reset(row, seed=0)
        predicted += policy.act([*rows, *[rows[-1]] * (GREEDY_ROWS - len(rows))])[: len(rows)]
    actions = {key: np.stack([action[key] for action in predicted]) for key, _ in codecs}
    error = np.abs(_scale(codecs, actions) - truth).mean()
    actions_seen = _scaled(codecs, train)
    baseline = np.abs(actions_seen.mean(axis=0) - truth).mean()
    return {
        "value": float(error),
        "baseline": float(baseline),
        "median_baseline": float(np.abs(np.median(actions_seen, axis=0) - truth).mean()),
        "metric": "mean absolute action error",
        "episodes": len(test),
    }


def text_perplexity(agent: Agent, task: str, train: Sequence[Episode], test: Sequence[Episode]) -> dict[str, Any]:
    """Perplexity per token of the held-out text, beside that of a unigram model of the training text.

    The unigram model has the additive smoothing, of a few, that suits the held-out text best: no baseline to be proud
    of beating otherwise.
    """
    layout = agent.layout(task)
    held_out = [_written(step) for episode in test for step in layout.encode_timesteps(episode)]
    log_probability = np.concatenate(log_probabilities(agent, held_out))
    seen = np.concatenate([_targets(_written(layout.encode(episode))) for episode in train])
    vocabulary = agent.contract.tokenization.vocabulary.text
    counts = np.bincount(seen, minlength=vocabulary)
    scored = np.concatenate([_targets(step.slice(0, agent.context), first=1) for step in held_out])
    return {
        "value": float(np.exp(-log_probability.mean())),
        "baseline": min(_unigram_perplexity(counts, scored, smoothing) for smoothing in _SMOOTHING),
        "metric": "perplexity",
        "episodes": len(test),
    }


def _unigram_perplexity(counts: np.ndarray, scored: np.ndarray, smoothing: float) -> float:
    smoothed = counts + smoothing
    return float(np.exp(-np.log(smoothed[scored] / smoothed.sum()).mean()))


def _written(tokens):
    """The same tokens, of which only the text that the agent writes is scored: neither what it reads nor an image."""
    return tokens.replace(loss_mask=tokens.loss_mask & (tokens.action_range[:, 1] > 0))


def _targets(tokens, first: int = 0) -> np.ndarray:
    return tokens.target_ids[first:][tokens.loss_mask[first:]]


def _scaled(codecs, episodes: Sequence[Episode]) -> np.ndarray:
    taken = {key: [e.action[key][: e.acting_steps] for e in episodes] for key, _ in codecs}
    return _scale(codecs, {key: np.concatenate(values) for key, values in taken.items()})


def _scale(codecs, actions) -> np.ndarray:
    """(steps, dimensions), each dimension's limits, as the agent's tokens have them, at -1 and 1."""
    columns = []
    for key, codec in codecs:
        if not isinstance(codec.modality, Continuous):
            raise HeldOutError(f"action {key!r} is discrete and has no absolute error; evaluate the task by playing it")
        low, high = codec.modality.limits
        columns.append((actions[key].reshape(len(actions[key]), -1) - low) / (high - low) * 2 - 1)
    return np.concatenate(columns, axis=1)
