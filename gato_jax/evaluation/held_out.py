"""Scores on recordings that were held out of training: robot actions, captions, text; each beside a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from gato_jax.environments import Environment
from gato_jax.environments.base import Outcome
from gato_jax.episodes import Continuous, Episode, TaskSpec
from gato_jax.policy import Agent, AgentActor, log_probabilities
from gato_jax.rollouts import play
from gato_jax.tokenization import ContinuousCodec, DiscreteCodec, TokenSequence

GREEDY_ROWS = 32  # recorded steps that the agent acts at in one call
_SMOOTHING = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)

_Codecs = Sequence[tuple[str, DiscreteCodec | ContinuousCodec]]


class HeldOutError(ValueError):
    """Recordings that a score of this module does not apply to; the message names the action that it cannot score."""


class RecordedSteps(Environment):
    """An environment of single recorded steps: the episode of seed n shows observation n and ends after one action.

    Any action is accepted; the reward is 0, and there is no success and nothing to render.

    Args:
      spec: The task of the recordings.
      observations: The observations, {key: value at one step}, numbered from 0.
    """

    def __init__(self, spec: TaskSpec, observations: Sequence[Mapping[str, Any]]):
        super().__init__(spec)
        self._observations = observations

    def render(self) -> np.ndarray:
        raise NotImplementedError("a recorded step has no scene to render")

    def _check(self, action: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Return any action: a codec's limits that were measured on data (RT-2) may lie outside the task's limits."""
        return dict(action)

    def _start(self, seed: int) -> dict[str, Any]:
        self._observation = dict(self._observations[seed])
        return self._observation

    def _advance(self, action: dict[str, np.ndarray]) -> Outcome:
        return Outcome(observation=self._observation, reward=0.0, terminated=True, success=False)


def action_error(agent: Agent, task: str, train: Sequence[Episode], test: Sequence[Episode]) -> dict[str, Any]:
    """Return the mean absolute error of the agent's most probable action at each held-out step, beside baselines.

    Errors are in units of half of each dimension's range, and averaged over all steps and dimensions. The agent acts at
    each step without memory of those before.

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
    truth = _scaled(codecs, test)
    observations = [{k: v[t] for k, v in e.observation.items()} for e in test for t in range(e.acting_steps)]
    steps = play(
        partial(AgentActor, agent, temperature=0.0),
        [(task, number) for number in range(len(observations))],
        environments=GREEDY_ROWS,
        load=lambda _: RecordedSteps(layout.spec, observations),
    )
    error = np.abs(_scaled(codecs, list(steps)) - truth).mean()
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


def _scaled(codecs: _Codecs, episodes: Sequence[Episode]) -> np.ndarray:
    """Return the actions of all steps of all episodes, (steps, dimensions), with the codec's limits at -1 and 1.

    Final observations, which have no action, are left out. Values beyond the limits are not clipped.

    Raises:
      HeldOutError: An action is discrete.
    """
    columns = []
    for key, codec in codecs:
        if not isinstance(codec.modality, Continuous):
            raise HeldOutError(f"action {key!r} is discrete and has no absolute error; evaluate the task by playing it")
        low, high = codec.modality.limits
        actions = np.concatenate([episode.action[key][: episode.acting_steps] for episode in episodes])
        columns.append((actions.reshape(len(actions), -1) - low) / (high - low) * 2 - 1)
    return np.concatenate(columns, axis=1)
