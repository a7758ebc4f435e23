"""A planner for PushT: sampled pushes of the block, each tried out on a copy of the simulation.

A push is a place on the block's outline, a direction and a length. The disc goes around the block to the place, then
straight on. Pushes are drawn near those that would move the corners of the block towards the outline, and the one that
gains most for its time is executed; then the next one is planned.
"""

from __future__ import annotations

import dataclasses
import heapq
import math

import dm_env
import numpy as np

from gato_jax.environments.suites.pusht import PLANE_SIDE, PushT
from gato_jax.experts.base import Expert
from gato_jax.experts.pusht_copy import Copy, State, read
from gato_jax.rollouts import Action

_STREAM = 0x50555348  # separates the samples from the environment's random numbers, which have the same seed
_DISC = 15.0  # radius
_GAP = 2.0  # between the disc and the block before a push
_CLEARANCE = 5.0  # between them on the way to the next push
_WAYPOINT, _ARRIVED = 12.0, 1.5  # distance from a target at which the next one is driven to, on the way and at its end
_LONGEST_WAY, _LONGEST_PUSH = 40, 12  # steps
_SHARP = 20.0  # angle in degrees, standard deviation between a push and the normal of the outline
_SAMPLES, _SIMULATED, _APPROACHED = 512, 48, 8  # pushes drawn, of them tried out, and of them with the way to them
_LENGTHS = (0.5, 0.8, 1.0, 1.25)  # factors on the length that a push should have
_STEPS_TO_PLAN = 8.0  # added to the steps of a push, so that a few long pushes are preferred to many short ones
_STEPS_OF_A_WAY, _DISTANCE_OF_A_STEP = 3.0, 60.0  # guess of the time to get to a push
_ESCAPE = 30.0  # standard deviation of a random move, where no push can be got to

# Outline of the block in its own frame, anticlockwise, and the corners of the way around it.
_OUTLINE = np.array([(-60, 0), (60, 0), (60, 30), (15, 30), (15, 120), (-15, 120), (-15, 30), (-60, 30)], np.float64)
_AROUND = _DISC + _CLEARANCE
_WAY_CORNERS = np.array(
    [(-60, 0), (60, 0), (60, 30), (-60, 30), (15, 120), (-15, 120), (15, 30), (-15, 30)], np.float64
) + (_AROUND + 0.5) * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1), (1, 1), (-1, 1), (1, 1), (-1, 1)])
_BARS = ((np.array([-60.0, 0.0]), np.array([60.0, 30.0])), (np.array([-15.0, 30.0]), np.array([15.0, 120.0])))
_CENTRE = np.array([0.0, 45.0])  # of gravity
_INERTIA = 3000.0  # for a mass of 1


@dataclasses.dataclass(frozen=True)
class Push:
    """A push and what it leads to.

    Attributes:
      start: Position of the disc before the push, (2,).
      target: Position that the disc is driven to, (2,).
      steps: Number of actions of the push.
      distance: Distance of the block from its goal after the push.
    """

    start: np.ndarray
    target: np.ndarray
    steps: int
    distance: float


class PushPlanner(Expert[PushT]):
    """The planner. It knows the position of the block, which an imitator of `pusht_pixels` has to see."""

    agent = "planner of pushes"
    default_noise = 0.01

    def reset(self, environment: PushT, seed: int) -> None:
        simulator = environment.simulator
        self._copy = Copy()
        self._goal = _corners(np.asarray(simulator.goal_pose[:2]), float(simulator.goal_pose[2]))
        self._generator = np.random.default_rng([seed, _STREAM])
        self._targets: list[tuple[float, float]] = []

    def act(self, environment: PushT, timestep: dm_env.TimeStep) -> Action:
        if not self._targets:
            self._targets = self._plan(read(environment.simulator.agent, environment.simulator.block))
        return {"action": np.array(self._targets.pop(0), np.float32)}

    def _plan(self, state: State) -> list[tuple[float, float]]:
        """Return the targets of the disc for the way to the best push and for the push."""
        self._copy.restore(state)
        before = self._distance()

        def gain(push: Push) -> float:
            way = _STEPS_OF_A_WAY + float(np.linalg.norm(push.start - state.disc)) / _DISTANCE_OF_A_STEP
            return (before - push.distance) / (_STEPS_TO_PLAN + way + push.steps)

        best, best_gain = [_rounded(state.disc + self._generator.normal(0.0, _ESCAPE, 2))], -math.inf
        for push in sorted(self._try_pushes(state), key=gain, reverse=True)[:_APPROACHED]:
            self._copy.restore(state)
            way = self._approach(state, push)
            if way is None:
                continue
            targets = way + [_rounded(push.target)] * push.steps
            for target in targets[len(way) :]:
                self._copy.step(target)
            actual_gain = (before - self._distance()) / (_STEPS_TO_PLAN + len(targets))
            if actual_gain > best_gain:
                best, best_gain = targets, actual_gain
        return best

    def _distance(self) -> float:
        """Return the root of the mean squared distance of the copy's corners from where they should be."""
        state = self._copy.state
        return float(np.sqrt(((_corners(np.array(state.block), state.angle) - self._goal) ** 2).sum(axis=-1).mean()))

    def _try_pushes(self, state: State) -> list[Push]:
        """Return the promising ones of random pushes, as tried out from their start."""
        block = np.array(state.block)
        places, normals = _outline_points(self._generator, _SAMPLES)
        angles = np.radians(_SHARP) * self._generator.standard_normal(_SAMPLES)
        places, normals = block + _turned(places, state.angle), _turned(normals, state.angle)
        directions = -_turned(normals, angles)
        residuals, lengths = self._predict(places, -normals, block + _turned(_CENTRE, state.angle), state)
        starts = places + normals * (_DISC + _GAP)
        inside = ((starts >= 0) & (starts <= PLANE_SIDE)).all(axis=-1)
        free = _clearance(_turned(starts - block, -state.angle)) > _DISC + _GAP / 2
        order = np.argsort(np.where(inside & free, residuals, np.inf), kind="stable")[:_SIMULATED]
        pushes = []
        for index in order[(inside & free)[order]]:
            for factor in _LENGTHS:
                length = _GAP + factor * lengths[index] / max(math.cos(angles[index]), 0.5)
                target = np.clip(starts[index] + directions[index] * length, 0.0, PLANE_SIDE)
                pushes.append(self._try_push(state, starts[index], target))
        return pushes

    def _try_push(self, state: State, start: np.ndarray, target: np.ndarray) -> Push:
        place = (float(start[0]), float(start[1]))
        self._copy.restore(
            dataclasses.replace(state, disc=place, velocity=(0.0, 0.0), block_velocity=(0.0, 0.0), spin=0.0)
        )
        steps = _steps_to_settle(float(np.linalg.norm(target - start)))
        for _ in range(steps):
            self._copy.step(_rounded(target))
        return Push(start, target, steps, self._distance())

    def _predict(
        self, places: np.ndarray, forces: np.ndarray, centre: np.ndarray, state: State
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the distances that pushes leave and the lengths they need, if the block moved on as it starts to.

        Contacts have no friction, so a push acts along the normal alone. The shape of places and forces is (n, 2), that
        of both results is (n,).
        """
        corners = _corners(np.array(state.block), state.angle)
        wanted = self._goal - corners
        torques = _cross(places - centre, forces)
        spins = torques / _INERTIA
        arms = corners - centre
        moved = forces[:, None] + spins[:, None, None] * np.stack([-arms[:, 1], arms[:, 0]], axis=-1)
        gains = (moved * wanted).sum(axis=(1, 2)) / (moved**2).sum(axis=(1, 2))
        residuals = np.sqrt(((wanted - gains[:, None, None] * moved) ** 2).sum(axis=-1).mean(axis=-1))
        return np.where(gains > 0, residuals, np.inf), gains * (1.0 + torques**2 / _INERTIA)

    def _approach(self, state: State, push: Push) -> list[tuple[float, float]] | None:
        """Drive the copy's disc around the block to the start of a push; return the targets, None without a way."""
        block = np.array(state.block)
        start, end = (_turned(place - block, -state.angle) for place in (np.array(state.disc), push.start))
        way = _way(start, end, block, state.angle)
        if way is None:
            return None
        targets: list[tuple[float, float]] = []
        for number, waypoint in enumerate(way):
            slack = _ARRIVED if number == len(way) - 1 else _WAYPOINT
            target = _rounded(block + _turned(waypoint, state.angle))
            while math.dist(self._copy.state.disc, target) > slack:
                if len(targets) == _LONGEST_WAY:
                    return None
                targets.append(target)
                self._copy.step(target)
        return targets


def _way(start: np.ndarray, end: np.ndarray, block: np.ndarray, angle: float) -> list[np.ndarray] | None:
    """Return the corners of the shortest way around the block to a place, in its frame; None without one."""
    out = _outward(start)
    ends = block + _turned(np.stack([*_WAY_CORNERS, end]), angle)
    usable = np.flatnonzero(((ends >= 0) & (ends <= PLANE_SIDE)).all(axis=-1)) + 1
    nodes = np.stack([out, *_WAY_CORNERS, end])
    costs, before, queue = {0: 0.0}, {}, [(0.0, 0)]
    last = len(nodes) - 1
    while queue:
        cost, node = heapq.heappop(queue)
        if node == last:
            path = [last]
            while path[-1] in before:
                path.append(before[path[-1]])
            corners = [nodes[index] for index in reversed(path)]
            return corners if np.linalg.norm(out - start) > _ARRIVED else corners[1:]
        if cost > costs[node]:
            continue
        for other in usable:
            further = cost + float(np.linalg.norm(nodes[other] - nodes[node]))
            if other != node and further < costs.get(other, math.inf):
                if _is_clear(nodes[node], nodes[other], _DISC + _GAP / 2 if other == last else _AROUND - 1.0):
                    costs[other], before[other] = further, node
                    heapq.heappush(queue, (further, other))
    return None


def _outward(place: np.ndarray) -> np.ndarray:
    """Return the place in the block's frame moved away from it, if it is closer than the way around it."""
    for _ in range(4):
        nearest = min(
            (np.clip(place, low, high) for low, high in _BARS), key=lambda point: np.linalg.norm(place - point)
        )
        distance = float(np.linalg.norm(place - nearest))
        if distance >= _AROUND or distance == 0.0:
            break
        place = nearest + (place - nearest) * (_AROUND + 0.1) / distance
    return place


def _is_clear(one: np.ndarray, other: np.ndarray, distance: float) -> bool:
    count = max(2, int(np.linalg.norm(other - one) / 4.0))
    points = one + np.linspace(0.0, 1.0, count)[:, None] * (other - one)
    return bool((_clearance(points) >= distance).all())


def _clearance(places: np.ndarray) -> np.ndarray:
    """Return the distances (n,) of places (n, 2) in the block's frame from the block; 0 inside."""
    return np.min([np.linalg.norm(places - np.clip(places, low, high), axis=-1) for low, high in _BARS], axis=0)


def _outline_points(generator: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return random points on the outline and its outward normals there, both (count, 2), in the block's frame."""
    edges = np.roll(_OUTLINE, -1, axis=0) - _OUTLINE
    lengths = np.linalg.norm(edges, axis=-1)
    chosen = generator.choice(len(edges), size=count, p=lengths / lengths.sum())
    points = _OUTLINE[chosen] + generator.random(count)[:, None] * edges[chosen]
    along = edges[chosen] / lengths[chosen, None]
    return points, np.stack([along[:, 1], -along[:, 0]], axis=-1)


def _corners(position: np.ndarray, angle: float) -> np.ndarray:
    """Return the corners (8, 2) of the block in a pose."""
    return position + _turned(_OUTLINE, angle)


def _turned(vectors: np.ndarray, angles: np.ndarray | float) -> np.ndarray:
    """Return vectors (..., 2) turned by angles (...), without BLAS, whose sums may depend on the number of cores."""
    cos, sin = np.cos(angles), np.sin(angles)
    x, y = vectors[..., 0], vectors[..., 1]
    return np.stack([cos * x - sin * y, sin * x + cos * y], axis=-1)


def _cross(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return one[..., 0] * other[..., 1] - one[..., 1] * other[..., 0]


def _steps_to_settle(distance: float) -> int:
    """Return the number of actions after which the controller, critically damped, is within half a unit of a target."""
    for steps in range(1, _LONGEST_PUSH):
        if distance * (1.0 + steps) * math.exp(-steps) < 0.5:
            return steps
    return _LONGEST_PUSH


def _rounded(target: np.ndarray) -> tuple[float, float]:
    """Return a target within the plane, in the precision of an action."""
    x, y = np.clip(target, 0.0, PLANE_SIDE).astype(np.float32)
    return float(x), float(y)


EXPERTS = {"pusht/push": PushPlanner, "pusht_pixels/push": PushPlanner}
