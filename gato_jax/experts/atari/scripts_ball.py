"""Scripts for games with a ball."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping

import numpy as np

from gato_jax.experts.atari.memory import Memory, Number, in_turn, joystick, towards

_BOWLER, _BALL, _PHASE = 40, 30, 13  # row of the bowler, column of the ball, phase of a throw
_ROLLS = 5


def bowl(memory: Memory) -> str:
    """Bowl from the row from which a ball that bends once, at the right column, mostly knocks down all pins."""
    phase, offset = memory.now[_PHASE], 4 - memory.now[_BOWLER]
    if phase == 0:
        return "FIRE" if abs(offset) <= 1 else "UP" if offset > 0 else "DOWN"
    return "UP" if phase >= _ROLLS and memory.now[_BALL] >= 70 else "NOOP"


# Paddles of Pong and Breakout.
_GLIDE = np.array([0, 9, 19, 22])  # rows that the paddle moves within 0, 1, 2 and more steps after a push
_PLANS = {steps: np.array(list(itertools.product((0, 1, -1), repeat=steps))) for steps in range(1, 6)}


def _push(
    memory: Memory, paddle: Number, target: Number, steps: Number, limits: tuple[int, int], pushes: Mapping[str, int]
) -> str:
    """Return the push of a paddle after which it can be nearest to a target when the ball comes.

    The paddle glides on after a push, and so plans of pushes are compared by where the paddle ends.

    Args:
      memory: Memory of the console.
      paddle: Place of the paddle.
      target: Place where it should be.
      steps: Number of steps until the ball comes.
      limits: Smallest and largest place of the paddle.
      pushes: Direction in which each action moves it.
    """
    steps = int(max(steps, 1))
    plans = _PLANS[min(steps, 5)]
    numbers = np.arange(plans.shape[1])
    earlier, latest = (pushes.get(name, 0) for name in memory.taken)
    pending = (_GLIDE[min(steps + 1, 3)] - 9) * latest + (_GLIDE[min(steps + 2, 3)] - 19) * earlier
    ends = np.clip(paddle + pending + plans @ _GLIDE[np.minimum(steps - numbers, 3)], *limits)
    costs = abs(ends - target) + abs(plans) @ (0.3 + 0.3 * numbers)  # few pushes, and early ones
    best = plans[costs.argmin()][0]
    return next(name for name, direction in pushes.items() if direction == best)


_BALL_X, _BALL_Y, _PADDLE, _OPPONENT_X, _PADDLE_X = 49, 54, 51, 68, 188
_TOP, _BOTTOM = 44.5, 206.5  # rows at which the ball turns round
_STEEP = 8  # rows in a step of the ball after a blow with an end of the paddle
_UPPER_END, _LOWER_END = 0, 15  # rows below the top of the paddle; the ball goes up from the first, down from the other
_PUSHES = {"NOOP": 0, "LEFT": 1, "RIGHT": -1}


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
        row = _turned(row + (row - before[_BALL_Y]) * distance / speed, _TOP, _BOTTOM)
        way = (_PADDLE_X - _OPPONENT_X) / speed * _STEEP
        up, down = _last_way(way, row - _TOP), _last_way(way, _BOTTOM - row)
        target = row - (_UPPER_END if up > down else _LOWER_END)
    return _push(memory, paddle, target, steps, (38, 203), _PUSHES)


def _turned(place: Number, low: Number, high: Number) -> Number:
    """Return where a ball is that turns round at two walls, if it were at a place without them."""
    way = (place - low) % (2 * (high - low))
    return low + min(way, 2 * (high - low) - way)


def _last_way(way: Number, first: Number) -> Number:
    """Return the rows between a ball's last turn and its arrival, if it turns after the `first` ones of its way."""
    return way if way < first else (way - first) % (_BOTTOM - _TOP)


_BREAKOUT_BALL_X, _BREAKOUT_BALL_Y, _BREAKOUT_PADDLE = 99, 101, 72
_WALLS, _PADDLE_ROW, _PADDLE_MIDDLE = (57, 201), 180, 12
_BREAKOUT_PUSHES = {"NOOP": 0, "LEFT": -1, "RIGHT": 1}


def play_breakout(memory: Memory) -> str:
    """Return the ball, with the paddle where the ball will be after it has turned round at the walls."""
    now, before = memory.now, memory.before
    column, row = now[_BREAKOUT_BALL_X], now[_BREAKOUT_BALL_Y]
    if row == 0 or row > 200:
        return "FIRE"
    steps, fall = 8, row - before[_BREAKOUT_BALL_Y]
    if fall > 0 and before[_BREAKOUT_BALL_Y]:
        left = (_PADDLE_ROW - row) / fall
        steps = max(1, int(np.ceil(left)))
        column = _turned(column + (column - before[_BREAKOUT_BALL_X]) * left, *_WALLS)
    return _push(memory, now[_BREAKOUT_PADDLE], column - _PADDLE_MIDDLE, steps, (55, 191), _BREAKOUT_PUSHES)


_SIDE, _SHADOW_Y, _TENNIS_BALL_X = 80, 55, 16  # the side is 0 while the player is at the top
_AT_THE_NET = 95
_TO_THE_LEFT, _TO_THE_RIGHT = 2, 12  # columns from player to ball at which a blow sends it far to one side


def play_tennis(memory: Memory) -> str:
    """Go to meet the ball, and send it back far to the side on which it is, where the opponent comes too late."""
    now, at_top = memory.now, memory.now[_SIDE] == 0
    column, row = (now[26], now[24]) if at_top else (now[27], now[25])
    ball = now[_TENNIS_BALL_X]
    if ball <= 2:  # before a serve
        return "NOOP" if "FIRE" in memory.taken[1] else "FIRE"
    rise = now[_SHADOW_Y] - memory.before[_SHADOW_Y]
    comes = rise > 0 if at_top else rise < 0
    target = now[_SHADOW_Y] if comes else _AT_THE_NET if at_top else 120 - _AT_THE_NET
    offset = ball - column - (_TO_THE_RIGHT if ball < 75 else _TO_THE_LEFT)
    return joystick(towards(offset, 2), -towards(target - row, 3), fire=True)


_PINBALL = (*["DOWN"] * 10, "FIRE", *["UP", "NOOP"] * 10)  # pull the plunger and release it, then move both flippers

SCRIPTS = {
    "bowling": bowl,
    "breakout": play_breakout,
    "pong": play_pong,
    "tennis": play_tennis,
    "video_pinball": functools.partial(in_turn, actions=_PINBALL),
}
