"""Scripts for DM Control's manipulation tasks: a Jaco arm that reaches, lifts, places and stacks.

The arm has velocity actuators, so a script chooses the velocity of the hand, or of the brick in it, towards the next
pose; damped least squares turn it into velocities of the joints. A brick that is lost is grasped again.
"""

from __future__ import annotations

import enum
from typing import Any

import dm_env
import numpy as np

from gato_jax.environments.suites.manipulation import Manipulation
from gato_jax.experts.base import Expert
from gato_jax.rollouts import Action

_GAIN = 7.0  # velocity per distance, per second
_FASTEST, _FASTEST_TURN = 0.4, 1.5  # metres and radians per second
_DAMPING = 0.01
_TURN_WEIGHT = 0.3  # metres per second whose error is as bad as that of a radian per second
_OPEN, _CLOSE = -5.0, 5.0  # velocities of the fingers, radians per second
_ABOVE = 0.10  # height above the brick from which the hand goes down, in metres
_BLOCKED_STEPS = 25  # after which a hand that goes down to the brick is turned, as a finger has met an obstacle
_CENTRED = 0.0009  # metres between the axes of studs and holes
_UNSEATED = 0.004  # metres by which a brick beside its place is grasped again
_HOVER = 0.05  # height of the fist above the middle of the brick before it presses
_MIDDLE = np.array([0.0, 0.0, 0.010])  # middle of a brick in its own frame, in metres
_ALIGNED, _LOST = 0.008, 0.06  # metres between that place and the middle of the brick
_CLOSING_STEPS, _OPENING_STEPS = (10, 50), 12  # the least and the most
_NARROW, _WIDE = 0.5, 0.2  # angles of the fingers before they grasp a brick by its width or by its length, in radians


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


class JacoScript(Expert[Manipulation]):
    """The hand of a Jaco arm that is moved by the velocity of its pinch site; the base class of the scripts."""

    agent = "script for a Jaco arm that knows the poses of the bricks"
    default_noise = 0.05

    def __init__(self, task: str):
        del task

    def reset(self, environment: Manipulation, seed: int) -> None:
        composer = environment.composer_environment
        self._task, self._physics = composer.task, composer.physics
        self._site = self._physics.bind(self._task.hand.pinch_site).element_id
        self._joints = np.asarray(self._physics.bind(self._task.arm.joints).dofadr)
        self._limits = np.asarray(self._physics.bind(self._task.arm.actuators).ctrlrange)[:, 1]

    @property
    def hand(self) -> tuple[np.ndarray, np.ndarray]:
        """Position (3,) and rotation matrix (3, 3) of the pinch site."""
        data = self._physics.data
        return data.site_xpos[self._site].copy(), data.site_xmat[self._site].reshape(3, 3).copy()

    def move(self, velocity: np.ndarray, turn: np.ndarray, fingers: float | np.ndarray, at: np.ndarray | None = None) -> Action:
        """Return the action that moves the hand.

        Args:
          velocity: Velocity in metres per second, (3,).
          turn: Angular velocity in radians per second, (3,).
          fingers: Velocity of the fingers.
          at: Point of the hand that has this velocity, (3,) in the world's frame. Default: the pinch site.
        """
        import mujoco

        physics = self._physics
        jacobian = np.zeros((6, physics.model.nv))
        mujoco.mj_jacSite(  # pyright: ignore[reportAttributeAccessIssue]  it has no stubs
            physics.model.ptr, physics.data.ptr, jacobian[:3], jacobian[3:], self._site
        )
        jacobian = jacobian[:, self._joints]
        velocity, turn = _shorten(velocity, _FASTEST), _shorten(turn, _FASTEST_TURN)
        if at is not None:
            velocity = velocity - np.cross(turn, at - self.hand[0])
        weights = np.array([1.0] * 3 + [_TURN_WEIGHT] * 3)
        twist = weights * np.concatenate([velocity, turn])
        joints = bounded_least_squares(weights[:, None] * jacobian, twist, self._limits)
        return {"action": np.concatenate([joints, np.broadcast_to(fingers, 3)]).astype(np.float32)}


class Reach(JacoScript):
    """A script that brings the hand to a site or to a brick."""

    def act(self, environment: Manipulation, timestep: dm_env.TimeStep) -> Action:
        target = np.array(self._physics.bind(self._task._target).xpos)
        if self._task._prop is not None:
            target[2] += 0.04  # the fingers stay above the brick
        position, rotation = self.hand
        return self.move(_GAIN * (target - position), _GAIN * turn_to(rotation, downwards(rotation)), 0.0)


class PickAndPlace(JacoScript):
    """A script that grasps a brick and carries it; subclasses say which brick, where to, and how it is left there."""

    releases = True

    def reset(self, environment: Manipulation, seed: int) -> None:
        super().reset(environment, seed)
        self._phase, self._since, self._holding, self._attempt = Phase.APPROACH, 0, 0, 0
        hand = self._task.hand.mjcf_model
        tips = [hand.find("body", f"b_finger_tip_{number}") for number in (1, 2, 3)]
        self._fingers = np.array([self._physics.bind(tip).element_id for tip in tips])

    def frame(self) -> Any:
        """Return the element of the brick to be carried."""
        return self._task._prop_frame

    def brick(self) -> tuple[np.ndarray, np.ndarray]:
        """Return position (3,) and rotation matrix (3, 3) of the brick to be carried."""
        return self.pose(self.frame())

    def _brick_body(self) -> int:
        return int(self._physics.bind(self.frame()).element_id)

    def goal(self) -> tuple[np.ndarray, np.ndarray]:
        """Return position and rotation of the brick when it is released."""
        raise NotImplementedError

    def pose(self, frame: Any) -> tuple[np.ndarray, np.ndarray]:
        body = self._physics.bind(frame)
        return np.array(body.xpos), np.array(body.xmat).reshape(3, 3)

    def act(self, environment: Manipulation, timestep: dm_env.TimeStep) -> Action:
        (hand, rotation), (brick, turned) = self.hand, self.brick()
        middle = brick + turned @ _MIDDLE
        place = hand + rotation @ self.grasp
        held = np.linalg.norm(middle - place) < _LOST
        self._along = self._direction(turned, brick, rotation)
        self._holding = self._holding + 1 if self._touches() else 0
        self._advance(hand, place, rotation, middle, turned, brick, held)
        if self._phase in (Phase.CARRY, Phase.LOWER):
            goal, upright = self.goal()
            if self._phase is Phase.CARRY:
                sideways = np.linalg.norm((goal - brick)[:2])
                clear = brick[2] > goal[2] + 0.03
                goal = goal + [0.0, 0.0, self.clearance]
                if 0.02 < sideways < 0.13 and not clear:
                    goal = np.array([*brick[:2], goal[2]])
            else:
                goal = goal - [0.0, 0.0, self.pressure]
            turn = turn_to(turned, nearest_half_turn(turned, upright))
            if not self.level:
                turn = turn_to(rotation, downwards(rotation)) + [0.0, 0.0, turn[2]]
            velocity = _GAIN * (goal - brick)
            if self._phase is Phase.LOWER and self.level:
                gap = brick[2] - self.goal()[0][2]
                turn = turn if gap > 0.007 else np.zeros(3)
                velocity[:2] *= 1.5
                if np.linalg.norm((goal - brick)[:2]) > _CENTRED and gap > 0.0046:
                    velocity[2] = _GAIN * (0.008 - gap)
                elif gap < 0.015:
                    velocity[2] = -self.lowering
            return self.move(velocity, _GAIN * turn, _CLOSE, at=brick)
        if self._phase is Phase.RETREAT:
            return self.move(np.array([0.0, 0.0, _FASTEST]) * (hand[2] < self.goal()[0][2] + 0.25), np.zeros(3), _OPEN)
        if self._phase is Phase.RELEASE:
            return self.move(np.zeros(3), np.zeros(3), _OPEN)
        if self._phase in (Phase.RISE, Phase.PRESS):
            return self.press(hand, rotation, middle, turned)
        turn = _GAIN * turn_to(rotation, downwards(rotation, along=self._along))
        if self._phase is Phase.GRASP:
            return self.move(np.zeros(3), np.zeros(3), _CLOSE)
        offset = middle - place
        if self._phase is Phase.APPROACH:
            over = max(_ABOVE, self.obstacle()[2] + 0.08)
            height = np.interp(np.linalg.norm(offset[:2]), [0.01, 0.04], [_ABOVE, over])
            offset[2] = height - place[2]
            if np.linalg.norm(offset[:2]) > 0.05 and offset[2] > 0.03:
                offset[:2] = 0.0
        width = _WIDE if abs(self._along @ turned[:, 0]) < 0.7 else _NARROW
        opening = np.array(self._physics.bind(self._task.hand.joints).qpos)
        return self.move(_GAIN * offset, turn, np.clip(8 * (width - opening), _OPEN, _CLOSE))

    level = False
    lowering = _FASTEST
    clearance = 0.04
    pressure = 0.0
    precision = 0.01
    grasp = np.array([0.0, -0.015, 0.006])  # place in the hand's frame that is brought to the middle of the brick

    def _advance(self, hand, place, rotation, middle, turned, brick, held) -> None:
        """Go to the next phase where the current one has reached its end."""
        self._since += 1
        offset = middle - place
        aligned = np.linalg.norm(turn_to(rotation, downwards(rotation, along=self._along))) < 0.1
        phase = self._phase
        if phase is Phase.APPROACH and np.linalg.norm(offset[:2]) < _ALIGNED and aligned:
            phase = Phase.DESCEND
        elif phase is Phase.DESCEND:
            if np.linalg.norm(offset) < _ALIGNED:
                phase = Phase.GRASP
            elif np.linalg.norm(offset[:2]) > 3 * _ALIGNED:
                phase = Phase.APPROACH
            elif self._since > _BLOCKED_STEPS:
                phase, self._attempt = Phase.APPROACH, self._attempt + 1
        elif phase is Phase.GRASP and self._has_closed():
            phase = Phase.CARRY
        elif phase in (Phase.CARRY, Phase.LOWER):
            goal, upright = self.goal()
            if not held:
                phase = Phase.APPROACH
            elif phase is Phase.CARRY and self.releases:
                turn = abs(turn_to(turned, nearest_half_turn(turned, upright))[2])
                if np.linalg.norm((goal - brick)[:2]) < self.precision and turn < 0.05 and brick[2] - goal[2] < 0.08:
                    phase = Phase.LOWER
            elif phase is Phase.LOWER and self.settled(goal, brick):
                phase = Phase.RELEASE
        elif phase is Phase.RELEASE and self._since > (5 if self.level else _OPENING_STEPS):
            phase = Phase.RISE if self.level else Phase.RETREAT
        elif phase is Phase.RISE:
            if self._since > 3 and np.linalg.norm((self.goal()[0] - brick)[:2]) > _UNSEATED:
                phase = Phase.APPROACH
            away = np.linalg.norm((hand - self.pressed_place(middle, turned))[:2])
            fist = np.min(self._physics.bind(self._task.hand.joints).qpos) > 0.85
            if hand[2] > middle[2] + 0.8 * _HOVER and away < 0.006 and fist:
                phase = Phase.PRESS
        elif phase is Phase.PRESS:
            if brick[2] - self.goal()[0][2] < 0.0004 and turned[2, 2] > 0.9995:
                phase = Phase.RETREAT
            elif self._since > 22:
                phase = Phase.RISE
        elif phase is Phase.RETREAT and np.linalg.norm(self.goal()[0] - brick) > 0.05:
            phase = Phase.APPROACH
        if phase is not self._phase:
            self._phase, self._since = phase, 0

    def press(self, hand, rotation, middle, turned) -> Action:
        """Return the action that presses the brick down with the closed hand, where it stands highest."""
        place = self.pressed_place(middle, turned)
        offset = place - hand
        if self._phase is Phase.RISE:
            offset[2] += _HOVER
            if offset[2] > 0.5 * _HOVER:
                offset[:2] = 0.0
        else:
            offset[2] = -0.02
        closing = _CLOSE if self._phase is Phase.PRESS or hand[2] > place[2] + 0.4 * _HOVER else 0.0
        turn = _GAIN * turn_to(rotation, downwards(rotation))
        if hand[2] < place[2] + 0.4 * _HOVER and self._phase is Phase.RISE:
            turn, closing = np.zeros(3), 0.0
        return self.move(_GAIN * offset, turn, closing)

    def pressed_place(self, middle, turned) -> np.ndarray:
        """Return the place on the brick where it is pressed: in the middle, or where it stands higher."""
        slopes = np.clip(turned[2, :2] / 0.04, -1.0, 1.0)
        return middle + turned[:, :2] @ (slopes * [0.009, 0.018])

    def _has_closed(self) -> bool:
        least, most = _CLOSING_STEPS
        return self._since > most or (self._since > least and self._holding >= 3)

    def _touches(self) -> bool:
        """Return True if the brick is between the first finger and another one."""
        data, model = self._physics.data.ptr, self._physics.model.ptr
        bodies = model.geom_bodyid[data.contact.geom]
        touching = bodies[(bodies == self._brick_body()).any(axis=1)]
        return self._fingers[0] in touching and bool(np.isin(self._fingers[1:], touching).any())

    def obstacle(self) -> np.ndarray:
        """Return the place (3,) of a thing that the hand must not touch."""
        return np.array([0.0, 0.0, -9.0])

    def _direction(self, turned: np.ndarray, brick: np.ndarray, rotation: np.ndarray) -> np.ndarray:
        """Return the horizontal direction in which the fingers close: along an edge of the brick, past the obstacle."""
        away = (self.obstacle() - brick)[:2]
        near = max(0.0, 1.0 - float(np.linalg.norm(away)) / 0.2)
        away = away / max(float(np.linalg.norm(away)), 1e-9)
        choices = [turned[:, 0], turned[:, 1]]
        costs = [near * abs(float(x[:2] @ away)) + 0.03 * index for index, x in enumerate(choices)]
        order = np.argsort(costs, kind="stable")
        return choices[order[self._attempt % 2]]

    def settled(self, goal: np.ndarray, brick: np.ndarray) -> bool:
        return bool(abs(brick[2] - goal[2]) < 0.004) or self._since > 30


class Lift(PickAndPlace):
    """A script that lifts a brick by 30 cm and holds it."""

    releases = False

    def frame(self) -> Any:
        from dm_control import mjcf

        return mjcf.get_attachment_frame(self._task._prop.mjcf_model)

    def reset(self, environment: Manipulation, seed: int) -> None:
        super().reset(environment, seed)
        self._start = self.brick()

    def goal(self) -> tuple[np.ndarray, np.ndarray]:
        position, rotation = self._start
        return position + [0.0, 0.0, 0.30], rotation


class Place(PickAndPlace):
    """A script that puts a brick on a pedestal."""

    height = 0.022  # of the brick above the pedestal's own, in metres

    def goal(self) -> tuple[np.ndarray, np.ndarray]:
        from dm_control import mjcf

        position, _ = self.pose(mjcf.get_attachment_frame(self._task._pedestal.mjcf_model))
        return position + [0.0, 0.0, self.height], self.brick()[1]  # the brick may lie in any direction

    def obstacle(self) -> np.ndarray:
        return self.goal()[0]


class Stack(PickAndPlace):
    """A script that presses a brick on another one."""

    level = True
    lowering = 0.06
    pressure = 0.02
    precision = 0.006
    grasp = np.array([0.0, -0.015, 0.009])

    def frame(self) -> Any:
        return self._task._brick_frames[self._task._desired_order[1]]

    def goal(self) -> tuple[np.ndarray, np.ndarray]:
        position, rotation = self.pose(self._task._brick_frames[self._task._desired_order[0]])
        return position + rotation @ [0.0, 0.0, 0.0192], rotation

    def obstacle(self) -> np.ndarray:
        return self.goal()[0]

    def settled(self, goal: np.ndarray, brick: np.ndarray) -> bool:
        _, turned = self.brick()
        return bool(brick[2] - goal[2] < 0.0038 or turned[2, 2] < 0.997 or self._since > 60)


def bounded_least_squares(matrix: np.ndarray, target: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Return the damped least-squares solution x (columns,) of `matrix @ x = target`, with |x| <= limits.

    The unknown that exceeds its limit the most is set to it, and the others are solved for again.
    """
    solution, free = np.zeros(matrix.shape[1]), np.ones(matrix.shape[1], bool)
    while free.any():
        columns = matrix[:, free]
        rest = target - matrix[:, ~free] @ solution[~free]
        damped = columns.T @ columns + _DAMPING**2 * np.eye(columns.shape[1])
        solution[free] = np.linalg.solve(damped, columns.T @ rest)
        excess = np.where(free, np.abs(solution) / limits, 0.0)
        worst = int(np.argmax(excess))
        if excess[worst] <= 1.0:
            break
        solution[worst] = np.sign(solution[worst]) * limits[worst]
        free[worst] = False
    return solution


def turn_to(rotation: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the rotation vector (3,), in radians, from one rotation matrix to another."""
    turn = target @ rotation.T
    axis = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])
    sine, cosine = np.linalg.norm(axis) / 2, (np.trace(turn) - 1) / 2
    return axis / 2 * (np.arctan2(sine, cosine) / max(sine, 1e-9))


def downwards(rotation: np.ndarray, along: np.ndarray | None = None) -> np.ndarray:
    """Return the rotation of a hand that points down.

    Args:
      rotation: Rotation of the hand, whose nearest equivalent is returned.
      along: Direction in which the fingers close, or against it. Default: that of the hand.
    """
    x = rotation[:, 0] if along is None else along
    x = np.array([x[0], x[1], 0.0]) / np.linalg.norm(x[:2])
    x = x if x @ rotation[:, 0] >= 0 else -x
    z = np.array([0.0, 0.0, -1.0])
    return np.stack([x, np.cross(z, x), z], axis=1)


def nearest_half_turn(rotation: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the target, or the target after half a turn around its z axis, whichever is nearer."""
    return target if rotation[:, 0] @ target[:, 0] >= 0 else target * [-1.0, -1.0, 1.0]


def _shorten(vector: np.ndarray, longest: float) -> np.ndarray:
    return vector * min(1.0, longest / max(float(np.linalg.norm(vector)), 1e-9))


_SCRIPTS = {
    "reach_site": Reach,
    "reach_duplo": Reach,
    "lift_brick": Lift,
    "place_brick": Place,
    "place_cradle": Place,
    "stack_2_bricks": Stack,
    "stack_2_bricks_moveable_base": Stack,
    "stack_2_of_3_bricks_random_order": Stack,
}

EXPERTS = {f"manipulation/{task}_features": kind for task, kind in _SCRIPTS.items()}
