"""A solver of BabyAI's missions that knows the whole grid: the next action of the part of a mission that is due.

It has no memory. Each action is the first of a cheapest way to look at a cell, over turns, steps and doors to open. A
way may lead through locked doors and objects, at a price: the solver then fetches the key, or clears the object away.
What it carries and does not need, it drops where it blocks no way.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from gato_jax.rollouts import ActorFailure

if TYPE_CHECKING:
    from minigrid.minigrid_env import MiniGridEnv

_LEFT, _RIGHT, _FORWARD, _PICK_UP, _DROP, _TOGGLE, _DONE = range(7)
_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))  # right, down, left, up: the agent's directions
_RING = ((-1, -1), (0, -1), (1, -1), (1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0))  # around a cell, in order
_DOOR_COST, _OBJECT_COST, _LOCK_COST = 1, 10, 60  # in actions, beside the step

Cell = tuple[int, int]


class _Pose(NamedTuple):
    cell: Cell
    direction: int

    @property
    def front(self) -> Cell:
        return _neighbour(self.cell, self.direction)


def next_action(level: MiniGridEnv) -> int:
    """Return the number of the next action in a level that has begun.

    Raises:
      ActorFailure: There is no way to do what the mission asks for.
    """
    return _Solver(level).act(level.instrs)  # pyright: ignore[reportAttributeAccessIssue]  a level of BabyAI has it


class _Solver:
    """The solver at one moment of a level."""

    def __init__(self, level: MiniGridEnv):
        self._grid, self._carried = level.grid, level.carrying
        x, y = level.agent_pos
        self._pose = _Pose((int(x), int(y)), int(level.agent_dir))
        self._objects: dict[Cell, Any] = {  # minigrid's objects, of which doors and boxes have attributes of their own
            (x, y): found
            for x in range(level.grid.width)
            for y in range(level.grid.height)
            if (found := level.grid.get(x, y)) is not None and found.type not in ("wall", "floor")
        }

    def act(self, instruction: Any) -> int:
        """Return the next action for an instruction of any kind."""
        kind = type(instruction).__name__
        if kind in ("BeforeInstr", "AndInstr"):
            return self.act(instruction.instr_b if instruction.a_done == "success" else instruction.instr_a)
        if kind == "AfterInstr":
            return self.act(instruction.instr_a if instruction.b_done == "success" else instruction.instr_b)
        if kind == "OpenInstr":
            return self._open(self._cells_of(instruction.desc.obj_set))
        if kind == "GoToInstr":
            return self._look_at(instruction.desc.obj_poss, _DONE)
        if kind == "PickupInstr":
            return self._look_at(self._cells_of(instruction.desc.obj_set), _PICK_UP)
        if kind == "PutNextInstr":
            return self._put_next(instruction.desc_move.obj_set, instruction.desc_fixed.obj_poss)
        raise ActorFailure(f"there is no plan for an instruction of kind {kind}")

    def _cells_of(self, wanted: Iterable[Any]) -> list[Cell]:
        return [cell for cell, found in self._objects.items() if any(found is one for one in wanted)]

    def _open(self, doors: list[Cell]) -> int:
        closed = [cell for cell in doors if not self._objects[cell].is_open]
        return self._look_at(closed or doors, _TOGGLE)

    def _put_next(self, moved: list[Any], fixed: Iterable[Cell]) -> int:
        if not any(self._carried is one for one in moved):
            return self._look_at(self._cells_of(moved), _PICK_UP)
        places = {_neighbour((int(x), int(y)), direction) for x, y in fixed for direction in range(4)}
        return self._look_at([cell for cell in places if self._grid.get(*cell) is None], _DROP)

    def _put_away(self) -> int:
        """Return the next action to drop what is carried, at a near cell where it blocks no way, if there is one."""
        empty = [cell for cell in self._free_cells() if cell != self._pose.cell]
        return self._follow(self._way_to([cell for cell in empty if self._is_out_of_the_way(cell)] or empty), _DROP)

    def _free_cells(self) -> Iterator[Cell]:
        for x in range(1, self._grid.width - 1):
            for y in range(1, self._grid.height - 1):
                if self._grid.get(x, y) is None:
                    yield x, y

    def _is_out_of_the_way(self, cell: Cell) -> bool:
        """Return True if the free cells around a cell stay connected without it, and no door or object is beside it."""
        beside = (self._objects.get(_neighbour(cell, direction)) for direction in range(4))
        if any(found is not None for found in beside):
            return False
        free = [self._grid.get(cell[0] + x, cell[1] + y) is None for x, y in _RING]
        return sum(free[at] != free[at - 1] for at in range(len(free))) <= 2

    def _look_at(self, cells: Iterable[Cell], action: int, keys: frozenset[str] = frozenset()) -> int:
        """Return the next action on the way to look at one of the cells, or `action` if the agent does.

        Args:
          cells: The cells.
          action: Action to take at the end of the way.
          keys: Colours of the keys that are being fetched.
        """
        way = self._way_to(cells)
        ahead = [way[-1].front] if action == _TOGGLE else []
        for cell in [*(pose.cell for pose in way[1:]), *ahead]:
            found = self._objects.get(cell)
            if found is None or cell in ahead and found.type != "door":
                continue
            if found.type != "door":  # it has to go before a key is fetched that it would keep from the door
                return self._put_away() if self._carried is not None else self._look_at([cell], _PICK_UP, keys)
            if found.is_locked:
                return self._follow(way, action) if self._opens(found) else self._fetch_key(found.color, keys)
        if action == _PICK_UP and self._carried is not None:
            return self._put_away()
        return self._follow(way, action)

    def _follow(self, way: list[_Pose], action: int) -> int:
        """Return the next action on a way, or `action` if the agent is at its end."""
        if len(way) == 1:
            return action
        after = way[1]
        if after.cell == self._pose.cell:
            return _RIGHT if after.direction == (self._pose.direction + 1) % 4 else _LEFT
        found = self._objects.get(after.cell)
        if found is None or (found.type == "door" and found.is_open):
            return _FORWARD
        if found.type == "door":
            return _TOGGLE
        raise ActorFailure("there is no free cell to put an object away")

    def _fetch_key(self, colour: str, keys: frozenset[str]) -> int:
        if colour in keys:
            raise ActorFailure(f"the {colour} key is behind the door that it opens")
        if found := [cell for cell, one in self._objects.items() if _is_key(one, colour)]:
            return self._look_at(found, _PICK_UP, keys | {colour})
        if _holds_key(self._carried, colour):
            return self._put_away()
        boxes = [cell for cell, one in self._objects.items() if _holds_key(one, colour)]
        if not boxes:
            raise ActorFailure(f"there is no {colour} key")
        return self._look_at(boxes, _TOGGLE, keys | {colour})

    def _opens(self, door: Any) -> bool:
        return _is_key(self._carried, door.color)

    def _way_to(self, cells: Iterable[Cell]) -> list[_Pose]:
        """Return the poses of a cheapest way from the agent's pose, the first one, to one that looks at a cell."""
        wanted = {(int(x), int(y)) for x, y in cells}
        costs, before, queue = {self._pose: 0}, dict[_Pose, _Pose](), [(0, self._pose)]
        while queue:
            cost, pose = heapq.heappop(queue)
            if cost > costs[pose]:
                continue
            if pose.front in wanted:
                way = [pose]
                while way[-1] in before:
                    way.append(before[way[-1]])
                return way[::-1]
            turned = (_Pose(pose.cell, (pose.direction + turn) % 4) for turn in (1, -1))
            for after, price in [*((one, 1) for one in turned), (_Pose(pose.front, pose.direction), self._price(pose))]:
                if price is not None and cost + price < costs.get(after, cost + price + 1):
                    costs[after], before[after] = cost + price, pose
                    heapq.heappush(queue, (cost + price, after))
        raise ActorFailure("there is no way to what the mission asks for")

    def _price(self, pose: _Pose) -> int | None:
        """Return the cost of a step ahead in actions; None if a wall is there."""
        found = self._objects.get(pose.front)
        if found is None:
            return None if self._grid.get(*pose.front) is not None else 1
        if found.type != "door":
            return 1 + _OBJECT_COST
        if found.is_open:
            return 1
        return 1 + (_LOCK_COST if found.is_locked and not self._opens(found) else _DOOR_COST)


def _neighbour(cell: Cell, direction: int) -> Cell:
    x, y = _STEPS[direction]
    return cell[0] + x, cell[1] + y


def _is_key(found: Any, colour: str) -> bool:
    return found is not None and found.type == "key" and found.color == colour


def _holds_key(found: Any, colour: str) -> bool:
    return found is not None and found.type == "box" and _is_key(found.contains, colour)
