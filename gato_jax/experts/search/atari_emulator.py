"""The emulator of an Atari game: a second console with the same ROM, and sticky actions drawn anew."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

import numpy as np

from gato_jax.environments.suites.atari import FRAME_SKIP, STICKY_ACTION_PROBABILITY, Atari, make_console
from gato_jax.experts.search.emulator import Emulator, Transition
from gato_jax.experts.search.features import ByteFeatures, TileFeatures

_TILE = (15, 10)
# A state lacks parts of the machine, which differ while a console starts: one frame too many in Q*bert.
_WARM_UP_FRAMES = 60
_COLOURS = 128  # the console's palette, whose numbers are even


class ConsoleState(NamedTuple):
    """State of a console, with the action that its next frame may repeat."""

    console: Any
    pressed: Any


class AtariEmulator(Emulator[ConsoleState]):
    """A console to simulate an Atari game, beside the one that is played.

    The environment draws in each frame whether the previous action sticks. The emulator draws it from the generator of
    the search, as nobody knows which action will stick. All else is exact.

    Args:
      environment: An environment of the game, which is not changed.
      features: Features of a state: `ram`, the value of each byte of the memory, or `tiles`, the colours in each tile
        of the screen.
      decision_steps: Number of steps of the environment for which a decision holds its action.

    Attributes:
      console: ALE, with the game's ROM loaded.
    """

    def __init__(self, environment: Atari, *, features: str = "ram", decision_steps: int = 4):
        self.console = make_console(environment.task_spec.suite, environment.task_spec.task)
        self.decision_steps = decision_steps
        self._actions = environment.actions
        self.actions = len(self._actions)
        self._pressed = self._actions[0]
        self.console.reset_game()
        for _ in range(_WARM_UP_FRAMES):
            self.console.act(self._pressed)
        self._ram = np.zeros(self.console.getRAMSize(), np.uint8)
        height, width = self.console.getScreenDims()
        self._screen = np.zeros((height, width), np.uint8)
        if features not in ("ram", "tiles"):
            raise ValueError(f"emulator: features is {features!r}, expected 'ram' or 'tiles'.")
        self._tiles = TileFeatures(height, width, tile=_TILE, colours=_COLOURS) if features == "tiles" else None
        self._bytes = ByteFeatures(len(self._ram))
        self.feature_count = (self._tiles or self._bytes).count

    def read(self, live: Atari) -> ConsoleState:
        return ConsoleState(live.console.cloneState(), live.pressed)

    def clone(self) -> ConsoleState:
        return ConsoleState(self.console.cloneState(), self._pressed)

    def restore(self, state: ConsoleState) -> None:
        self.console.restoreState(state.console)
        self._pressed = state.pressed

    def step(self, action: int, generator: random.Random) -> Transition:
        console, chosen, pressed = self.console, self._actions[action], self._pressed
        act, draw, lives, reward, steps = console.act, generator.random, console.lives(), 0, 0
        lost_life = terminated = False
        while steps < self.decision_steps and not (lost_life or terminated):
            for _ in range(FRAME_SKIP):
                if draw() >= STICKY_ACTION_PROBABILITY:
                    pressed = chosen
                reward += act(pressed)
            steps += 1
            lost_life, terminated = console.lives() < lives, console.game_over()
        self._pressed = pressed
        return Transition(float(reward), steps * FRAME_SKIP, lost_life, terminated)

    def features(self) -> np.ndarray:
        if self._tiles is None:
            self.console.getRAM(self._ram)
            return self._bytes(self._ram)
        self.console.getScreen(self._screen)
        return self._tiles(self._screen >> 1)

    def fingerprint(self) -> bytes:
        self.console.getRAM(self._ram)
        return self._ram.tobytes()

    def same(self, first: ConsoleState, second: ConsoleState) -> bool:
        return first.pressed == second.pressed and first.console.equals(second.console)
