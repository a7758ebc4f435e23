"""The expert of Sokoban: A* over pushes, from any state that has a solution.

A state of the search is the boxes and the cells that the player can reach without a push. The lower bound of the
pushes that remain is the cheapest assignment of the boxes to targets of their own, as if no box were in another's way;
it has no finite value where a box stands on a dead square or where boxes compete for a target. A push that freezes a
box away from a target is a deadlock, and is pruned.
"""

from __future__ import annotations

import functools
import heapq
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import dm_env
import numpy as np

from gato_jax.environments.suites.sokoban import Sokoban
from gato_jax.environments.worlds.sokoban_levels import GRADES, MAX_MOVES, Level
from gato_jax.environments.worlds.sokoban_rooms import (
    DIRECTIONS,
    OFFSETS,
    UNREACHABLE,
    Room,
    cells_of,
    flood,
    least_pushes,
    path,
    push_distances,
    shift,
)
from gato_jax.experts.base import Expert
from gato_jax.rollouts import Action, ActorFailure

_MOST_STATES = 300_000  # thirty times as many as the slowest of 200 levels of the hardest grade took


class State(NamedTuple):
    """The boxes, and the cells that the player can reach, as bitmasks."""

    boxes: int
    reach: int


class Push(NamedTuple):
    """A push: the cell from which the player begins it, and its direction."""

    stand: int
    direction: int


Plan = dict[State, Push]  # the next push in each state on the way to a solution


class SokobanSolver(Expert[Sokoban]):
    """A solver that pushes as its plan says, and plans anew where a state is not on the way.

    The fewest pushes are not the fewest moves. Where the moves exceed the limit, as in 2 of 500 levels of the hardest
    grade, the expert plays the solution that comes with the level.

    Noise replaces an action by a random step that moves no box, as a wrong push can make a level impossible.
    """

    agent = "A* over pushes"
    default_noise = 0.1

    def __init__(self, task: str):
        del task

    def reset(self, environment: Sokoban, seed: int) -> None:
        self._plan = solve(environment.level.room)
        if len(moves(environment.level.room, self._plan)) > MAX_MOVES:
            self._plan = _known_solution(environment.level)

    def act(self, environment: Sokoban, timestep: dm_env.TimeStep) -> Action:
        if state_of(environment.room) not in self._plan:
            self._plan = solve(environment.room)
        return {"action": np.asarray(_walk_and_push(environment.room, self._plan)[0])}

    def disturb(self, environment: Sokoban, action: Action, noise: float, generator: np.random.Generator) -> Action:
        if generator.random() >= noise:
            return action
        room = environment.room
        harmless = [direction for direction in range(len(DIRECTIONS)) if room.move(direction).boxes == room.boxes]
        return {"action": np.asarray(generator.choice(harmless))} if harmless else action


def solve(room: Room) -> Plan:
    """Return the plan of a solution with the fewest pushes, and few moves.

    Raises:
      ActorFailure: The room has no solution, or none was found among the states that the search looks at.
    """
    floor = ~room.walls
    distances = [push_distances(floor, target) for target in cells_of(room.targets)]
    bound = functools.cache(functools.partial(least_pushes, distances))
    start = state_of(room)
    costs, came_from = {start: (0, 0)}, dict[State, tuple[State, Push]]()  # costs: pushes, then moves
    done, queue = set(), [(bound(room.boxes), 0, 0, start, room.player)]
    while queue and len(done) < _MOST_STATES:
        _, minus_pushes, walked, state, player = heapq.heappop(queue)
        if state in done:
            continue
        if state.boxes == room.targets:
            return _plan(state, came_from)
        done.add(state)
        layers = flood(player, floor & ~state.boxes)
        for push in _pushes(state, floor):
            box = push.stand + OFFSETS[push.direction]
            moved = 1 << box + OFFSETS[push.direction]
            boxes = state.boxes ^ 1 << box ^ moved
            remaining = bound(boxes)
            if remaining >= UNREACHABLE or is_frozen(boxes, moved, room):
                continue
            after = State(boxes, _union(flood(box, floor & ~boxes)))
            cost = 1 - minus_pushes, walked + _distance(layers, push.stand) + 1
            if after not in costs or cost < costs[after]:
                costs[after], came_from[after] = cost, (state, push)
                # Of equal sums, the state with the most pushes is the first, or all states of that sum would be seen.
                heapq.heappush(queue, (cost[0] + remaining, -cost[0], cost[1], after, box))
    raise ActorFailure(f"no solution among {len(done):,} states")


def state_of(room: Room) -> State:
    """Return the state of the search for a room."""
    return State(room.boxes, _union(flood(room.player, ~(room.walls | room.boxes))))


def moves(room: Room, plan: Plan) -> list[int]:
    """Return the directions of the steps that solve a room by a plan."""
    steps: list[int] = []
    while not room.solved:
        found = _walk_and_push(room, plan)
        room = functools.reduce(Room.move, found, room)
        steps += found
    return steps


def _walk_and_push(room: Room, plan: Plan) -> list[int]:
    """Return the directions of the steps to the next push of a plan, and of the push."""
    stand, direction = plan[state_of(room)]
    return [*path(flood(room.player, ~(room.walls | room.boxes)), stand), direction]


def _known_solution(level: Level) -> Plan:
    """Return the plan of the solution that comes with a level."""
    plan, room = {}, level.room
    for direction in level.solution:
        before, room = room, room.move(direction)
        if room.boxes != before.boxes:
            plan[state_of(before)] = Push(before.player, direction)
    return plan


def _pushes(state: State, floor: int) -> Iterator[Push]:
    """Yield the pushes that the player can reach, to cells without wall or box."""
    free = floor & ~state.boxes
    for direction, offset in enumerate(OFFSETS):
        stands = state.reach & shift(state.boxes, -offset) & shift(free, -2 * offset)
        for stand in cells_of(stands):
            yield Push(stand, direction)


def is_frozen(boxes: int, moved: int, room: Room) -> bool:
    """Return True if the box of a bitmask, pushed last, and boxes beside it can never move again off a target."""
    frozen = _frozen_with(boxes, moved, room.walls, 0)
    return bool(frozen & ~room.targets)


def _frozen_with(boxes: int, box: int, walls: int, assumed: int) -> int:
    """Return the boxes that are frozen because this one is, itself included; 0 if it can move.

    Args:
      boxes: Bitmask of all boxes.
      box: Bitmask of the box.
      walls: Bitmask of the walls.
      assumed: Bitmask of boxes that are taken for walls, as the question is whether they can move.
    """
    frozen = box
    for offset in (OFFSETS[1], OFFSETS[3]):
        sides = (shift(box, offset), shift(box, -offset))
        if any(side & (walls | assumed) for side in sides):
            continue
        beside = [_frozen_with(boxes, side, walls, assumed | box) for side in sides if side & boxes]
        blocking = functools.reduce(int.__or__, beside, 0)
        if not blocking:
            return 0
        frozen |= blocking
    return frozen


def _plan(goal: State, came_from: Mapping[State, tuple[State, Push]]) -> Plan:
    """Return the plan whose steps lead to the goal."""
    plan, state = {}, goal
    while state in came_from:
        state, push = came_from[state]
        plan[state] = push
    return plan


def _union(layers: list[int]) -> int:
    return functools.reduce(int.__or__, layers)


def _distance(layers: list[int], cell: int) -> int:
    return next(number for number, layer in enumerate(layers) if layer >> cell & 1)


EXPERTS = {f"sokoban/{task}": SokobanSolver for task in GRADES}
