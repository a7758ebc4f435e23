"""Scripts for games in which the planner is weak; they read positions from the console's memory.

Addresses in memory are those of AtariARI (arXiv 1906.08226) and OCAtari (arXiv 2306.08649), unless a comment says that
they were found by playing. Speeds and distances were found by playing, too. A script is the expert of a game
only because it scores more than the planner: `python -m experiments.atari_players` compares them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import dm_env
import numpy as np

from gato_jax.environments.suites.atari import Atari
from gato_jax.experts.base import Expert
from gato_jax.rollouts import Action


class Memory(NamedTuple):
    """Memory of the console at two steps, and the actions before.

    Attributes:
      now: Bytes of the memory, (128,) int.
      before: The same one step earlier; those of `now` at the first step.
      taken: Names of the two last actions, the latest one last.
    """

    now: np.ndarray
    before: np.ndarray
    taken: Sequence[str]


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
        self._before, self._taken = _read(environment), ["NOOP", "NOOP"]

    def act(self, environment: Atari, timestep: dm_env.TimeStep) -> Action:
        now = _read(environment)
        name = self._choose(Memory(now, self._before, self._taken))
        self._before, self._taken = now, [self._taken[1], name]
        return {"action": np.asarray(self._names.index(name))}

    def acted(self, action: Action) -> None:
        self._taken[1] = self._names[int(action["action"])]


def _read(environment: Atari) -> np.ndarray:
    return environment.console.getRAM().astype(int)


_BOWLER, _BALL, _PHASE = 40, 30, 13  # row of the bowler, column of the ball, phase of a throw
_ROLLS = 5


def bowl(memory: Memory) -> str:
    """Bowl from the row from which a ball that bends once, at the right column, mostly knocks down all pins."""
    phase, offset = memory.now[_PHASE], 4 - memory.now[_BOWLER]
    if phase == 0:
        return "FIRE" if abs(offset) <= 1 else "UP" if offset > 0 else "DOWN"
    return "UP" if phase >= _ROLLS and memory.now[_BALL] >= 70 else "NOOP"


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


def kick(memory: Memory) -> str:
    """Wait for those who come, and kick to the left in every third step, from a crouch, where few blows land."""
    return "DOWN" if any("FIRE" in name for name in memory.taken) else "DOWNLEFTFIRE"


_BALL_X, _BALL_Y, _PADDLE, _OPPONENT_X, _PADDLE_X = 49, 54, 51, 68, 188
_TOP, _BOTTOM = 44.5, 206.5  # rows at which the ball turns round
_STEEP = 8  # rows in a step of the ball after a blow with an end of the paddle
_UPPER_END, _LOWER_END = 0, 15  # rows below the top of the paddle; the ball goes up from the first, down from the other
_GLIDE = np.array([0, 9, 19, 22])  # rows that the paddle moves within 0, 1, 2 and more steps after a push
_PUSHES = {"NOOP": 0, "LEFT": 1, "RIGHT": -1}
_PLANS = {steps: np.array(list(itertools.product((0, 1, -1), repeat=steps))) for steps in range(1, 6)}


def play_pong(memory: Memory) -> str:
    """Return the ball steeply, with the end of the paddle that sends it the longest way before it meets the opponent.

    The opponent is a little slower than a steep ball, so that he misses balls that do not turn round near him. The
    paddle glides on after a push, and so plans of pushes are compared by where it will be when the ball comes.
    """
    now, before = memory.now, memory.before
    row, column, paddle = now[_BALL_Y], now[_BALL_X], now[_PADDLE]
    if row == 0:
        return "FIRE"
    speed, target, steps = column - before[_BALL_X], 124.0, 9
    if before[_BALL_Y] and 0 < speed < 40:
        distance = max(0, _PADDLE_X - column)
        steps = max(1, -(-distance // speed))
        row = _turned(row + (row - before[_BALL_Y]) * distance / speed)
        way = (_PADDLE_X - _OPPONENT_X) / speed * _STEEP
        up, down = _last_way(way, row - _TOP), _last_way(way, _BOTTOM - row)
        target = row - (_UPPER_END if up > down else _LOWER_END)
    plans = _PLANS[min(steps, 5)]
    numbers = np.arange(plans.shape[1])
    earlier, latest = (_PUSHES.get(name, 0) for name in memory.taken)
    pending = (_GLIDE[min(steps + 1, 3)] - 9) * latest + (_GLIDE[min(steps + 2, 3)] - 19) * earlier
    ends = np.clip(paddle + pending + plans @ _GLIDE[np.minimum(steps - numbers, 3)], 38, 203)
    costs = abs(ends - target) + abs(plans) @ (0.3 + 0.3 * numbers)  # few pushes, and early ones
    return list(_PUSHES)[plans[costs.argmin()][0]]


def _turned(row: float) -> float:
    """Return where a ball is that turns round at top and bottom, if it were at a row without them."""
    span = _BOTTOM - _TOP
    way = (row - _TOP) % (2 * span)
    return _TOP + min(way, 2 * span - way)


def _last_way(way: float, first: float) -> float:
    """Return the rows between a ball's last turn and its arrival, if it turns after the `first` ones of its way."""
    return way if way < first else (way - first) % (_BOTTOM - _TOP)


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


SCRIPTS: dict[str, Callable[[Memory], str]] = {
    "bowling": bowl,
    "freeway": cross_the_road,
    "kung_fu_master": kick,
    "pong": play_pong,
    "skiing": ski,
}
