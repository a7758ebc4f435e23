"""Sokoban rooms: the state of the game, its rule, and the measures that a generator and a solver share.

Sets of cells are bitmasks: bit 10 * row + column of an integer stands for the cell. The outermost cells are walls.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import numpy as np

SIDE = 10
BOXES = 4
DIRECTIONS = ("up", "down", "left", "right")  # the reverse of direction d is d ^ 1
OFFSETS = (-SIDE, SIDE, -1, 1)
UNREACHABLE = 99  # pushes, instead of infinitely many
INTERIOR = sum(1 << SIDE * row + column for row in range(1, SIDE - 1) for column in range(1, SIDE - 1))
ALL_CELLS = (1 << SIDE * SIDE) - 1
_ASSIGNMENTS = tuple(itertools.permutations(range(BOXES)))
_SYMBOLS = " #.?$?*?@?+?????"  # of the codes of `Room.codes`, as in the files of other Sokoban programs


@dataclasses.dataclass(frozen=True, slots=True)
class Room:
    """A state of the game.

    Attributes:
      walls, targets, boxes: Bitmasks of cells.
      player: Index of the player's cell, 10 * row + column.
    """

    walls: int
    targets: int
    boxes: int
    player: int

    @property
    def solved(self) -> bool:
        return self.boxes == self.targets

    @property
    def boxes_on_targets(self) -> int:
        return (self.boxes & self.targets).bit_count()

    @property
    def codes(self) -> np.ndarray:
        """Content of each cell, (10, 10) uint8: 1 for a wall + 2 for a target + 4 for a box + 8 for the player."""
        masks = (self.walls, self.targets, self.boxes, 1 << self.player)
        rows = np.frombuffer(b"".join(mask.to_bytes(16, "little") for mask in masks), np.uint8).reshape(4, 16)
        bits = np.unpackbits(rows, axis=1, count=SIDE * SIDE, bitorder="little")
        return (bits * np.array([[1], [2], [4], [8]], np.uint8)).sum(axis=0, dtype=np.uint8).reshape(SIDE, SIDE)

    def move(self, direction: int) -> Room:
        """Return the state after a step in a direction, which pushes a box if one is there; `self` if it is blocked."""
        offset = OFFSETS[direction]
        ahead, boxes = 1 << self.player + offset, self.boxes
        if ahead & self.walls:
            return self
        if ahead & boxes:
            beyond = shift(ahead, offset)
            if beyond & (self.walls | boxes):
                return self
            boxes ^= ahead | beyond
        return Room(self.walls, self.targets, boxes, self.player + offset)

    def __str__(self) -> str:
        """Return ten lines of `#` wall, `.` target, `$` box, `*` box on target, `@` player, `+` player on target."""
        return "\n".join("".join(_SYMBOLS[code] for code in row) for row in self.codes)

    @classmethod
    def from_text(cls, text: str) -> Room:
        """Return the room that `str` returned, or that another program wrote in the same symbols.

        Raises:
          ValueError: The text is not of ten by ten symbols, lacks a wall around it, or has not one player.
        """
        lines = text.strip("\n").split("\n")
        if [len(line) for line in lines] != [SIDE] * SIDE or not set("".join(lines)) <= set(_SYMBOLS) - {"?"}:
            raise ValueError(f"Room: text is {text!r}, expected ten lines of ten of the symbols ' #.$*@+'.")
        symbols = "".join(lines)
        walls, targets, boxes, players = (_mask(symbols, kinds) for kinds in ("#", ".*+", "$*", "@+"))
        if ~walls & ~INTERIOR & ALL_CELLS:
            raise ValueError(f"Room: text is {text!r}, expected walls in the first and last row and column.")
        if players.bit_count() != 1:
            raise ValueError(f"Room: number of players is {players.bit_count()}, expected 1.")
        return cls(walls, targets, boxes, players.bit_length() - 1)


def push_distances(floor: int, target: int) -> list[int]:
    """Return the number of pushes from each cell to the target for a single box, with the player wherever needed."""
    distances, front, number = [UNREACHABLE] * (SIDE * SIDE), 1 << target, 0
    seen = front
    while front:
        pulled = 0
        for cell in cells_of(front):
            distances[cell] = number
        for offset in OFFSETS:  # the box goes to the next cell, and the player, who pulls it, to the one behind that
            pulled |= shift(front, offset) & floor & shift(floor, -offset)
        front, number = pulled & ~seen, number + 1
        seen |= front
    return distances


def least_pushes(distances: Sequence[Sequence[int]], boxes: int) -> int:
    """Return the smallest sum of the distances from each box to a target of its own."""
    first, second, third, fourth = cells_of(boxes)
    return min(
        distances[a][first] + distances[b][second] + distances[c][third] + distances[d][fourth]
        for a, b, c, d in _ASSIGNMENTS
    )


def flood(start: int, free: int) -> list[int]:
    """Return bitmasks of the cells at 0, 1, 2, ... steps from the start, over free cells."""
    front = seen = 1 << start
    layers = []
    while front:
        layers.append(front)
        front = neighbours(front) & free & ~seen
        seen |= front
    return layers


def path(layers: Sequence[int], end: int) -> list[int]:
    """Return the directions of a shortest path from the start of a flood to one of its cells."""
    steps = []
    for layer in reversed(layers[: next(n for n, layer in enumerate(layers) if layer >> end & 1)]):
        direction = next(d for d, offset in enumerate(OFFSETS) if layer >> end - offset & 1)
        steps.append(direction)
        end -= OFFSETS[direction]
    return steps[::-1]


def neighbours(cells: int) -> int:
    """Return the cells beside those of a set that holds no cell of the border."""
    return cells << 1 | cells >> 1 | cells << SIDE | cells >> SIDE


def shift(cells: int, offset: int) -> int:
    """Return a set of cells moved by an offset."""
    return cells << offset if offset > 0 else cells >> -offset


def cells_of(mask: int) -> Iterator[int]:
    """Yield the indices of the cells of a set, in ascending order."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


def _mask(symbols: str, kinds: str) -> int:
    return sum(1 << cell for cell, symbol in enumerate(symbols) if symbol in kinds)
