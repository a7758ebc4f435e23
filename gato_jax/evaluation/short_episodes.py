"""An environment whose episodes are cut off early, to compare many actions at little cost."""

from __future__ import annotations

import numpy as np

from gato_jax.environments import Environment
from gato_jax.environments.base import Observation, Outcome


class ShortEpisodes(Environment):
    """A wrapper of an environment, whose episodes are cut off with discount 1 after at most `max_steps` actions.

    Seeds, observations, rewards and success are those of the wrapped environment, which is played.
    """

    def __init__(self, environment: Environment, max_steps: int):
        super().__init__(environment.task_spec)
        self._environment, self._max_steps, self._steps = environment, max_steps, 0

    @property
    def success(self) -> bool | None:
        return self._environment.success

    def render(self) -> np.ndarray:
        return self._environment.render()

    def _start(self, seed: int) -> Observation:
        self._steps = 0
        self._environment.seed(seed)
        return self._environment.reset().observation

    def _advance(self, action: dict[str, np.ndarray]) -> Outcome:
        timestep = self._environment.step(action)
        self._steps += 1
        terminated = timestep.last() and timestep.discount == 0
        return Outcome(
            observation=timestep.observation,
            reward=float(timestep.reward),
            terminated=terminated,
            truncated=not terminated and (timestep.last() or self._steps >= self._max_steps),
        )
