"""The geometry of a level of MiniWorld as its experts see it: free places, and distances around walls and objects.

Places are (x, z) in metres on the floor. A direction is MiniWorld's `dir` in radians; the agent moves along
(cos, -sin) of it.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

_CELL = 0.1  # side of a cell of the grid in metres
_MARGIN = 0.02  # distance in metres that paths on the grid keep from collisions
_ROUNDING = 1e-6  # distance in metres that covers the rounding of sums of steps
_AROUND = 2  # cells of padding around the grid
_HOPS = 6  # number of cells ahead on a shortest path by which its direction is told
_LINKS = ((1, 0), (0, 1), (1, 1), (1, -1), (2, 1), (1, 2), (2, -1), (1, -2))  # half of a cell's 16 neighbours


@dataclasses.dataclass(frozen=True)
class Disc:
    """A round place: an object on the floor, or the places from which one can be reached.

    Attributes:
      centre: Its middle, (2,).
      radius: Its radius in metres.
    """

    centre: np.ndarray
    radius: float


def floor(position: Any) -> np.ndarray:
    """Return the place (2,) of a position (x, y, z)."""
    return np.asarray(position, np.float64)[[0, 2]]


def forward(directions: np.ndarray) -> np.ndarray:
    """Return the unit vectors (..., 2) of movement for directions (...)."""
    return np.stack([np.cos(directions), -np.sin(directions)], axis=-1)


class Map:
    """Walls, forbidden rooms and objects of a level, for a round body.

    Args:
      level: MiniWorld's environment, which is only read.
      radius: Radius of the body in metres.
      objects: Objects that the body may not touch.
      forbidden: Rooms that the middle of the body may not enter.
    """

    def __init__(self, level: Any, radius: float, objects: list[Disc], forbidden: tuple[Any, ...] = ()):
        self._radius = radius
        self._walls = level.wall_segs[:, :, [0, 2]]
        self._objects = objects
        self._forbidden = [(room.outline[:, [0, 2]], room.edge_norms[:, [0, 2]]) for room in forbidden]
        self._low = np.array([level.min_x, level.min_z])
        self._shape = tuple(np.ceil((np.array([level.max_x, level.max_z]) - self._low) / _CELL).astype(int) + 1)

    def free(self, places: np.ndarray) -> np.ndarray:
        """Return whether the body stands free at each of the places (..., 2)."""
        free = self._off_objects(places, _ROUNDING)
        reach = self._radius + _ROUNDING
        low, high = (extreme(places.reshape(-1, 2), axis=0) for extreme in (np.min, np.max))
        near = (self._walls.max(axis=1) > low - reach).all(axis=1) & (self._walls.min(axis=1) < high + reach).all(
            axis=1
        )
        for start, end in self._walls[near]:
            free &= _distances(places, start, end) >= reach
        return free

    def distances_to(self, goals: list[Disc]) -> Distances:
        """Return the lengths of the shortest free paths to any of some round goals, which may hold objects."""
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import dijkstra

        places = self._low + np.moveaxis(np.indices(self._shape), 0, -1) * _CELL
        inside = np.zeros(self._shape, bool)
        for goal in goals:
            from_centre = np.linalg.norm(places - goal.centre, axis=-1)
            inside |= from_centre <= max(goal.radius, from_centre.min())
        passable = inside | (self._off_objects(places, _MARGIN) & self._off_walls(places))
        numbers = np.arange(passable.size).reshape(self._shape)
        tails, heads, lengths = [], [], []
        for step in _LINKS:
            here, there = _pairs(numbers, step)
            linked = passable.flat[here] & passable.flat[there]
            tails.append(here[linked])
            heads.append(there[linked])
            lengths.append(np.full(linked.sum(), np.hypot(*step) * _CELL))
        edges = (np.concatenate(lengths), (np.concatenate(tails), np.concatenate(heads)))
        graph = csr_array(edges, shape=(passable.size, passable.size))
        found, towards, _ = dijkstra(
            graph, directed=False, indices=numbers[inside], return_predecessors=True, min_only=True
        )
        onward = np.where(towards < 0, numbers.ravel(), towards)  # the goal and cells without a path lead to themselves
        ahead = numbers.ravel()
        for _ in range(_HOPS):
            ahead = onward[ahead]
        return Distances(found.reshape(self._shape), places.reshape(-1, 2)[ahead].reshape(places.shape), self._low)

    def _off_objects(self, places: np.ndarray, margin: float) -> np.ndarray:
        """Return whether the body is clear of objects and forbidden rooms at each of the places (..., 2)."""
        free = np.ones(places.shape[:-1], bool)
        for disc in self._objects:
            free &= np.linalg.norm(places - disc.centre, axis=-1) >= self._radius + disc.radius + margin
        for outline, normals in self._forbidden:
            inward = ((places[..., None, :] - outline) * normals).sum(axis=-1)
            free &= ~(inward > -margin).all(axis=-1)
        return free

    def _off_walls(self, places: np.ndarray) -> np.ndarray:
        """Return whether the body is clear of walls at each cell; each wall is compared with the cells around it."""
        free = np.ones(self._shape, bool)
        reach = self._radius + _MARGIN
        for start, end in self._walls:
            low = np.floor((np.minimum(start, end) - reach - self._low) / _CELL).astype(int).clip(0)
            high = np.ceil((np.maximum(start, end) + reach - self._low) / _CELL).astype(int) + 1
            window = (slice(low[0], high[0]), slice(low[1], high[1]))
            free[window] &= _distances(places[window], start, end) >= reach
        return free


class Distances:
    """Lengths and directions of shortest paths to a goal, on a grid.

    Args:
      values: Length in metres from each cell, infinite where there is no path.
      ahead: Place (..., 2) to which the path from each cell leads next, the cell's own in the goal.
      low: Place of the first cell.
    """

    def __init__(self, values: np.ndarray, ahead: np.ndarray, low: np.ndarray):
        self._values = np.pad(values, _AROUND, constant_values=np.inf)
        self._ahead = np.pad(ahead, ((_AROUND, _AROUND), (_AROUND, _AROUND), (0, 0)))
        self._low = low - _AROUND * _CELL

    def __call__(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the length (...) of the path from each place (..., 2), and the vector (..., 2) to a place ahead on it.

        The path goes by way of the best of the sixteen cells around the place. The vector is zero in the goal.
        """
        corner = np.floor((places - self._low) / _CELL).astype(int)
        best, ahead = np.full(places.shape[:-1], np.inf), places.copy()
        for offset in np.ndindex(4, 4):
            cell = np.clip(corner + np.array(offset) - 1, 0, np.array(self._values.shape) - 1)
            row, column = cell[..., 0], cell[..., 1]
            length = self._values[row, column] + np.linalg.norm(places - (self._low + cell * _CELL), axis=-1)
            better = length < best
            best = np.where(better, length, best)
            leads_on = (better & (self._values[row, column] > 0))[..., None]
            ahead = np.where(leads_on, self._ahead[row, column], np.where(better[..., None], places, ahead))
        return best, ahead - places


def _pairs(numbers: np.ndarray, step: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of all cells from which a step stays on the grid, and of those that it leads to."""
    (rows, columns), (down, right) = numbers.shape, step
    here = numbers[: rows - down, max(-right, 0) : columns - max(right, 0)]
    there = numbers[down:, max(right, 0) : columns - max(-right, 0)]
    return here.ravel(), there.ravel()


def _distances(places: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the distances (...) of places (..., 2) from the segment between two places (2,)."""
    along = end - start
    share = np.clip(((places - start) * along).sum(axis=-1) / (along**2).sum(), 0.0, 1.0)
    return np.linalg.norm(places - (start + share[..., None] * along), axis=-1)
