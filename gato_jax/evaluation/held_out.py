"""Scores on recordings that were held out of training: robot actions, captions, text; each beside a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gato_jax.episodes import Continuous, Episode
from gato_jax.policy import Agent, Policy, log_probabilities
from gato_jax.tokenization import ContinuousCodec, DiscreteCodec, TokenSequence

GREEDY_ROWS = 32  # recorded steps that the agent acts at in one call
_SMOOTHING = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)

_Codecs = Sequence[tuple[str, DiscreteCodec | ContinuousCodec]]


class HeldOutError(ValueError):
    """Recordings that a score of this module does not apply to; the message names the action that it cannot score."""


def action_error(agent: Agent, task: str, train: Sequence[Episode], test: Sequence[Episode]) -> dict[str, Any]:
    """Return the mean absolute error of the agent's most probable action at each held-out step, beside baselines.

    Errors are in units of half of each dimension's range, and averaged over all steps and dimensions. The agent acts at
    each step without memory of those before, as at the first timestep of a window of training. With `task_text_first`
    it reads the text of the task before the first step of each episode alone, because windows that begin later do not
    have it either.

    Args:
      agent: The agent.
      task: Name of the task of all episodes; its actions are continuous.
      train: Episodes that the agent was trained on. Their mean and median actions are the baselines.
      test: Episodes to score.

    Returns:
      `value`, the agent's error; `baseline` and `median_baseline`, those of the mean and median action of `train`;
      `metric`, the name of the error; and `episodes`, the number of episodes in `test`.

    Raises:
      HeldOutError: An action of the task is discrete.
    """
    layout = agent.layout(task)
    codecs = layout.action_codecs
    truth = _scaled(codecs, _recorded_actions(test))
    error = np.abs(_scaled(codecs, _act_at_each_step(agent, task, test)) - truth).mean()
    actions_seen = _scaled(codecs, _recorded_actions(train))
    baseline = np.abs(actions_seen.mean(axis=0) - truth).mean()
    return {
        "value": float(error),
        "baseline": float(baseline),
        "median_baseline": float(np.abs(np.median(actions_seen, axis=0) - truth).mean()),
        "metric": "mean absolute action error",
        "episodes": len(test),
    }


def _act_at_each_step(agent: Agent, task: str, episodes: Sequence[Episode]) -> dict[str, np.ndarray]:
    """Return the most probable action at each step of all episodes, each without memory, {action key: (steps, ...)}."""
    steps = [(episode, step) for episode in episodes for step in range(episode.acting_steps)]
    rows = min(GREEDY_ROWS, len(steps))
    policy, actions = Policy(agent, task, rows, temperature=0.0), []
    for start in range(0, len(steps), rows):
        batch = steps[start : start + rows]
        for row, (_, step) in enumerate(batch):
            policy.reset(row, 0, begins=step == 0)
        observations = [{key: values[step] for key, values in episode.observation.items()} for episode, step in batch]
        idle = [observations[-1]] * (rows - len(batch))
        actions += policy.act([*observations, *idle])[: len(batch)]
    return {key: np.stack([action[key] for action in actions]) for key in actions[0]}


def text_perplexity(agent: Agent, task: str, train: Sequence[Episode], test: Sequence[Episode]) -> dict[str, Any]:
    """Return the perplexity per token of the held-out text, beside that of a unigram model of the training text.

    The unigram model has additive smoothing; of a few strengths, the one that suits the held-out text best is taken, so
    that the baseline is as strong as it can be.

    Args:
      agent: The agent.
      task: Name of the task of all episodes; its action is text.
      train: Episodes that the agent was trained on.
      test: Episodes to score. Each step is read on its own, and text beyond the agent's context is cut off.

    Returns:
      `value`, the agent's perplexity; `baseline`, that of the unigram model; `metric`, "perplexity"; and `episodes`,
      the number of episodes in `test`.
    """
    layout = agent.layout(task)
    held_out = [_only_written(step) for episode in test for step in layout.encode_timesteps(episode)]
    log_probability = np.concatenate(log_probabilities(agent, held_out))
    counted = np.concatenate([_targets(_only_written(layout.encode(episode))) for episode in train])
    vocabulary = agent.contract.tokenization.vocabulary.text
    counts = np.bincount(counted, minlength=vocabulary)
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


def _only_written(tokens: TokenSequence) -> TokenSequence:
    """Return the same tokens, with a loss mask that is True only for text that the agent writes, not what it reads."""
    return tokens.replace(loss_mask=tokens.loss_mask & (tokens.action_range[:, 1] > 0))


def _targets(tokens: TokenSequence, first: int = 0) -> np.ndarray:
    return tokens.target_ids[first:][tokens.loss_mask[first:]]


def _recorded_actions(episodes: Sequence[Episode]) -> dict[str, np.ndarray]:
    """Return the actions of all steps of all episodes, without those of final observations, {key: (steps, ...)}."""
    return {
        key: np.concatenate([episode.action[key][: episode.acting_steps] for episode in episodes])
        for key in episodes[0].action
    }


def _scaled(codecs: _Codecs, actions: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return actions {key: (steps, ...)} as (steps, dimensions), with the codec's limits at -1 and 1, not clipped.

    Raises:
      HeldOutError: An action is discrete.
    """
    columns = []
    for key, codec in codecs:
        if not isinstance(codec.modality, Continuous):
            raise HeldOutError(f"action {key!r} is discrete and has no absolute error; evaluate the task by playing it")
        low, high = codec.modality.limits
        columns.append((actions[key].reshape(len(actions[key]), -1) - low) / (high - low) * 2 - 1)
    return np.concatenate(columns, axis=1)
