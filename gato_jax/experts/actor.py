"""The actor that plays each task with its expert, one expert for each slot."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import dm_env
import numpy as np

from gato_jax.environments import Environment
from gato_jax.experts.base import Expert
from gato_jax.experts.registry import expert, expert_class
from gato_jax.rollouts import Action, Actor, ActorFailure

_STREAM = 0x6E6F6973  # separates the noise from the environment's random numbers, which have the same seed


class _Slot:
    """The expert of one slot, with its environment and the random generator of its noise."""

    def __init__(self, environment: Environment, make_expert: Callable[[str], Expert]):
        self.environment = environment
        self.expert = make_expert(environment.task_spec.name)

    def reset(self, seed: int) -> None:
        self.noise = np.random.default_rng([seed, _STREAM])
        self.expert.reset(self.environment, seed)


class ExpertActor(Actor):
    """An actor that plays every task with the expert that the registry has for it.

    Args:
      noise: Noise on the executed actions, see `Expert.disturb`; the recorded actions stay the expert's own. 0 is no
        noise; None takes the default of each expert.
      make_expert: Function that returns a new expert of the task `suite/task`; with `workers` it must be picklable.

    Raises:
      UnknownTaskError: At `reset`, if no task has that name.
      NoExpertError: At `reset`, if the task has no expert.
    """

    def __init__(self, noise: float | None = 0.0, *, make_expert: Callable[[str], Expert] = expert):
        self._noise, self._make_expert = noise, make_expert
        self._slots: dict[int, _Slot] = {}

    def reset(self, environments: Sequence[Environment], seeds: Sequence[int | None]) -> None:
        for number, (environment, seed) in enumerate(zip(environments, seeds, strict=True)):
            if seed is not None:
                if number not in self._slots or self._slots[number].environment is not environment.unwrapped:
                    self._slots[number] = _Slot(environment.unwrapped, self._make_expert)
                self._slots[number].reset(seed)

    def act(self, timesteps: Sequence[dm_env.TimeStep | None]) -> list[Action | ActorFailure]:
        return [{} if timestep is None else self._act(slot, timestep) for slot, timestep in enumerate(timesteps)]

    def _act(self, number: int, timestep: dm_env.TimeStep) -> Action | ActorFailure:
        slot = self._slots[number]
        try:
            return slot.expert.act(slot.environment, timestep)
        except ActorFailure as failure:
            return failure

    def perturb(self, slot: int, action: Action) -> Action:
        executed = self.executed(slot, action)
        self._slots[slot].expert.acted(executed)
        return executed

    def executed(self, slot: int, action: Action) -> Action:
        """Return the action to execute in place of the expert's own: with the noise."""
        environment, expert, noise = self._slots[slot].environment, self._slots[slot].expert, self._noise
        noise = expert.default_noise if noise is None else noise
        return expert.disturb(environment, action, noise, self._slots[slot].noise) if noise else action

    def describe(self, task: str) -> str:
        kind = expert_class(task)
        noise = kind.default_noise if self._noise is None else self._noise
        return f"{kind.agent}; noise {noise:g} on executed actions" if noise else kind.agent
