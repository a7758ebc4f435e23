"""An environment of a few steps, whose observations remember what was done; and an agent with random parameters."""

import dataclasses

import numpy as np

from gato_jax.environments.base import Environment, Outcome
from gato_jax.policy import Agent
from tests.policy.made_agent import made_agent
from tests.tokenization.made_tasks import CONTROL

TASK = CONTROL.name


class Drift(Environment):
    """Lasts 3, 4 or 5 steps by its seed; the reward is the first action; a frame shows the number of the step."""

    def __init__(self):
        super().__init__(CONTROL)

    def _start(self, seed):
        self.episode, self.at, self.position = seed, 0, np.random.default_rng(seed).normal(size=3)
        return self._observe(np.zeros(2))

    def _advance(self, action):
        self.at += 1
        self.position[:2] += action["action"]
        ends = self.at == 3 + self.episode % 3
        return Outcome(observation=self._observe(action["action"]), reward=float(action["action"][0]), terminated=ends)

    def _observe(self, velocity):
        return {"position": self.position, "velocity": velocity}

    def render(self):
        return np.full((4, 6, 3), self.at, np.uint8)


def drifting_agent(**changes) -> Agent:
    return dataclasses.replace(made_agent(layers=1, context=60), **changes)
