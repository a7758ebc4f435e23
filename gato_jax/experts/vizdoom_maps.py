"""Shortest ways on the map of a ViZDoom level, around its walls and around places to keep away from."""

from __future__ import annotations

import heapq
import math

import numpy as np

_CELL = 32.0  # units of the map
_CLEARANCE = 22.0  # from a wall; the player's radius is 16
_NEIGHBOURS = [(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1) if x or y]


class Map:
    """A grid over a level, whose cells are free or not.

    Args:
      walls: Ends of the walls, (n, 4).
      avoided: Places to keep away from, (m, 2).
      radius: Distance to keep from these.
    """

    def __init__(self, walls: np.ndarray, avoided: np.ndarray, radius: float):
        ends = walls.reshape(-1, 2)
        self._low = ends.min(axis=0)
        width, height = np.ceil((ends.max(axis=0) - self._low) / _CELL).astype(int) + 1
        x, y = np.mgrid[:width, :height]
        places = self._low + _CELL * (np.stack([x, y], axis=-1) + 0.5)
        free = np.ones((width, height), bool)
        for wall in walls:
            free &= _distances(places, wall) > _CLEARANCE
        for place in avoided.reshape(-1, 2):
            free &= np.linalg.norm(places - place, axis=-1) > radius
        self._free = free

    def next_place(self, start: np.ndarray, goal: np.ndarray, ahead: int = 2) -> np.ndarray:
        """Return a place some cells ahead on a shortest way, or the goal if it is nearer or has no way."""
        cells = self._path(self._cell(start), self._cell(goal))
        if len(cells) <= ahead + 1:
            return goal
        return self._low + _CELL * (np.array(cells[ahead]) + 0.5)

    def _cell(self, place: np.ndarray) -> tuple[int, int]:
        x, y = np.clip(((place - self._low) / _CELL).astype(int), 0, np.array(self._free.shape) - 1)
        return int(x), int(y)

    def _path(self, start: tuple[int, int], goal: tuple[int, int]) -> list[tuple[int, int]]:
        """Return the cells of a shortest way, which may leave and enter cells that are not free at its ends."""
        costs, before, queue = {start: 0.0}, dict[tuple[int, int], tuple[int, int]](), [(0.0, start)]
        while queue:
            cost, cell = heapq.heappop(queue)
            if cell == goal:
                cells = [cell]
                while cells[-1] in before:
                    cells.append(before[cells[-1]])
                return cells[::-1]
            if cost > costs[cell]:
                continue
            for x, y in _NEIGHBOURS:
                after = cell[0] + x, cell[1] + y
                if not (0 <= after[0] < self._free.shape[0] and 0 <= after[1] < self._free.shape[1]):
                    continue
                blocked = not self._free[after] and after != goal
                total = cost + math.hypot(x, y) + (30.0 if blocked else 0.0)
                if total < costs.get(after, math.inf):
                    costs[after], before[after] = total, cell
                    heapq.heappush(queue, (total, after))
        return []


def _distances(places: np.ndarray, wall: np.ndarray) -> np.ndarray:
    """Return the distances (...) of places (..., 2) from a wall (4,)."""
    start, along = wall[:2], wall[2:] - wall[:2]
    length = float(along @ along)
    share = np.clip(((places - start) @ along) / length, 0.0, 1.0) if length else np.zeros(places.shape[:-1])
    return np.linalg.norm(places - start - share[..., None] * along, axis=-1)
