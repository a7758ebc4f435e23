"""Scripts for games in which a way has to be found between cars or gates."""

from __future__ import annotations

import functools

import numpy as np

from gato_jax.experts.atari.memory import Memory, in_turn, joystick, signed, towards

# Columns in four frames of the cars of each lane, from the lowest lane to the highest, in the game's first mode.
_CAR_SPEEDS = 4 * np.array([1 / 5, 1 / 4, 1 / 3, 1 / 2, 1, -1, -1 / 2, -1 / 3, -1 / 4, -1 / 5])
_ROAD = 160
_CARS, _CHICKEN = slice(108, 118), 14
_CHICKEN_ROWS = np.arange(6, 190, 4)  # where a chicken may be that walks by 4 a step
_STEPS_AHEAD = 60


def cross_the_road(memory: Memory) -> str:
    """Take the first step of the quickest way across the road on which no car comes close."""
    steps, lanes = np.arange(1, _STEPS_AHEAD)[:, None], np.arange(10)
    columns = (memory.now[_CARS] + steps * _CAR_SPEEDS) % _ROAD
    blocked = (columns > 34) & (columns < 56)
    in_lane = (_CHICKEN_ROWS[:, None] > 9 + 16 * lanes) & (_CHICKEN_ROWS[:, None] < 33 + 16 * lanes)
    free = ~(blocked @ in_lane.T)
    row = int(np.clip((memory.now[_CHICKEN] - 4) // 4, 0, len(_CHICKEN_ROWS) - 2))
    arrivals = {name: _arrival(free, max(row + move, 0)) for name, move in (("UP", 1), ("NOOP", 0), ("DOWN", -1))}
    return min(arrivals, key=lambda name: arrivals[name])


def _arrival(free: np.ndarray, row: int) -> int:
    """Return the number of steps until a chicken arrives; more than `_STEPS_AHEAD`, the fewer the later it is hit.

    Args:
      free: Whether no car is near, (steps, rows).
      row: Index of the row after the first step.
    """
    reached = np.zeros(len(_CHICKEN_ROWS), bool)
    reached[row] = True
    for step, safe in enumerate(free):
        reached &= safe
        if not reached.any():
            return 2 * _STEPS_AHEAD - step
        if _CHICKEN_ROWS[reached].max() >= 174:
            return step
        reached = reached | np.append(False, reached[:-1]) | np.append(reached[1:], False)
    return _STEPS_AHEAD


_SKIER_X, _DIRECTION = 25, 15  # the direction, 0 to 15, was found by playing; 8 is straight down
_GATE, _GATE_MIDDLE, _SKIER_Y = 2, 14, 44


def ski(memory: Memory) -> str:
    """Ski towards the middle of the next gate, at most three of the game's directions off the straight line."""
    kinds, columns, rows = memory.now[70:78], memory.now[62:70], 178 - memory.now[86:94]
    gates = [(row, column) for row, column, kind in zip(rows, columns, kinds, strict=True) if kind == _GATE]
    ahead = [column for row, column in sorted(gates) if row > _SKIER_Y]
    offset = ahead[0] + _GATE_MIDDLE - memory.now[_SKIER_X] if ahead else 0
    wanted = 8 + int(np.clip(round(0.1 * offset), -3, 3))
    direction = memory.now[_DIRECTION]
    return "NOOP" if direction == wanted else "LEFT" if direction > wanted else "RIGHT"


_DRIVER, _RIVALS = 46, slice(27, 34)  # signed column, to the left; the cars ahead, the nearest one first
_LANES = {"left": 16, "middle": 0, "right": -16}
_CARS_AHEAD = 6


def drive(memory: Memory) -> str:
    """Accelerate always, in the lane in which the next car is farthest, the nearer lane of two alike."""
    column, nearest = signed(memory.now[_DRIVER]), dict.fromkeys(_LANES, _CARS_AHEAD)
    for distance, car in reversed(list(enumerate(memory.now[_RIVALS]))):
        if car:
            lane = "middle" if not car & 16 else "right" if car & 1 else "left"
            nearest[lane] = min(distance, _CARS_AHEAD)
    best = max(_LANES, key=lambda lane: 10 * nearest[lane] - 0.3 * abs(column - _LANES[lane]))
    return {0: "FIRE", 1: "LEFTFIRE", -1: "RIGHTFIRE"}[towards(_LANES[best] - column, 2)]


_RUNNER_Y, _LANES_OF_SEEDS, _SEEDS = 3, slice(36, 40), 31
_SEED_ROWS = (46, 32, 18, 5)  # rows of the runner at which it picks up the seeds of each lane


def run_for_seeds(memory: Memory) -> str:
    """Run to the left always, in the highest lane with seeds."""
    lanes = np.flatnonzero(memory.now[_LANES_OF_SEEDS] == _SEEDS)
    row = _SEED_ROWS[lanes[-1]] if lanes.size else memory.now[_RUNNER_Y]
    return joystick(-1, towards(row - memory.now[_RUNNER_Y], 4))


# Pull the hands down and stretch them, and change the column of windows now and then, as one of them may be closed.
_STRETCHES = (*["UP"] * 3, *["DOWN"] * 3) * 8
_CLIMB = (*_STRETCHES, *["RIGHT"] * 12, *_STRETCHES, *["LEFT"] * 12)

SCRIPTS = {
    "crazy_climber": functools.partial(in_turn, actions=_CLIMB),
    "enduro": drive,
    "freeway": cross_the_road,
    "road_runner": run_for_seeds,
    "skiing": ski,
}
