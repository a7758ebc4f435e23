"""Scripts for games in which opponents are hit or shot."""

from __future__ import annotations

import functools

from gato_jax.experts.atari.memory import Memory, fire_at_intervals, in_turn, joystick, towards


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


_CANNONS = ("LEFTFIRE", "NOOP", "RIGHTFIRE", "NOOP")  # of Atlantis

_SHOOTER_X, _SEGMENT_ROWS, _SEGMENT_COLUMNS = 111, slice(91, 100), slice(100, 109)


def shoot_the_centipede(memory: Memory) -> str:
    """Stay below the lowest segment of the centipede, and fire always."""
    now = memory.now
    lowest = now[_SEGMENT_COLUMNS][now[_SEGMENT_ROWS].argmin()]
    return joystick(towards(lowest - now[_SHOOTER_X], 3), fire=True)


_TARGET_X, _TARGET_FAR, _TARGET_SIZE = 32, 33, 37  # the second is not 0 while the tank is out of sight
_SIGHT = 80


def shoot_tanks(memory: Memory) -> str:
    """Turn until a tank is in sight, aim, and fire in every other step."""
    now = memory.now
    offset = now[_TARGET_X] - _SIGHT
    if now[_TARGET_SIZE] > 63 and not now[_TARGET_FAR] and abs(offset) < 60:
        return joystick(towards(offset, 4), fire="FIRE" not in memory.taken[1])
    return fire_at_intervals(memory, "RIGHT")


_GUNNER_X, _GUNNER_Y, _LAST_ALIEN, _ALIENS_Y, _ALIENS_X = 21, 14, 15, slice(71, 74), slice(74, 77)
_SHOT_FROM, _TOO_NEAR = 30, 18  # columns


def shoot_aliens(memory: Memory) -> str:
    """Go to the row of the nearest alien, a little beside it, fire in every other step, and flee when it is near."""
    now = memory.now
    aliens = zip(now[_ALIENS_X][: now[_LAST_ALIEN] + 1], now[_ALIENS_Y], strict=False)
    offsets = [(x - now[_GUNNER_X], y - now[_GUNNER_Y]) for x, y in aliens if x]
    fire = "FIRE" not in memory.taken[1]
    if not offsets:
        return "FIRE" if fire else "NOOP"
    right, down = min(offsets, key=lambda offset: (abs(offset[0]), offset[1]))
    if abs(right) < _TOO_NEAR and abs(down) < _TOO_NEAR:
        return joystick(-towards(right, 0), -1 if down > 0 else 1, fire=fire)
    return joystick(towards(right, _SHOT_FROM), towards(down, 2), fire=fire)


SCRIPTS = {
    "atlantis": functools.partial(in_turn, actions=_CANNONS),
    "boxing": box,
    "centipede": shoot_the_centipede,
    "kung_fu_master": kick,
    "robotank": shoot_tanks,
    "star_gunner": shoot_aliens,
}
