"""Reference scores of a task: random play, every constant action, the expert. Each in the task's own metric.

They are what an agent's score is normalised with, so they are measured on the very task version that agents play, and
on REFERENCE_SEEDS, which are neither recorded nor evaluated.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import product

import numpy as np

from gato_jax.environments import task_spec
from gato_jax.environments.base import control_actions, limits
from gato_jax.episodes import Continuous, Discrete, TaskSpec
from gato_jax.experts.actor import ExpertActor
from gato_jax.rollouts import Action, Actor, ConstantActor, RandomActor, play


def random_scores(task: str, seeds: Iterable[int]) -> list[float]:
    """Return the score of random play for each seed."""
    return _scores(RandomActor, task, seeds)


def constant_scores(
    task: str, seeds: Iterable[int], *, also: Mapping[str, Action] | None = None
) -> dict[str, list[float]]:
    """Return {name of the action: score for each seed} of every constant action of `constant_actions` and of `also`."""
    actions, seeds = {**constant_actions(task_spec(task)), **(also or {})}, list(seeds)
    return {name: _scores(partial(ConstantActor, action, name), task, seeds) for name, action in actions.items()}


def expert_scores(task: str, seeds: Iterable[int]) -> list[float]:
    """Return the score of the expert without noise for each seed; 0 for an episode that it gives up."""
    return _scores(ExpertActor, task, seeds)


def _scores(make_actor: Callable[[], Actor], task: str, seeds: Iterable[int]) -> list[float]:
    seeds = list(seeds)
    scores = {one.seed: one.score for one in play(make_actor, product([task], seeds), skip_failures=True)}
    return [float(scores.get(seed) or 0.0) for seed in seeds]


def best_constant(scores: Mapping[str, list[float]]) -> tuple[str, float]:
    """The constant action with the highest mean, and that mean."""
    name = max(scores, key=lambda name: np.mean(scores[name]))
    return name, float(np.mean(scores[name]))


def constant_actions(spec: TaskSpec) -> dict[str, Action]:
    """For a discrete action every value; for a continuous one zero, and each element alone at either limit.

    A task with several action keys gets every combination.
    """
    choices = [
        [(f"{key}={name}", key, value) for name, value in _constants(modality)]
        for key, modality in control_actions(spec).items()
    ]
    return {
        ", ".join(label for label, _, _ in chosen): {key: value for _, key, value in chosen}
        for chosen in itertools.product(*choices)
    }


def _constants(modality: Discrete | Continuous) -> list[tuple[str, np.ndarray]]:
    if isinstance(modality, Discrete):
        return [(str(value), np.full(modality.shape, value)) for value in range(modality.n)]
    low, high = limits(modality)
    zero = np.clip(np.zeros(modality.shape, np.float32), low, high)
    constants = [("zero", zero)]
    for index in np.ndindex(modality.shape):
        for limit in (low, high):
            value = zero.copy()
            value[index] = limit[index]
            constants.append((f"{limit[index]:+g} at {','.join(map(str, index))}", value))
    return constants
