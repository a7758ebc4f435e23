"""Scripts for games in which opponents are hit or shot."""

from __future__ import annotations

import functools

from gato_jax.experts.atari.memory import Memory, joystick, towards


def kick(memory: Memory) -> str:
    """Wait for those who come, and kick to the left in every third step, from a crouch, where few blows land."""
    return "DOWN" if any("FIRE" in name for name in memory.taken) else "DOWNLEFTFIRE"


_BOXER_X, _RIVAL_X, _BOXER_Y, _RIVAL_Y = 32, 33, 34, 35
_ARM_LENGTH, _ARM_ROW = 20, 12  # columns and rows from boxer to boxer at which a blow lands and few come back


def box(memory: Memory) -> str:
    """Go to where the upper arm reaches the opponent's head, and strike in every other step."""
    now = memory.now
    across, down = now[_RIVAL_X] - now[_BOXER_X], now[_RIVAL_Y] - now[_BOXER_Y] + _ARM_ROW
    near = abs(across) <= _ARM_LENGTH + 6 and abs(down) <= 5
    return joystick(towards(across, _ARM_LENGTH), towards(down, 1), fire=near and "FIRE" not in memory.taken[1])


def _fire_at_intervals(memory: Memory, push: str) -> str:
    """Hold the joystick in one direction, and fire in every other step."""
    return push if memory.taken[1] == f"{push}FIRE" else f"{push}FIRE"


SCRIPTS = {
    "boxing": box,
    "jamesbond": functools.partial(_fire_at_intervals, push="UP"),
    "krull": functools.partial(_fire_at_intervals, push="DOWNRIGHT"),
    "kung_fu_master": kick,
}
