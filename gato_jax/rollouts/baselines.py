"""Actors that do not look at their observations: random play and a constant action."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import dm_env
import numpy as np

from gato_jax.environments import Environment
from gato_jax.environments.base import control_actions, limits
from gato_jax.episodes import Continuous, TaskSpec
from gato_jax.rollouts.actor import Action, Actor, ActorFailure

_STREAM = 0x72616E64  # separates the actor's random numbers from the environment's, which have the same seed


class RandomActor(Actor):
    """Random play: every action is drawn uniformly from the task's limits, by the seed of the episode."""

    looks = False

    def __init__(self):
        self._slots: dict[int, tuple[TaskSpec, np.random.Generator]] = {}

    def reset(self, environments: Sequence[Environment], seeds: Sequence[int | None]) -> None:
        for slot, (environment, seed) in enumerate(zip(environments, seeds, strict=True)):
            if seed is not None:
                self._slots[slot] = environment.task_spec, np.random.default_rng([seed, _STREAM])

    def act(self, timesteps: Sequence[dm_env.TimeStep | None]) -> list[Action | ActorFailure]:
        return [
            {} if timestep is None else random_action(*self._slots[slot]) for slot, timestep in enumerate(timesteps)
        ]

    def describe(self, task: str) -> str:
        return "uniformly random actions"


class ConstantActor(Actor):
    """An actor that takes the same action at every step.

    Args:
      action: The action, in the units of the task.
      name: Name of the action in the provenance of the episodes; empty for the values of the action.
    """

    looks = False

    def __init__(self, action: Mapping[str, np.ndarray], name: str = ""):
        self._action, self._name = dict(action), name

    def reset(self, environments: Sequence[Environment], seeds: Sequence[int | None]) -> None:
        """Do nothing: a constant action has no state."""

    def act(self, timesteps: Sequence[dm_env.TimeStep | None]) -> list[Action | ActorFailure]:
        return [self._action for _ in timesteps]

    def describe(self, task: str) -> str:
        return f"constant action {self._name or self._action}"


def random_action(spec: TaskSpec, generator: np.random.Generator) -> Action:
    """Return an action drawn uniformly from the task's limits, or from all values of a discrete action.

    Raises:
      ActionError: The task's action is text.
    """
    action = {}
    for key, modality in control_actions(spec).items():
        if isinstance(modality, Continuous):
            low, high = limits(modality)
            action[key] = generator.uniform(low, high).astype(np.float32)
        else:
            action[key] = np.asarray(generator.integers(modality.n, size=modality.shape))
    return action
