"""The expert of Procgen: Rollout-IW(1) in a second environment, over the actions that a game needs.

A state has the game's random numbers, so the search sees what will appear. Of the package's 15 actions, a game needs
few: most others do what the neutral one does, and would cost as many frames.
"""

from __future__ import annotations

import dm_env
import numpy as np

from gato_jax.environments.suites.procgen import EASY_SUITE, SUITE, Procgen
from gato_jax.experts.base import Expert
from gato_jax.experts.search import ProcgenEmulator, SearchPlanner, SearchSettings
from gato_jax.rollouts import Action

SETTINGS = SearchSettings(frames=800, discount=0.99, life_cost=50.0, survival_reward=0.01)
DECISION_STEPS = 4

_LEFT, _LEFT_UP, _DOWN, _STAY, _UP, _RIGHT, _RIGHT_UP, _FIRE = 1, 2, 3, 4, 5, 7, 8, 9
_ALL_DIRECTIONS = tuple(range(9))
_ON_A_GRID = (_LEFT, _DOWN, _UP, _RIGHT)
_JUMPS = (_LEFT, _LEFT_UP, _STAY, _UP, _RIGHT, _RIGHT_UP)
CHOICES: dict[str, tuple[int, ...]] = {  # {game: actions that it needs}
    "bigfish": _ALL_DIRECTIONS,
    "bossfight": (*_ALL_DIRECTIONS, _FIRE),
    "caveflyer": (_LEFT, _DOWN, _STAY, _UP, _RIGHT, _FIRE),
    "chaser": _ON_A_GRID,
    "climber": _JUMPS,
    "coinrun": (*_JUMPS, _DOWN),
    "dodgeball": (*_ON_A_GRID, _STAY, _FIRE),
    "fruitbot": (_LEFT, _STAY, _RIGHT, _FIRE),
    "heist": _ON_A_GRID,
    "jumper": _JUMPS,
    "leaper": (*_ON_A_GRID, _STAY),
    "maze": _ON_A_GRID,
    "miner": (*_ON_A_GRID, _STAY),
    "ninja": (*_JUMPS, _FIRE, 10, 11, 12),  # it throws stars in four directions
    "plunder": (_LEFT, _STAY, _RIGHT, _FIRE),
    "starpilot": (*_ALL_DIRECTIONS, _FIRE),
}


class ProcgenPlanner(Expert[Procgen]):
    """A planner that searches from the live state of the game, and holds each chosen action for four steps.

    It decides anew when noise has replaced an action.

    Args:
      task: Name of the game.
      settings: Settings of the search.
    """

    agent = f"{SETTINGS} of {DECISION_STEPS} on colours in tiles; it knows the game's random numbers"

    def __init__(self, task: str, *, settings: SearchSettings = SETTINGS):
        self._choices, self._settings = CHOICES[task], settings
        self._emulator: ProcgenEmulator | None = None

    def reset(self, environment: Procgen, seed: int) -> None:
        if self._emulator is None:  # the same game in all episodes
            self._emulator = ProcgenEmulator(environment, decision_steps=DECISION_STEPS, choices=self._choices)
        self.planner = SearchPlanner(self._emulator, self._settings, seed)
        self._steps_left = 0

    def act(self, environment: Procgen, timestep: dm_env.TimeStep) -> Action:
        if self._steps_left == 0:
            assert self._emulator is not None  # reset made it
            self._chosen = self._choices[self.planner.choose(self._emulator.read(environment))]
            self._steps_left = DECISION_STEPS
        self._steps_left -= 1
        return {"action": np.asarray(self._chosen)}

    def acted(self, action: Action) -> None:
        if action["action"] != self._chosen:
            self._steps_left = 0


EXPERTS = {f"{suite.name}/{game}": ProcgenPlanner for suite in (SUITE, EASY_SUITE) for game in suite.tasks}
