"""The emulator of a Procgen game: a second environment, whose state includes the game's random numbers."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from gato_jax.environments.suites.procgen import SIDE, Procgen, ProcgenState
from gato_jax.experts.search.emulator import Emulator, Transition
from gato_jax.experts.search.features import TileFeatures

_TILE = (4, 4)
_LEVELS = 4  # of each channel of a colour


class ProcgenEmulator(Emulator[ProcgenState]):
    """An environment to simulate a Procgen game, beside the one that is played.

    A state includes the game's random generator, so the search knows what will appear, which a player does not.

    Args:
      environment: An environment of the game, which is not changed.
      decision_steps: Number of steps of the environment for which a decision holds its action.
      choices: Actions of the environment that the search considers, all by default; its own are their positions here.

    Attributes:
      choices: These actions.
    """

    def __init__(self, environment: Procgen, *, decision_steps: int = 2, choices: Sequence[int] | None = None):
        spec = environment.task_spec
        self._copy = Procgen(spec.task, spec.suite)
        self.choices = tuple(range(spec.action["action"].n) if choices is None else choices)
        self.decision_steps, self.actions = decision_steps, len(self.choices)
        self._tiles = TileFeatures(SIDE, SIDE, tile=_TILE, colours=_LEVELS**3)
        self.feature_count = self._tiles.count
        self._image = np.zeros((SIDE, SIDE, 3), np.uint8)

    def read(self, live: Procgen) -> ProcgenState:
        return live.get_state()

    def clone(self) -> ProcgenState:
        return self._copy.get_state()

    def restore(self, state: ProcgenState) -> None:
        self._copy.set_state(state)
        self._image = state.image

    def step(self, action: int, generator: random.Random) -> Transition:
        del generator
        reward, steps, held = 0.0, 0, {"action": np.asarray(self.choices[action])}
        while steps < self.decision_steps:
            timestep = self._copy.step(held)
            reward, steps, self._image = reward + float(timestep.reward), steps + 1, timestep.observation["image"]
            if timestep.last():
                died = timestep.discount == 0 and not self._copy.success
                return Transition(reward, steps, died, True)
        return Transition(reward, steps)

    def features(self) -> np.ndarray:
        red, green, blue = np.moveaxis(self._image // (256 // _LEVELS), -1, 0)
        return self._tiles((red * _LEVELS + green) * _LEVELS + blue)

    def fingerprint(self) -> bytes:
        return self._image.tobytes()

    def same(self, first: ProcgenState, second: ProcgenState) -> bool:
        return first.simulator == second.simulator

    def close(self) -> None:
        self._copy.close()
