"""Scripts for games, which read positions from the console's memory and decide anew in each step.

Addresses in memory are those of AtariARI (arXiv 1906.08226) and OCAtari (arXiv 2306.08649), unless a comment says that
they were found by playing. Speeds and distances were found by playing, too. A script is the expert of a game
only because it scores more than the planner, or half of the human score in a hundredth of the time:
`python -m experiments.atari_players` compares them.
"""

from __future__ import annotations

from collections.abc import Callable

import dm_env
import numpy as np

from gato_jax.environments.suites.atari import Atari
from gato_jax.experts.atari import scripts_ball, scripts_fights, scripts_ways
from gato_jax.experts.atari.memory import Memory
from gato_jax.experts.base import Expert
from gato_jax.rollouts import Action

SCRIPTS: dict[str, Callable[[Memory], str]] = {**scripts_ball.SCRIPTS, **scripts_fights.SCRIPTS, **scripts_ways.SCRIPTS}


class RamScript(Expert[Atari]):
    """A script for one of the games of `SCRIPTS`, which decides anew in each step.

    Args:
      task: Name of the game.
    """

    agent = "script that reads positions from RAM"

    def __init__(self, task: str):
        self._choose = SCRIPTS[task]

    def reset(self, environment: Atari, seed: int) -> None:
        self._names = [action.name for action in environment.actions]
        self._before, self._taken, self._step = _read(environment), ["NOOP", "NOOP"], 0

    def act(self, environment: Atari, timestep: dm_env.TimeStep) -> Action:
        now = _read(environment)
        name = self._choose(Memory(now, self._before, self._taken, self._step))
        self._before, self._taken, self._step = now, [self._taken[1], name], self._step + 1
        return {"action": np.asarray(self._names.index(name))}

    def acted(self, action: Action) -> None:
        self._taken[1] = self._names[int(action["action"])]


def _read(environment: Atari) -> np.ndarray:
    return environment.console.getRAM().astype(int)
