"""The planner that plays any Atari game: Rollout-IW(1) in a second console."""

from __future__ import annotations

import dm_env
import numpy as np

from gato_jax.environments.suites.atari import Atari
from gato_jax.experts.base import Expert, SearchEffort
from gato_jax.experts.search import AtariEmulator, SearchPlanner, SearchSettings
from gato_jax.rollouts import Action

SETTINGS = SearchSettings(frames=3000)
DECISION_STEPS = 4  # 16 frames; the published planners decide every 15 or 5 frames


class AtariPlanner(Expert[Atari]):
    """A planner that searches from the live state of the console, and holds each chosen action for four steps.

    It knows the memory of the console and all that follows from it, but not which actions will stick. It decides anew
    when a life is lost.

    Args:
      task: Name of the game.
      settings: Settings of the search.
      features: Features of a state: `ram`, or `tiles` of the screen.
    """

    agent = f"{SETTINGS} of 16 on tiles of the screen; sticky actions are drawn anew, not known"

    def __init__(self, task: str, *, settings: SearchSettings = SETTINGS, features: str = "tiles"):
        del task
        self._settings, self._features = settings, features
        self._emulator: AtariEmulator | None = None
        self.effort: SearchEffort = SearchEffort()

    def reset(self, environment: Atari, seed: int) -> None:
        if self._emulator is None:  # the same game in all episodes
            self._emulator = AtariEmulator(environment, features=self._features, decision_steps=DECISION_STEPS)
        self.planner = SearchPlanner(self._emulator, self._settings, seed)
        self._steps_left, self._lives = 0, environment.console.lives()

    def act(self, environment: Atari, timestep: dm_env.TimeStep) -> Action:
        lives = environment.console.lives()
        if self._steps_left == 0 or lives < self._lives:
            assert self._emulator is not None  # reset made it
            before = self.planner.frames
            self._chosen = self.planner.choose(self._emulator.read(environment))
            self.effort.decisions += 1
            self.effort.frames += self.planner.frames - before
            self._steps_left = DECISION_STEPS
        self._lives = lives
        self._steps_left -= 1
        return {"action": np.asarray(self._chosen)}
