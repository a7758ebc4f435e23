"""Experts for MiniWorld: shortest paths on the level's map to a box, to objects to pick up, or to where one is dropped.

An expert knows the map and all objects, whereas an imitator has to see or to find them. Each action follows from the
positions alone: of all ways to turn and then to walk straight on, it begins the one that is shortest together with the
path that remains from its end.
"""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Callable
from typing import Any

import dm_env
import numpy as np

from gato_jax.environments.suites.miniworld import LEVELS, MiniWorld
from gato_jax.experts.base import Expert
from gato_jax.experts.miniworld_maps import Disc, Distances, Map, floor, forward
from gato_jax.rollouts import Action, ActorFailure

_LEFT, _RIGHT, _FORWARD, _PICK_UP, _DROP = 0, 1, 2, 4, 5
_MOVES = 3  # the first three actions
_LONGEST_STRAIGHT = 6.0  # metres
_NEAR = 1.1  # MiniWorld calls objects near that are this many steps apart
_TEST_AHEAD, _TEST_RADIUS = 1.5, 1.2  # it picks up what a disc in front touches; both in radii of the agent
_CARRIED_AHEAD = 1.05  # an object is carried this many times as far ahead as a step needs
_INSIDE = 0.05  # distance in metres by which a goal is smaller than the places from which an object can be reached
_NEARER = 0.05  # metres by which a detour has to lead nearer to the goal
_SAME_PLACE = 0.05  # metres within which such a search takes places for the same
_MOST_POSES = 20_000  # poses that a search for a detour looks at

Test = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Errand:
    """The next thing to do in a level.

    Attributes:
      action: Action to take at the goal; nothing is left to do if it is a step.
      ways: Map of the places to walk on.
      goals: Places where the paths on the map end, around those where the goal is reached.
      reached: Test of places (..., 2) and directions (...) for the goal.
      free: Test for the lack of collisions.
    """

    action: int
    ways: Map
    goals: list[Disc]
    reached: Test
    free: Test


class Walker(Expert[MiniWorld]):
    """An expert that walks where the errand of its level ends.

    Noise replaces an action by a random move (left, right or forward), as some other actions end the episode.
    """

    agent = "shortest path on the map"
    default_noise = 0.1

    _distances: Distances

    def __init__(self, task: str):
        self._next_errand = _ERRANDS.get(task, _reach_box)

    def reset(self, environment: MiniWorld, seed: int) -> None:
        self._scene: Any = None
        self._detour: list[int] = []

    def act(self, environment: MiniWorld, timestep: dm_env.TimeStep) -> Action:
        level = environment.level
        scene = [(id(entity), *entity.pos) for entity in _objects(level)], level.agent.carrying
        if scene != self._scene:
            self._scene, self._errand = scene, self._next_errand(level)
            self._distances = self._errand.ways.distances_to(self._errand.goals)
            self._detour = []
        if not self._detour:
            action = _choose(level, self._errand, self._distances)
            self._detour = _find_detour(level, self._errand, self._distances) if action is None else [action]
        return {"action": np.asarray(self._detour[0])}

    def acted(self, action: Action) -> None:
        self._detour = self._detour[1:] if action["action"] == self._detour[0] else []

    def disturb(self, environment: MiniWorld, action: Action, noise: float, generator: np.random.Generator) -> Action:
        if generator.random() >= noise:
            return action
        return {"action": np.asarray(generator.integers(_MOVES))}


def _choose(level: Any, errand: Errand, distances: Distances) -> int | None:
    """Return the first action of the shortest way: some turns, some steps, and the path that remains, if any.

    Return None if no straight way leads nearer to the goal, as happens where steps are long.
    """
    step, turn = _motion(level)
    half = round(math.pi / turn)
    turns, steps = np.arange(-half, half + 1), np.arange(int(_LONGEST_STRAIGHT / step) + 1)
    directions = np.broadcast_to((level.agent.dir + turns * turn)[:, None], (len(turns), len(steps)))
    places = floor(level.agent.pos) + steps[:, None] * step * forward(directions)
    free = errand.free(places, directions)
    free[:, 0] = _connected(free[:, 0], half)
    free = np.logical_and.accumulate(free, axis=1)

    reached = errand.reached(places, directions) & free
    remaining, ahead = distances(places)
    misaligned = _angles(forward(directions), ahead) / turn
    nearer = free & (steps > 0) & (remaining < remaining[half, 0])
    costs = np.abs(turns)[:, None] + steps + np.where(reached, 0.0, 1.0 + misaligned + remaining / step)
    costs = np.where(reached | nearer, costs, np.inf)
    row, column = np.unravel_index(int(np.argmin(costs)), costs.shape)
    if np.isinf(costs[row, column]):
        return None
    if turns[row]:
        return _LEFT if turns[row] > 0 else _RIGHT
    return _FORWARD if steps[column] else errand.action


def _find_detour(level: Any, errand: Errand, distances: Distances) -> list[int]:
    """Return the fewest moves that reach the goal or a place nearer to it.

    Raises:
      ActorFailure: There are none.
    """
    step, turn = _motion(level)
    here, full_turn = floor(level.agent.pos), round(2 * math.pi / turn)
    nearest = float(distances(here)[0])
    queue, seen = collections.deque([(here, 0, [])]), set()
    while queue and len(seen) < _MOST_POSES:
        place, turns, moves = queue.popleft()
        pose = (*np.round(place / _SAME_PLACE).astype(int), turns % full_turn)
        direction = np.asarray(level.agent.dir + turns * turn)
        if pose in seen or (moves and not errand.free(place, direction)):
            continue
        seen.add(pose)
        if moves and errand.reached(place, direction):
            return moves
        if moves and moves[-1] == _FORWARD and distances(place)[0] < nearest - _NEARER:
            return moves
        queue.append((place, turns + 1, [*moves, _LEFT]))
        queue.append((place, turns - 1, [*moves, _RIGHT]))
        queue.append((place + step * forward(direction), turns, [*moves, _FORWARD]))
    raise ActorFailure("there is no way to the goal")


def _motion(level: Any) -> tuple[float, float]:
    """Return the length of a step in metres and the angle of a turn in radians."""
    return level.params.sample(None, "forward_step"), math.radians(level.params.sample(None, "turn_step"))


def _angles(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the angles (...) in radians between vectors (..., 2) in the plane; 0 where one is zero."""
    along = (one * other).sum(axis=-1)
    across = one[..., 0] * other[..., 1] - one[..., 1] * other[..., 0]
    return np.abs(np.arctan2(across, along))


def _connected(free: np.ndarray, middle: int) -> np.ndarray:
    """Return which entries are free together with all entries from the middle to them; the middle always is."""
    upward = np.logical_and.accumulate(free[middle + 1 :])
    downward = np.logical_and.accumulate(free[:middle][::-1])[::-1]
    return np.concatenate([downward, [True], upward])


def _objects(level: Any) -> list[Any]:
    """Return what stands in a level, without the agent and what it carries."""
    return [entity for entity in level.entities if entity is not level.agent and entity is not level.agent.carrying]


def _disc(entity: Any, beyond: float = 0.0) -> Disc:
    return Disc(floor(entity.pos), float(entity.radius) + beyond)


def _within(goals: list[Disc]) -> Test:
    """Return the test for places within any of the discs."""

    def reached(places: np.ndarray, directions: np.ndarray) -> np.ndarray:
        return np.any([np.linalg.norm(places - goal.centre, axis=-1) < goal.radius for goal in goals], axis=0)

    return reached


def _reach(level: Any, target: Any, others: list[Disc], forbidden: tuple[Any, ...] = ()) -> Errand:
    """Return the errand to come near an object."""
    ways = Map(level, level.agent.radius, [_disc(target), *others], forbidden)
    near = _disc(target, level.agent.radius + _NEAR * level.max_forward_step)
    goals = [dataclasses.replace(near, radius=near.radius - _INSIDE)]
    return Errand(_FORWARD, ways, goals, _within([near]), lambda places, directions: ways.free(places))


def _reach_box(level: Any) -> Errand:
    return _reach(level, level.box, [_disc(entity) for entity in _objects(level) if entity is not level.box])


def _stay_off_the_street(level: Any) -> Errand:
    others = [_disc(entity) for entity in _objects(level) if entity is not level.box]
    return _reach(level, level.box, others, (level.street,))


def _follow_the_sign(level: Any) -> Errand:
    target = level._objects[level._goal][level._color_index]
    # To be near any other object ends the episode.
    others = [_disc(entity, _NEAR * level.max_forward_step) for entity in _objects(level) if entity is not target]
    return _reach(level, target, others)


def _pick_up(level: Any, targets: list[Any]) -> Errand:
    """Return the errand to pick up the nearest of the targets, and nothing else."""
    radius = level.agent.radius
    ways = Map(level, radius, [_disc(entity) for entity in _objects(level)])
    others = [_disc(entity) for entity in _objects(level) if entity not in targets]
    reachable = Map(level, _TEST_RADIUS * radius, others)
    touched = _within([_disc(target, _TEST_RADIUS * radius - _INSIDE) for target in targets])

    def reached(places: np.ndarray, directions: np.ndarray) -> np.ndarray:
        ahead = places + _TEST_AHEAD * radius * forward(directions)
        return touched(ahead, directions) & reachable.free(ahead)

    goals = [_disc(target, radius + level.max_forward_step) for target in targets]
    return Errand(_PICK_UP, ways, goals, reached, lambda places, directions: ways.free(places))


def _pick_up_all(level: Any) -> Errand:
    return _pick_up(level, _objects(level))


def _stay_alive(level: Any) -> Errand:
    """Return the errand to pick up the health kit that is near and has another one near it, so as not to get lost."""
    kits = _objects(level)
    places = np.array([floor(kit.pos) for kit in kits])
    from_agent = np.linalg.norm(places - floor(level.agent.pos), axis=-1)
    apart = np.linalg.norm(places[:, None] - places, axis=-1) + np.where(np.eye(len(kits)), np.inf, 0.0)
    return _pick_up(level, [kits[int(np.argmin(from_agent + apart.min(axis=-1)))]])


def _put_next(level: Any) -> Errand:
    """Return the errand to pick up the red box, or to carry it to the yellow one and drop it."""
    carried = level.agent.carrying
    if carried is None:
        return _pick_up(level, [level.red_box])
    radius, other = level.agent.radius, level.yellow_box if carried is level.red_box else level.red_box
    ahead = _CARRIED_AHEAD * (radius + carried.radius + level.max_forward_step)
    others = [_disc(entity) for entity in _objects(level)]
    ways, ways_of_carried = Map(level, radius, others), Map(level, carried.radius, others)
    near = _within([_disc(other, carried.radius + _NEAR * level.max_forward_step)])

    def place_of_carried(places: np.ndarray, directions: np.ndarray) -> np.ndarray:
        return places + ahead * forward(directions)

    def reached(places: np.ndarray, directions: np.ndarray) -> np.ndarray:
        return near(place_of_carried(places, directions), directions)

    def free(places: np.ndarray, directions: np.ndarray) -> np.ndarray:
        return ways.free(places) & ways_of_carried.free(place_of_carried(places, directions))

    return Errand(_DROP, ways, [_disc(other, carried.radius + ahead)], reached, free)


_ERRANDS: dict[str, Callable[[Any], Errand]] = {
    "CollectHealth-v0": _stay_alive,
    "PickupObjects-v0": _pick_up_all,
    "PutNext-v0": _put_next,
    "Sidewalk-v0": _stay_off_the_street,
    "Sign-v0": _follow_the_sign,
}

EXPERTS = {f"miniworld/{task}": Walker for task in LEVELS}
