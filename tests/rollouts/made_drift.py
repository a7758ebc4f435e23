"""Environments of a few steps whose observations remember what was done, and actors that fail in them."""

import dataclasses
import os

import numpy as np

from gato_jax.environments.base import Environment, Outcome
from gato_jax.rollouts import ActorFailure, RandomActor
from tests.tokenization.made_tasks import CONTROL

TASK = CONTROL.name
OTHER = dataclasses.replace(CONTROL, task="other")


class Drift(Environment):
    """Lasts 3, 4 or 5 steps by its seed; the reward is the first action; a frame shows the number of the step."""

    source, licence = "made 1.0", "MIT"

    def __init__(self, task: str = TASK):
        assert task == TASK
        super().__init__(CONTROL)

    def _start(self, seed):
        self.episode, self.at, self.position = seed, 0, np.random.default_rng(seed).normal(size=3)
        return self._observe(np.zeros(2))

    def _advance(self, action):
        self.at += 1
        self.position[:2] += action["action"]
        ends = self.at == 3 + self.episode % 3
        return Outcome(
            observation=self._observe(action["action"]),
            reward=float(action["action"][0]),
            terminated=ends,
            success=bool(self.episode % 2),
        )

    def _observe(self, velocity):
        return {"position": self.position.copy(), "velocity": velocity}

    def render(self):
        return np.full((4, 6, 3), self.at, np.uint8)


class OtherDrift(Drift):
    """The same as another task."""

    def __init__(self):
        super().__init__()
        self.task_spec = OTHER


def load_drift(task: str) -> Drift:
    return {TASK: Drift, OTHER.name: OtherDrift}[task]()


class Brittle(Drift):
    """Breaks in the middle of the episode of seed 5, and for good: no later one goes on in the same environment."""

    broken = False

    def _advance(self, action):
        self.broken = self.broken or (self.episode == 5 and self.at == 2)
        if self.broken:
            raise ZeroDivisionError("the simulation is unstable")
        return super()._advance(action)


class NoisyActor(RandomActor):
    """Records random actions and executes half of them."""

    def perturb(self, slot, action):
        return {"action": action["action"] / 2}


class QuittingActor(RandomActor):
    """Gives up at the second step of the episodes with these seeds."""

    quits_at = (4, 5)

    def reset(self, environments, seeds):
        super().reset(environments, seeds)
        self.environments = environments

    def act(self, timesteps):
        actions = super().act(timesteps)
        for slot, environment in enumerate(self.environments):
            if environment.episode in self.quits_at and environment.at == 1:
                actions[slot] = ActorFailure("no idea")
        return actions


class DyingActor(QuittingActor):
    """Ends its process, where the other one gives up."""

    def act(self, timesteps):
        actions = super().act(timesteps)
        if any(isinstance(action, ActorFailure) for action in actions):
            os._exit(7)
        return actions


class BrokenActor(RandomActor):
    def act(self, timesteps):
        raise KeyError("a mistake in the actor")


class Mistake(Exception):
    """An error that pickle cannot restore."""

    def __init__(self, task: str, seed: int):
        super().__init__(f"{task}: {seed}")


class MistakenActor(RandomActor):
    def act(self, timesteps):
        raise Mistake(TASK, 5)


class RaisingActor(RandomActor):
    """Raises the failure instead of returning it."""

    def act(self, timesteps):
        raise ActorFailure("no idea")
