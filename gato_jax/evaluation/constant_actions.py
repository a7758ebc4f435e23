"""The bounded set of constant actions among which the best one of a task is searched."""

from __future__ import annotations

import math

import numpy as np

from gato_jax.environments.base import control_actions, limits
from gato_jax.episodes import Continuous, Discrete, TaskSpec
from gato_jax.rollouts import Action

MAX_CANDIDATES = 18  # the whole action set of Atari
_DRAW_SEED = 0


def candidate_actions(spec: TaskSpec) -> dict[str, Action]:
    """Return the constant actions that are tried on a task, {description: action}, at most MAX_CANDIDATES.

    A discrete action contributes every value, the same for all of its elements. A continuous one contributes zero, and
    zero with one element at either of its limits. A task with several action keys has every combination. If these are
    more than MAX_CANDIDATES, the first (zero) is kept and the others are drawn without replacement by a fixed seed. A
    description is such as `action=3`, `action=zero` or `action=+1 at 0`, comma-separated for several keys.
    """
    constants = {key: _constants(modality) for key, modality in control_actions(spec).items()}
    shape = tuple(len(choices) for choices in constants.values())
    total = math.prod(shape)
    numbers = range(total)
    if total > MAX_CANDIDATES:
        drawn = np.random.default_rng(_DRAW_SEED).choice(total - 1, MAX_CANDIDATES - 1, replace=False) + 1
        numbers = [0, *np.sort(drawn)]
    actions = {}
    for number in numbers:
        indices = np.unravel_index(number, shape)
        chosen = {key: choices[index] for (key, choices), index in zip(constants.items(), indices, strict=True)}
        name = ", ".join(f"{key}={label}" for key, (label, _) in chosen.items())
        actions[name] = {key: value for key, (_, value) in chosen.items()}
    return actions


def _constants(modality: Discrete | Continuous) -> list[tuple[str, np.ndarray]]:
    """Return (description, value) of each constant value of one action key, zero first, e.g. (`+1 at 0`, array).

    Zero is clipped to the limits of a continuous key.
    """
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
