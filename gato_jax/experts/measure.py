"""Reference scores of a task: random play, every constant action, the expert. Each in the task's own metric.

They are what an agent's score is normalised with, so they are measured on the very task version that agents play, and
on REFERENCE_SEEDS, which are neither recorded nor evaluated.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping

import dm_env
import numpy as np

from gato_jax.environments import Environment, load
from gato_jax.environments.base import control_actions, limits
from gato_jax.episodes import Continuous, Discrete, TaskSpec
from gato_jax.experts.base import Action, ExpertFailure
from gato_jax.experts.registry import expert as find_expert

Policy = Callable[[Environment, dm_env.TimeStep], Action]


def play(environment: Environment, policy: Policy, seed: int) -> float:
    """The score of one episode in the task's own metric."""
    environment.seed(seed)
    timestep = environment.reset()
    total = 0.0
    while not timestep.last():
        timestep = environment.step(policy(environment, timestep))
        total += timestep.reward
    return environment.score(total)


def random_scores(task: str, seeds: Iterable[int]) -> list[float]:
    """Uniformly random actions within the task's limits, one score for each seed."""
    environment = load(task)

    def score(seed: int) -> float:
        generator = np.random.default_rng([seed, 0x72616E64])
        return play(environment, lambda *_: random_action(environment.task_spec, generator), seed)

    return [score(seed) for seed in seeds]


def constant_scores(
    task: str, seeds: Iterable[int], *, also: Mapping[str, Action] | None = None
) -> dict[str, list[float]]:
    """{what the action is: one score for each seed} for every constant action of `constant_actions` and of `also`."""
    environment, seeds = load(task), list(seeds)

    def scores(action: Action) -> list[float]:
        return [play(environment, lambda *_: action, seed) for seed in seeds]

    actions = {**constant_actions(environment.task_spec), **(also or {})}
    return {name: scores(action) for name, action in actions.items()}


def expert_scores(task: str, seeds: Iterable[int]) -> list[float]:
    """The expert without noise, one score for each seed; 0 where it gives up."""
    environment, expert = load(task), find_expert(task)

    def score(seed: int) -> float:
        def policy(environment: Environment, timestep: dm_env.TimeStep) -> Action:
            if timestep.first():
                expert.reset(environment, seed)
            action = expert.act(environment, timestep)
            expert.acted(action)
            return action

        try:
            return play(environment, policy, seed)
        except ExpertFailure:
            return 0.0

    return [score(seed) for seed in seeds]


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


def random_action(spec: TaskSpec, generator: np.random.Generator) -> Action:
    """Uniform over the task's actions."""
    action = {}
    for key, modality in control_actions(spec).items():
        if isinstance(modality, Continuous):
            low, high = limits(modality)
            action[key] = generator.uniform(low, high).astype(np.float32)
        else:
            action[key] = np.asarray(generator.integers(modality.n, size=modality.shape))
    return action


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
