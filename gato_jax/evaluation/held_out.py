"""Scores on recordings that were held out of training: robot actions, captions, text; each beside a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gato_jax.episodes import Episode
from gato_jax.evaluation.teacher_forcing import HeldOutError, predict_actions
from gato_jax.policy import Agent, log_probabilities
from gato_jax.tokenization import ContinuousCodec, DiscreteCodec, TokenSequence

_SMOOTHING = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)

_Codecs = Sequence[tuple[str, DiscreteCodec | ContinuousCodec]]


def action_error(agent: Agent, task: str, train: Sequence[Episode], test: Sequence[Episode]) -> dict[str, Any]:
    """Return the mean absolute error of the agent's most probable actions in held-out episodes, beside baselines.

    Errors are in units of half of each dimension's range. The agent reads the recorded steps before the one that it
    predicts, as many as its context holds, see `predict_actions`.

    Args:
      agent: The agent.
      task: Name of the task of all episodes; some of its actions are continuous.
      train: Episodes that the agent was trained on. Their mean and median actions are baselines.
      test: Episodes to score.

    Returns:
      `value`, the agent's error over all steps and dimensions; `without_history`, its error when it reads the present
      step alone; `baseline` and `median_baseline`, the errors of the mean and median action of `train`, and
      `repeat_baseline`, that of the recorded action of the step before (the mean action at the first step), which needs
      history; `by_dimension`, {name of the dimension: the same five errors}; `by_horizon`, a list of {`first_step`,
      `last_step`, `steps`, and the agent's `value` over these steps of all episodes}, in ranges that double;
      `discrete`, {key of a discrete action: the shares of the steps at which the agent, the agent without history, the
      most common action of `train` and the repeated one are wrong}, which `value` does not include; `metric`, the name
      of the error; and `episodes`, the number of episodes in `test`.

    Raises:
      HeldOutError: All actions of the task are discrete, it has no observations, or a step exceeds the agent's context.
    """
    codecs = _continuous(agent.layout(task).action_codecs)
    truth, seen = _scaled(codecs, _recorded_actions(test)), _scaled(codecs, _recorded_actions(train))
    mean, steps = seen.mean(axis=0), _step_numbers(test)
    repeated = np.where((steps == 0)[:, None], mean, np.roll(truth, 1, axis=0))
    chosen = {
        "value": _joined(predict_actions(agent, task, test)),
        "without_history": _joined(predict_actions(agent, task, test, most_steps=1)),
    }
    predicted = {
        **{name: _scaled(codecs, actions) for name, actions in chosen.items()},
        "baseline": mean,
        "median_baseline": np.median(seen, axis=0),
        "repeat_baseline": repeated,
    }
    errors = {name: np.abs(actions - truth) for name, actions in predicted.items()}
    return {
        **{name: float(error.mean()) for name, error in errors.items()},
        "by_dimension": {
            dimension: {name: float(error[:, index].mean()) for name, error in errors.items()}
            for index, dimension in enumerate(dimension_names(codecs))
        },
        "by_horizon": _by_horizon(errors["value"].mean(axis=1), steps),
        "discrete": _wrong_shares(agent.layout(task).action_codecs, chosen, train, test),
        "metric": "mean absolute action error",
        "episodes": len(test),
    }


def _by_horizon(errors: np.ndarray, steps: np.ndarray) -> list[dict[str, Any]]:
    """Return the mean error in ranges of the number of steps since the episode began: 0, 1, 2 to 3, 4 to 7 and so on.

    Args:
      errors: The error at each step of all episodes, (N,).
      steps: The number of each step in its episode, from 0, (N,).
    """
    ranges, first = [], 0
    while first <= steps.max():
        last = max(0, 2 * first - 1)
        inside = (steps >= first) & (steps <= last)
        ranges.append(
            {
                "first_step": first,
                "last_step": int(steps[inside].max()),
                "steps": int(inside.sum()),
                "value": float(errors[inside].mean()),
            }
        )
        first = last + 1
    return ranges


def _step_numbers(episodes: Sequence[Episode]) -> np.ndarray:
    return np.concatenate([np.arange(episode.acting_steps) for episode in episodes])


def _joined(actions: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {key: np.concatenate([action[key] for action in actions]) for key in actions[0]}


def _wrong_shares(
    codecs: _Codecs, chosen: Mapping[str, Mapping[str, np.ndarray]], train: Sequence[Episode], test: Sequence[Episode]
) -> dict[str, dict[str, float]]:
    """Return {discrete key: {actor: share of the steps of `test` at which it differs from the recorded action}}."""
    truth, seen, steps, wrong = _recorded_actions(test), _recorded_actions(train), _step_numbers(test), {}
    for key in (key for key, codec in codecs if isinstance(codec, DiscreteCodec)):
        values, counts = np.unique(seen[key].reshape(len(seen[key]), -1), axis=0, return_counts=True)
        common, recorded = values[counts.argmax()], truth[key].reshape(len(steps), -1)
        actions = {name: action[key].reshape(len(steps), -1) for name, action in chosen.items()}
        actions["baseline"] = common[None]
        actions["repeat_baseline"] = np.where((steps == 0)[:, None], common, np.roll(recorded, 1, axis=0))
        wrong[key] = {name: float((action != recorded).any(axis=1).mean()) for name, action in actions.items()}
    return wrong


def _continuous(codecs: _Codecs) -> list[tuple[str, ContinuousCodec]]:
    """Return the codecs of continuous actions.

    Raises:
      HeldOutError: All actions are discrete.
    """
    found = [(key, codec) for key, codec in codecs if isinstance(codec, ContinuousCodec)]
    if not found:
        raise HeldOutError(
            f"action {codecs[0][0]!r} is discrete and has no absolute error; evaluate the task by playing it"
        )
    return found


def dimension_names(codecs: _Codecs) -> list[str]:
    """Return the name of each dimension, in the order of the codecs, such as `arm[2]`; `gripper` for a single one."""
    names = []
    for key, codec in codecs:
        count = codec.token_count
        names += [key] if count == 1 else [f"{key}[{index}]" for index in range(count)]
    return names


def action_limits(codec: ContinuousCodec | DiscreteCodec) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and the highest value of each dimension."""
    if isinstance(codec, ContinuousCodec):
        return codec.modality.limits
    return np.zeros(codec.token_count), np.full(codec.token_count, codec.modality.n - 1.0)


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


def _scaled(codecs: Sequence[tuple[str, ContinuousCodec]], actions: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return continuous actions {key: (steps, ...)} as (steps, dimensions), the limits at -1 and 1, not clipped."""
    columns = []
    for key, codec in codecs:
        low, high = codec.modality.limits
        columns.append((actions[key].reshape(len(actions[key]), -1) - low) / (high - low) * 2 - 1)
    return np.concatenate(columns, axis=1)
