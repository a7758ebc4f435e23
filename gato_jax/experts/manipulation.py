"""Scripts for DM Control's manipulation tasks: a Jaco arm that reaches, lifts, places and stacks.

A script chooses the velocity of the hand, or of the brick in it, towards the next pose. A brick that is lost is grasped
again. Two bricks click together in two movements: the hand sets one on the studs of the other, then presses it down
with the closed fingers, as the brick slips in their grip.

A step gives at most 1. An episode has 250 steps, of which the hand needs about the first 50, two seconds, to reach a
brick with its joints at their limits: the achievable return is taken to be 200, of lifting, placing and stacking, and
250 of reaching.

There is no script for `lift_large_box`, whose box of 18 cm is wider than the grip, nor for the tasks that stack or
reassemble more than two bricks, for which an episode is too short at the speed of these scripts.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import Any

import dm_env
import numpy as np

from gato_jax.environments.suites.manipulation import Manipulation
from gato_jax.experts.manipulation_arm import FASTEST, GAIN, JacoScript, downwards, nearest_half_turn, turn_to
from gato_jax.rollouts import Action

_OPEN, _CLOSE = -5.0, 5.0  # velocities of the fingers, radians per second
_NARROW, _WIDE = 0.5, 0.2  # angles of the fingers before they grasp a brick by its width or by its length, in radians
_CLOSING_STEPS = (10, 50)  # the least and the most
_BLOCKED_STEPS = 25  # after which a hand that goes down to the brick is turned, as a finger has met an obstacle
_PRESSING_STEPS = 22  # after which the hand takes aim again
_FIST = 0.85  # angle of the fingers from which they are closed before they meet the brick, in radians
_CLEAR_OF_HAND = 0.08  # metres from an obstacle up to the hand that passes over it

# Lengths in metres.
_MIDDLE = np.array([0.0, 0.0, 0.010])  # middle of a brick in its own frame
_ABOVE = 0.10  # height above the brick from which the hand goes down
_ALIGNED, _LOST = 0.008, 0.06  # from the middle of the brick to its place in the hand
_CENTRED = 0.0009  # between the axes of studs and holes
_STUD = 0.0046  # height of a stud
_UNSEATED = 0.004  # from the brick to its place, beyond which it is grasped again
_HOVER = 0.05  # height of the fist above the middle of the brick before it presses


class Phase(enum.Enum):
    """Part of the script that the hand is in."""

    APPROACH = enum.auto()
    DESCEND = enum.auto()
    GRASP = enum.auto()
    CARRY = enum.auto()
    LOWER = enum.auto()
    RELEASE = enum.auto()
    RISE = enum.auto()
    PRESS = enum.auto()
    RETREAT = enum.auto()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scene:
    """Poses of one step, in the world's frame.

    Attributes:
      hand: Position of the pinch site, (3,).
      rotation: Rotation matrix of the hand, (3, 3).
      brick: Position of the brick to be carried, (3,).
      turned: Rotation matrix of that brick, (3, 3).
      place: Place between the fingers that is brought to the middle of the brick, (3,).
      along: Direction in which the fingers close, or against it, (3,).
    """

    hand: np.ndarray
    rotation: np.ndarray
    brick: np.ndarray
    turned: np.ndarray
    place: np.ndarray
    along: np.ndarray

    @property
    def middle(self) -> np.ndarray:
        """Middle of the brick, (3,)."""
        return self.brick + self.turned @ _MIDDLE

    @property
    def offset(self) -> np.ndarray:
        """Vector (3,) by which the hand has to move to hold the brick."""
        return self.middle - self.place


class Reach(JacoScript):
    """A script that brings the hand to a site or to a brick."""

    def act(self, environment: Manipulation, timestep: dm_env.TimeStep) -> Action:
        target = np.array(self._physics.bind(self._task._target).xpos)
        if self._task._prop is not None:
            target[2] += 0.04  # the fingers stay above the brick
        position, rotation = self.hand
        return self.move(GAIN * (target - position), GAIN * turn_to(rotation, downwards(rotation)), 0.0)


class PickAndPlace(JacoScript):
    """A script that grasps a brick and carries it; subclasses say which brick and where to.

    Attributes:
      grasp: Place in the hand's frame that is brought to the middle of the brick, in metres.
      clearance: Height above its goal at which a brick is carried, in metres.
      precision: Horizontal distance from its goal at which a brick is lowered, in metres.
      releases: False if the hand keeps the brick.
      opening_steps: Number of steps for which the fingers open.
      after_release: Phase that follows.
    """

    grasp = np.array([0.0, -0.015, 0.006])
    clearance = 0.04
    precision = 0.01
    releases = True
    opening_steps = 12
    after_release = Phase.RETREAT

    def reset(self, environment: Manipulation, seed: int) -> None:
        super().reset(environment, seed)
        self._phase, self._since, self._holding, self._attempt = Phase.APPROACH, 0, 0, 0
        hand = self._task.hand.mjcf_model
        tips = [hand.find("body", f"b_finger_tip_{number}") for number in (1, 2, 3)]
        self._tips = np.array([self._physics.bind(tip).element_id for tip in tips])

    def frame(self) -> Any:
        """Return the element of the brick to be carried."""
        return self._task._prop_frame

    def goal(self) -> tuple[np.ndarray, np.ndarray]:
        """Return position (3,) and rotation matrix (3, 3) of the brick when it is released."""
        raise NotImplementedError

    def obstacle(self) -> np.ndarray:
        """Return the place (3,) of a thing that the hand must not touch."""
        return np.array([0.0, 0.0, -9.0])

    def settled(self, scene: Scene) -> bool:
        """Return True if the brick that is being lowered can be released."""
        return bool(abs(scene.brick[2] - self.goal()[0][2]) < 0.004) or self._since > 30

    def pose(self, frame: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return position (3,) and rotation matrix (3, 3) of an element."""
        body = self._physics.bind(frame)
        return np.array(body.xpos), np.array(body.xmat).reshape(3, 3)

    def act(self, environment: Manipulation, timestep: dm_env.TimeStep) -> Action:
        scene = self._look()
        self._holding = self._holding + 1 if self._touches() else 0
        self._since += 1
        phase = self._next(scene)
        if phase is not self._phase:
            self._phase, self._since = phase, 0
        return self._motion(scene)

    def _look(self) -> Scene:
        (hand, rotation), (brick, turned) = self.hand, self.pose(self.frame())
        place, along = hand + rotation @ self.grasp, self._direction(brick, turned)
        return Scene(hand=hand, rotation=rotation, brick=brick, turned=turned, place=place, along=along)

    def _direction(self, brick: np.ndarray, turned: np.ndarray) -> np.ndarray:
        """Return the horizontal direction in which the fingers close: along an edge of the brick, past the obstacle."""
        away = (self.obstacle() - brick)[:2]
        distance = float(np.linalg.norm(away))
        near, away = max(0.0, 1.0 - distance / 0.2), away / max(distance, 1e-9)
        edges = [turned[:, 0], turned[:, 1]]
        costs = [near * abs(float(edge[:2] @ away)) + 0.03 * index for index, edge in enumerate(edges)]
        return edges[np.argsort(costs, kind="stable")[self._attempt % 2]]

    def _touches(self) -> bool:
        """Return True if the brick is between the first finger and another one."""
        data, model = self._physics.data.ptr, self._physics.model.ptr
        bodies, brick = model.geom_bodyid[data.contact.geom], self._physics.bind(self.frame()).element_id
        touching = bodies[(bodies == brick).any(axis=1)]
        return self._tips[0] in touching and bool(np.isin(self._tips[1:], touching).any())

    def _next(self, scene: Scene) -> Phase:
        """Return the phase of this step: the next one where the current one has reached its end."""
        phase, since = self._phase, self._since
        if phase in (Phase.APPROACH, Phase.DESCEND):
            return self._next_before_grasp(scene)
        if phase is Phase.GRASP:
            least, most = _CLOSING_STEPS
            return Phase.CARRY if since > most or (since > least and self._holding >= 3) else phase
        if phase in (Phase.CARRY, Phase.LOWER):
            return self._next_with_brick(scene)
        if phase is Phase.RELEASE:
            return self.after_release if since > self.opening_steps else phase
        return Phase.APPROACH if np.linalg.norm(self.goal()[0] - scene.brick) > 0.05 else phase

    def _next_before_grasp(self, scene: Scene) -> Phase:
        sideways = np.linalg.norm(scene.offset[:2])
        if self._phase is Phase.APPROACH:
            turn = np.linalg.norm(turn_to(scene.rotation, downwards(scene.rotation, along=scene.along)))
            return Phase.DESCEND if sideways < _ALIGNED and turn < 0.1 else Phase.APPROACH
        if np.linalg.norm(scene.offset) < _ALIGNED:
            return Phase.GRASP
        if sideways > 3 * _ALIGNED:
            return Phase.APPROACH
        if self._since > _BLOCKED_STEPS:
            self._attempt += 1
            return Phase.APPROACH
        return Phase.DESCEND

    def _next_with_brick(self, scene: Scene) -> Phase:
        if np.linalg.norm(scene.offset) >= _LOST:
            return Phase.APPROACH
        if self._phase is Phase.LOWER:
            return Phase.RELEASE if self.settled(scene) else Phase.LOWER
        goal, upright = self.goal()
        turn = abs(turn_to(scene.turned, nearest_half_turn(scene.turned, upright))[2])
        gap = goal - scene.brick
        near = np.linalg.norm(gap[:2]) < self.precision and turn < 0.05 and gap[2] > -0.08
        return Phase.LOWER if self.releases and near else Phase.CARRY

    def _motion(self, scene: Scene) -> Action:
        """Return the action of the current phase."""
        still = np.zeros(3)
        match self._phase:
            case Phase.APPROACH | Phase.DESCEND:
                return self._reach_brick(scene)
            case Phase.GRASP:
                return self.move(still, still, _CLOSE)
            case Phase.CARRY:
                return self._carry(scene)
            case Phase.LOWER:
                return self._lower(scene)
            case Phase.RELEASE:
                return self.move(still, still, _OPEN)
            case _:
                low = scene.hand[2] < self.goal()[0][2] + 0.25
                return self.move(np.array([0.0, 0.0, FASTEST * low]), still, _OPEN)

    def _reach_brick(self, scene: Scene) -> Action:
        offset = scene.offset
        if self._phase is Phase.APPROACH:
            over = max(_ABOVE, self.obstacle()[2] + _CLEAR_OF_HAND)
            height = np.interp(np.linalg.norm(offset[:2]), [0.01, 0.04], [_ABOVE, over])
            offset[2] = height - scene.place[2]
            if np.linalg.norm(offset[:2]) > 0.05 and offset[2] > 0.03:
                offset[:2] = 0.0  # up, before the hand meets an obstacle
        width = _WIDE if abs(scene.along @ scene.turned[:, 0]) < 0.7 else _NARROW
        turn = turn_to(scene.rotation, downwards(scene.rotation, along=scene.along))
        return self.move(GAIN * offset, GAIN * turn, np.clip(8 * (width - self.fingers), _OPEN, _CLOSE))

    def _carry(self, scene: Scene) -> Action:
        goal, brick = self.goal()[0], scene.brick
        target = goal + [0.0, 0.0, self.clearance]
        if 0.02 < np.linalg.norm((goal - brick)[:2]) < 0.13 and brick[2] <= goal[2] + 0.03:
            target[:2] = brick[:2]  # up, before the brick meets that on which it will stand
        return self.move(GAIN * (target - brick), GAIN * self._turn_with_brick(scene), _CLOSE, at=brick)

    def _lower(self, scene: Scene) -> Action:
        velocity = GAIN * (self.goal()[0] - scene.brick)
        return self.move(velocity, GAIN * self._turn_with_brick(scene), _CLOSE, at=scene.brick)

    def _turn_with_brick(self, scene: Scene) -> np.ndarray:
        """Return the rotation (3,) that points the hand down and gives the brick its direction."""
        target = nearest_half_turn(scene.turned, self.goal()[1])
        yaw = turn_to(scene.turned, target)[2]
        return turn_to(scene.rotation, downwards(scene.rotation)) + [0.0, 0.0, yaw]


class Lift(PickAndPlace):
    """A script that lifts a brick by 34 cm, a little more than the task asks for, and holds it."""

    releases = False

    def frame(self) -> Any:
        from dm_control import mjcf

        return mjcf.get_attachment_frame(self._task._prop.mjcf_model)

    def reset(self, environment: Manipulation, seed: int) -> None:
        super().reset(environment, seed)
        self._start = self.pose(self.frame())

    def goal(self) -> tuple[np.ndarray, np.ndarray]:
        position, rotation = self._start
        return position + [0.0, 0.0, 0.30], rotation


class Place(PickAndPlace):
    """A script that puts a brick on a pedestal, in any direction."""

    height = 0.022  # of the brick above the pedestal's own, in metres

    def goal(self) -> tuple[np.ndarray, np.ndarray]:
        from dm_control import mjcf

        position, _ = self.pose(mjcf.get_attachment_frame(self._task._pedestal.mjcf_model))
        return position + [0.0, 0.0, self.height], self.pose(self.frame())[1]

    def obstacle(self) -> np.ndarray:
        return self.goal()[0]


class Stack(PickAndPlace):
    """A script that sets a brick on another one and presses it down with the closed hand."""

    grasp = np.array([0.0, -0.015, 0.009])
    precision = 0.006
    opening_steps = 5
    after_release = Phase.RISE
    _HEIGHT = 0.0192  # of a brick without its studs, in metres
    _LOWERING = 0.06  # metres per second

    def frame(self) -> Any:
        return self._task._brick_frames[self._task._desired_order[1]]

    def goal(self) -> tuple[np.ndarray, np.ndarray]:
        position, rotation = self.pose(self._task._brick_frames[self._task._desired_order[0]])
        return position + rotation @ [0.0, 0.0, self._HEIGHT], rotation

    def obstacle(self) -> np.ndarray:
        return self.goal()[0]

    def settled(self, scene: Scene) -> bool:
        pushed_in = scene.brick[2] - self.goal()[0][2] < 0.0038
        return bool(pushed_in or scene.turned[2, 2] < 0.997) or self._since > 60

    def _turn_with_brick(self, scene: Scene) -> np.ndarray:
        """Return the rotation (3,) that levels the brick, which may lie askew in the hand."""
        return turn_to(scene.turned, nearest_half_turn(scene.turned, self.goal()[1]))

    def _lower(self, scene: Scene) -> Action:
        offset = self.goal()[0] - scene.brick
        gap = -offset[2]
        velocity = GAIN * (offset - [0.0, 0.0, 0.02])
        velocity[:2] *= 1.5
        if np.linalg.norm(offset[:2]) > _CENTRED and gap > _STUD:
            velocity[2] = GAIN * (0.008 - gap)  # it waits above the studs until it is centred
        elif gap < 0.015:
            velocity[2] = -self._LOWERING
        turn = self._turn_with_brick(scene) if gap > 0.007 else np.zeros(3)  # on the studs, a turn would tilt it
        return self.move(velocity, GAIN * turn, _CLOSE, at=scene.brick)

    def _next(self, scene: Scene) -> Phase:
        offset = self.goal()[0] - scene.brick
        if self._phase is Phase.RISE:
            away = np.linalg.norm((scene.hand - _highest(scene))[:2])
            if scene.hand[2] > scene.middle[2] + 0.8 * _HOVER and away < 0.006 and np.min(self.fingers) > _FIST:
                return Phase.PRESS
            return Phase.APPROACH if self._since > 3 and np.linalg.norm(offset[:2]) > _UNSEATED else Phase.RISE
        if self._phase is Phase.PRESS:
            if -offset[2] < 0.0004 and scene.turned[2, 2] > 0.9995:
                return Phase.RETREAT
            return Phase.RISE if self._since > _PRESSING_STEPS else Phase.PRESS
        return super()._next(scene)

    def _motion(self, scene: Scene) -> Action:
        if self._phase not in (Phase.RISE, Phase.PRESS):
            return super()._motion(scene)
        offset = _highest(scene) - scene.hand
        turn = GAIN * turn_to(scene.rotation, downwards(scene.rotation))
        if self._phase is Phase.PRESS:
            return self.move(GAIN * np.array([*offset[:2], -0.02]), turn, _CLOSE)
        beside = offset[2] > -0.4 * _HOVER  # the fingers are beside the brick, and must not take it along
        offset[2] += _HOVER
        if offset[2] > 0.5 * _HOVER:
            offset[:2] = 0.0
        return self.move(GAIN * offset, np.zeros(3) if beside else turn, 0.0 if beside else _CLOSE)


def _highest(scene: Scene) -> np.ndarray:
    """Return the place (3,) on the brick where it is pressed: its middle, or where it stands higher."""
    slopes = np.clip(scene.turned[2, :2] / 0.04, -1.0, 1.0)
    return scene.middle + scene.turned[:, :2] @ (slopes * [0.009, 0.018])


_SCRIPTS: dict[str, type[JacoScript]] = {
    "reach_site": Reach,
    "reach_duplo": Reach,
    "lift_brick": Lift,
    "place_brick": Place,
    "place_cradle": Place,
    "stack_2_bricks": Stack,
    "stack_2_bricks_moveable_base": Stack,
    "stack_2_of_3_bricks_random_order": Stack,
}

EXPERTS = {
    f"{suite}/{task}_{observation}": script
    for task, script in _SCRIPTS.items()
    for suite, observation in (("manipulation", "features"), ("manipulation_vision", "vision"))
}
