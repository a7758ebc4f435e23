"""Sokoban: boxes to push onto targets, in generated rooms of 10x10 cells with four boxes.

The observation is an image of the room, 16x16 pixels for each cell. The four actions are the directions of a step,
which pushes a box if the cell behind it is free; a blocked step changes nothing. As in gym-sokoban and Boxoban, a
step costs 0.1, a box earns 1 when it gets onto a target and loses 1 when it leaves one, and the last one earns 10
more and ends the episode; otherwise it is cut off after 120 steps. The score is the success, as the field reports the
share of levels solved; returns differ with the length of the solutions.

The tasks are grades of difficulty. Boxes of `easy` are at least 4 to 8 pushes away from their targets, those of
`medium` 10 to 16, and those of `hard` 20 or more, where the targets are adjacent to each other and the rooms larger.
The paper's one task had Boxoban's levels, which are not generated here: `medium` stands for it, as its targets are
also scattered over a room of the same size and kind.
"""

from __future__ import annotations

import numpy as np

from gato_jax.environments.base import Environment, Outcome
from gato_jax.environments.suite import Suite
from gato_jax.environments.worlds.sokoban_levels import GRADES, MAX_MOVES, Level, generate
from gato_jax.environments.worlds.sokoban_rooms import DIRECTIONS, SIDE, Room
from gato_jax.episodes import Discrete, Image, TaskSpec

TILE = 16  # pixels along the side of a cell
STEP_REWARD, BOX_REWARD, SOLVED_REWARD = -0.1, 1.0, 10.0

_MORTAR, _BRICK = (88, 52, 44), (150, 84, 62)
_FLOOR, _GRAIN = (214, 203, 178), (200, 188, 162)
_TARGET = (214, 48, 49)
_CRATE, _FRAME, _CRATE_ON_TARGET, _FRAME_ON_TARGET = (196, 136, 60), (112, 70, 24), (92, 168, 84), (36, 92, 40)
_HEAD, _BODY = (244, 206, 166), (44, 98, 190)


def spec(task: str) -> TaskSpec:
    """Return the TaskSpec of a grade: `easy`, `medium` or `hard`."""
    return TaskSpec(
        suite="sokoban",
        task=task,
        observation={"image": Image(height=SIDE * TILE, width=SIDE * TILE)},
        action={"action": Discrete(n=len(DIRECTIONS))},
        metric="success",
        max_steps=MAX_MOVES,
    )


class Sokoban(Environment):
    """An environment of one grade.

    Attributes:
      level: Level of the episode, which has one of its solutions; that of seed 0 before the first reset.
      room: Current state of the level, for solvers and planners.
    """

    level: Level
    room: Room

    def __init__(self, task: str):
        super().__init__(spec(task))
        self._start(seed=0)

    def _start(self, seed: int) -> dict[str, np.ndarray]:
        self.level = generate(seed, self.task_spec.task)
        self.room = self.level.room
        return {"image": draw(self.room)}

    def _advance(self, action: dict[str, np.ndarray]) -> Outcome:
        before, self.room = self.room, self.room.move(int(action["action"]))
        solved = self.room.solved
        reward = STEP_REWARD + BOX_REWARD * (self.room.boxes_on_targets - before.boxes_on_targets)
        return Outcome(
            observation={"image": draw(self.room)},
            reward=reward + SOLVED_REWARD * solved,
            terminated=solved,
            success=solved,
        )

    @property
    def action_names(self) -> tuple[str, ...]:
        return DIRECTIONS

    def render(self) -> np.ndarray:
        return draw(self.room)


def draw(room: Room) -> np.ndarray:
    """Return an image of the room, (160, 160, 3) uint8."""
    tiles = _TILES[room.codes]  # (row, column, y, x, colour)
    return tiles.transpose(0, 2, 1, 3, 4).reshape(SIDE * TILE, SIDE * TILE, 3)


def _draw_tiles() -> np.ndarray:
    """Return images of the contents of a cell, by the codes of `Room.codes`, (16, 16, 16, 3) uint8."""
    tiles = np.zeros((16, TILE, TILE, 3), np.uint8)
    y, x = np.mgrid[:TILE, :TILE]
    for code in range(16):
        wall, target, box, player = (bool(code >> bit & 1) for bit in range(4))
        tile = tiles[code]
        tile[:] = _FLOOR
        tile[(3 * x + 5 * y) % 11 == 0] = _GRAIN
        if wall:
            shifted = (x + np.where(y // 4 % 2, 4, 0)) % 8
            tile[:] = _BRICK
            tile[(y % 4 == 3) | (shifted == 7)] = _MORTAR
        if target:
            tile[abs(x - 7.5) + abs(y - 7.5) <= 5] = _TARGET
            tile[abs(x - 7.5) + abs(y - 7.5) <= 2] = _FLOOR
        if box:
            inside = (abs(x - 7.5) < 7) & (abs(y - 7.5) < 7)
            edge = inside & ((abs(x - 7.5) > 5) | (abs(y - 7.5) > 5) | (abs(x - y) < 2) | (abs(x + y - 15) < 2))
            tile[inside] = _CRATE_ON_TARGET if target else _CRATE
            tile[edge] = _FRAME_ON_TARGET if target else _FRAME
        if player:
            tile[(abs(x - 7.5) < 4) & (y >= 7) & (y < 15)] = _BODY
            tile[np.hypot(x - 7.5, y - 4.5) < 3.6] = _HEAD
    return tiles


_TILES = _draw_tiles()

SUITE = Suite(
    name="sokoban",
    tasks=tuple(GRADES),
    packages={"gato_jax": "gato_jax"},
    licence="Apache-2.0",
    spec=spec,
    load=Sokoban,
)
