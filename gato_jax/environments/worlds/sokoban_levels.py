"""Sokoban levels: a generator by reverse play, with three grades of difficulty.

A level begins as its own solution: the boxes stand on their targets and are pulled away, one after the other. Every
state that is reached in this way can be solved, by pushing them back. The generator knows these pushes: each level
comes with a solution of at most 120 moves, not the shortest one. The room is carved by a random walk, so that its
floor is connected.

Sets of cells are bitmasks, as in `sokoban_rooms`.
"""

from __future__ import annotations

import dataclasses
import functools
import random
from collections.abc import Sequence

from gato_jax.environments.worlds.sokoban_rooms import (
    ALL_CELLS,
    BOXES,
    INTERIOR,
    OFFSETS,
    SIDE,
    Room,
    cells_of,
    flood,
    least_pushes,
    neighbours,
    path,
    push_distances,
    shift,
)

MAX_MOVES = 120
_STAMPS = ((0,), (0, 1), (0, SIDE), (0, 1, SIDE), (0, 1, SIDE, SIDE + 1))  # offsets of the cells that one step carves


@dataclasses.dataclass(frozen=True, kw_only=True)
class Level:
    """A level: its first state, and directions that solve it."""

    room: Room
    solution: tuple[int, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grade:
    """Difficulty of levels.

    Attributes:
      pushes: Range of the lower bound of pushes: the sum of the distances from each box to a target of its own, as if
        the others were not there.
      carving_steps: Number of steps of the random walk that carves the room.
      floor: Range of the number of cells without wall.
      adjacent_targets: True if the targets form one group, where the boxes are in each other's way.
      plays: Number of reverse plays, the best of which is taken.
    """

    pushes: range
    carving_steps: int
    floor: range
    adjacent_targets: bool
    plays: int


GRADES = {
    "easy": Grade(pushes=range(4, 9), carving_steps=34, floor=range(16, 65), adjacent_targets=False, plays=1),
    "medium": Grade(pushes=range(10, 17), carving_steps=34, floor=range(20, 65), adjacent_targets=False, plays=4),
    "hard": Grade(pushes=range(20, 99), carving_steps=60, floor=range(34, 65), adjacent_targets=True, plays=8),
}


@dataclasses.dataclass(frozen=True, slots=True)
class _Pull:
    """One pull of a reverse play.

    Attributes:
      boxes: Bitmask of the boxes before the pull.
      player: Cell of the player before it walks to the box.
      stand: Cell next to the box, from which the player steps away from it, in `direction`; the box takes this cell.
      direction: Index of DIRECTIONS.
    """

    boxes: int
    player: int
    stand: int
    direction: int

    @property
    def boxes_after(self) -> int:
        return self.boxes ^ (1 << self.stand) ^ (1 << self.stand - OFFSETS[self.direction])

    @property
    def player_after(self) -> int:
        return self.stand + OFFSETS[self.direction]


def generate(seed: int, name: str) -> Level:
    """Return the level of a seed in the grade `name`, a key of GRADES; the same seed is another level in each grade."""
    generator = random.Random(f"{name} {seed}")  # of its methods only `random` is the same in all Python versions
    grade = GRADES[name]
    while True:
        floor = _carve(generator, grade)
        targets = _choose_targets(generator, floor, grade) if floor.bit_count() in grade.floor else ()
        if len(targets) == BOXES:
            distances = [push_distances(floor, target) for target in targets]
            plays = [_play_in_reverse(generator, floor, targets, distances, grade) for _ in range(grade.plays)]
            bound, pulls = max(plays, key=lambda play: play[0])
            if bound in grade.pushes:
                return _level(generator, floor, targets, pulls)


def _carve(generator: random.Random, grade: Grade) -> int:
    """Return the floor, as a bitmask: the cells around a random walk that often goes straight on."""
    row, column, floor = 1 + _below(generator, SIDE - 2), 1 + _below(generator, SIDE - 2), 0
    step = (0, 1)
    for _ in range(grade.carving_steps):
        if generator.random() < 0.35:
            step = ((-1, 0), (1, 0), (0, -1), (0, 1))[_below(generator, 4)]
        row, column = (min(max(at + by, 1), SIDE - 2) for at, by in zip((row, column), step, strict=True))
        for offset in _STAMPS[_below(generator, len(_STAMPS))]:
            floor |= 1 << SIDE * row + column + offset
    return floor & INTERIOR


def _choose_targets(generator: random.Random, floor: int, grade: Grade) -> tuple[int, ...]:
    """Return cells for the targets, fewer than BOXES if there is no room for more."""
    targets = 0
    for _ in range(BOXES):
        free = floor & ~targets
        if targets and grade.adjacent_targets:
            free &= neighbours(targets)
        if free:
            targets |= 1 << _choose(generator, list(cells_of(free)))
    return tuple(cells_of(targets))


def _play_in_reverse(
    generator: random.Random, floor: int, targets: tuple[int, ...], distances: Sequence[Sequence[int]], grade: Grade
) -> tuple[int, list[_Pull]]:
    """Pull the boxes away from their targets at random, mostly further away.

    Returns:
      The lower bound of pushes of the hardest state of the play that is within the grade, with no box on a target, and
      the pulls that lead to it; 0 and no pulls if there is none.
    """
    on_targets = boxes = functools.reduce(lambda mask, target: mask | 1 << target, targets, 0)
    player = _choose(generator, list(cells_of(floor & ~boxes)))
    pulls, moves, bound, best, best_length = [], 0, 0, 0, 0
    for _ in range(MAX_MOVES):
        layers = flood(player, floor & ~boxes)
        pull = _choose_pull(generator, boxes, player, floor, layers, pulls)
        if pull is None:
            break
        next_bound = least_pushes(distances, pull.boxes_after)
        if next_bound < bound and generator.random() > 0.15:
            continue
        # In the solution the first pull is the last push, after which nobody walks.
        moves += 1 + (next(n for n, layer in enumerate(layers) if layer >> pull.stand & 1) if pulls else 0)
        if moves > MAX_MOVES:
            break
        pulls.append(pull)
        boxes, player, bound = pull.boxes_after, pull.player_after, next_bound
        if not boxes & on_targets and bound in grade.pushes and bound >= best:
            best, best_length = bound, len(pulls)
    return best, pulls[:best_length]


def _choose_pull(
    generator: random.Random, boxes: int, player: int, floor: int, layers: Sequence[int], pulls: Sequence[_Pull]
) -> _Pull | None:
    """Return a pull that the player can reach, often the last one's continuation, never its reverse; None if none."""
    free, reach = floor & ~boxes, functools.reduce(int.__or__, layers)
    found = [
        _Pull(boxes, player, stand, direction)
        for direction, offset in enumerate(OFFSETS)
        for stand in cells_of(reach & shift(boxes, offset) & shift(free, -offset))
    ]
    if pulls:
        last = pulls[-1]
        found = [pull for pull in found if pull.boxes_after != last.boxes]
        if generator.random() < 0.6:
            found = [p for p in found if (p.stand, p.direction) == (player, last.direction)] or found
    return _choose(generator, found) if found else None


def _level(generator: random.Random, floor: int, targets: tuple[int, ...], pulls: Sequence[_Pull]) -> Level:
    """Return the level that a reverse play leads to, with the player anywhere within reach."""
    steps: list[int] = []
    for pull in pulls:
        if steps:
            steps += path(flood(pull.player, floor & ~pull.boxes), pull.stand)
        steps.append(pull.direction)
    boxes, player = pulls[-1].boxes_after, pulls[-1].player_after
    layers = flood(player, floor & ~boxes)[: MAX_MOVES - len(steps) + 1]
    start = _choose(generator, list(cells_of(functools.reduce(int.__or__, layers))))
    steps += path(layers, start)
    room = Room(~floor & ALL_CELLS, functools.reduce(lambda mask, cell: mask | 1 << cell, targets, 0), boxes, start)
    return Level(room=room, solution=tuple(step ^ 1 for step in reversed(steps)))


def _below(generator: random.Random, limit: int) -> int:
    return int(generator.random() * limit)


def _choose(generator: random.Random, items: Sequence):
    return items[_below(generator, len(items))]
