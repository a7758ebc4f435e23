"""The state that a script for Atari decides by, and names of the joystick's actions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Number = int | float | np.number


class Memory(NamedTuple):
    """Memory of the console at two steps, and the actions before.

    Attributes:
      now: Bytes of the memory, (128,) int.
      before: The same one step earlier; those of `now` at the first step.
      taken: Names of the two last actions, the latest one last.
      step: Number of steps since the start of the episode.
    """

    now: np.ndarray
    before: np.ndarray
    taken: Sequence[str]
    step: int


def joystick(right: Number, down: Number = 0, *, fire: bool | np.bool_ = False) -> str:
    """Return the name of the action that pushes the joystick to the right and down, or where negative, left and up."""
    vertical = "UP" if down < 0 else "DOWN" if down > 0 else ""
    horizontal = "LEFT" if right < 0 else "RIGHT" if right > 0 else ""
    return vertical + horizontal + ("FIRE" if fire else "") or "NOOP"


def towards(offset: Number, tolerance: Number) -> int:
    """Return the direction, 1 or -1, in which an offset shrinks; 0 within a tolerance."""
    return 0 if abs(offset) <= tolerance else 1 if offset > 0 else -1


def signed(byte: Number) -> int:
    """Return the number from -128 to 127 that a byte of memory stands for."""
    return int(byte) - 256 if byte > 127 else int(byte)


def in_turn(memory: Memory, actions: Sequence[str]) -> str:
    """Return the action whose turn it is when some are taken again and again."""
    return actions[memory.step % len(actions)]


def fire_at_intervals(memory: Memory, push: str) -> str:
    """Hold the joystick in one direction, and fire in every other step."""
    return push if "FIRE" in memory.taken[1] else f"{push}FIRE"
