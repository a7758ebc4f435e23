"""Success and shaped reward of stacking the red object on the blue one.

Conditions and constants are those of DeepMind's release of the environment (github.com/google-deepmind/rgb_stacking,
Apache-2.0, rgb_stacking/stack_rewards.py); positions are those of the bodies, whose origins are near the objects'
centres. One condition is stricter: an object that touches the basket lies on the ground, as well as one on the plane
below it. The release, which compares names, knows only the plane.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gato_jax.environments.worlds.stacking import objects, scene
from gato_jax.environments.worlds.stacking.arm import WORKSPACE, Arm

CONTACT_DISTANCE = 1e-8  # metres; contacts with a larger distance do not count
# Success: red is less than 5 cm beside and more than 2 cm above blue, touches it, and touches neither robot nor ground.
MAX_HORIZONTAL_DISTANCE, MIN_HEIGHT_ABOVE = 0.05, 0.02
# Shaped reward: a stack has 3 cm of horizontal and 1 cm of vertical tolerance about the height of an object.
STACK_TOLERANCE, HEIGHT_TOLERANCE, OBJECT_HEIGHT = 0.03, 0.01, 0.04
MIN_LIFT, MAX_LIFT = (scene.BASKET_CENTRE[2] + height for height in (0.055, 0.1))
MIN_HOVER_HEIGHT = 0.1
LEAVE_HEIGHT, LEAVE_TOLERANCE = 0.1, 0.03  # of the gripper above red, at the end
STAGE_THRESHOLD = 0.01
_LOSS_AT_MARGIN = 0.95


class Criteria:
    """The conditions of the task, evaluated on the present state of a scene.

    Args:
      model: MjModel of the scene.
      data: Its MjData, with derived quantities and contacts up to date.
      arm: The arm of the scene.
    """

    def __init__(self, model, data, arm: Arm):
        self._data, self._arm = data, arm
        self._bodies = {colour: model.body(colour).id for colour in objects.COLOURS}
        self._geoms = {colour: np.array([model.geom(colour).id]) for colour in objects.COLOURS}
        owners = np.array([model.body(body).name.partition("/")[0] for body in model.geom_bodyid])
        self._robot, self._ground = (
            np.flatnonzero(owners == "robot0"),
            np.flatnonzero(np.isin(owners, ["world", "base"])),
        )
        self._fingertips = [np.array([model.geom(name).id]) for name in scene.FINGERTIPS]

    def position(self, colour: str) -> np.ndarray:
        """Return the position of an object's body, (3,) metres."""
        return self._data.xpos[self._bodies[colour]].copy()

    def touch(self, first: np.ndarray, second: np.ndarray) -> bool:
        """Return True if any geom of the first array touches one of the second."""
        contact = self._data.contact
        pairs, near = contact.geom, contact.dist <= CONTACT_DISTANCE
        sides = np.isin(pairs, first), np.isin(pairs, second)
        return bool(np.any(near & ((sides[0][:, 0] & sides[1][:, 1]) | (sides[0][:, 1] & sides[1][:, 0]))))

    def objects_touch(self, first: str, second: str) -> bool:
        """Return True if two objects, given by colour, touch each other."""
        return self.touch(self._geoms[first], self._geoms[second])

    def grasped(self) -> bool:
        """Return True if the fingers are commanded to close and each fingertip touches something but the other one."""
        left, right = self._fingertips
        everything = np.concatenate([self._robot, self._ground, *self._geoms.values()])
        others = np.setdiff1d(everything, np.concatenate([left, right]))
        return self._arm.closing and self.touch(left, others) and self.touch(right, others)

    def stacked(self) -> bool:
        """Return True if the red object lies on the blue one, held by nothing else: the criterion of success."""
        offset = self.position("red") - self.position("blue")
        red = self._geoms["red"]
        return (
            bool(np.linalg.norm(offset[:2]) < MAX_HORIZONTAL_DISTANCE and offset[2] > MIN_HEIGHT_ABOVE)
            and self.touch(red, self._geoms["blue"])
            and not self.touch(red, self._robot)
            and not self.touch(red, self._ground)
        )

    def shaped_reward(self) -> float:
        """Return a reward in [0, 1] that rises over five stages: grasp, lift, carry, stack, leave.

        The stage is the last one whose reward is above a threshold. The reward is a fifth for each stage before it,
        plus a fifth of its own reward.
        """
        stages: tuple[Callable[[], float], ...] = (self._reach, self._lift, self._carry, self._stack, self._leave)
        reward = 0.0
        for number in reversed(range(len(stages))):
            reward = float(np.clip(stages[number](), 0.0, 1.0))
            if reward > STAGE_THRESHOLD:
                return (number + reward) / len(stages)
        return reward / len(stages)

    def _reach(self) -> float:
        distance = self.position("red") - self._arm.pinch_pose[:3]
        reached = _closeness(distance, tolerance=0.02, margin=0.15)
        return reached * (0.5 + 0.5 * self._grasp()) if reached > 0.9 else 0.5 * reached

    def _grasp(self) -> float:
        closed = _closeness(np.array([255.0 - self._arm.gripper]), tolerance=1e-9, margin=255.0)
        return max(0.5 * closed, float(self.grasped()))

    def _lift(self) -> float:
        red = self.position("red")
        if np.linalg.norm((red - WORKSPACE.mean(axis=0)) / (WORKSPACE[1] - WORKSPACE[0]) * 2) > 1.0:
            return 0.0
        return self._grasp() * float(np.clip((red[2] - MIN_LIFT) / (MAX_LIFT - MIN_LIFT), 0.0, 1.0))

    def _carry(self) -> float:
        red, target = self.position("red"), self.position("blue") + [0.0, 0.0, OBJECT_HEIGHT]
        return _closeness(target - red, tolerance=0.01, margin=0.2) if red[2] >= MIN_HOVER_HEIGHT else 0.0

    def _stack(self) -> float:
        offset = self.position("red") - self.position("blue")
        beside = np.linalg.norm(offset[:2]) > STACK_TOLERANCE
        return float(not beside and abs(offset[2] - OBJECT_HEIGHT) <= HEIGHT_TOLERANCE and not self.grasped())

    def _leave(self) -> float:
        short = self.position("red") + [0.0, 0.0, LEAVE_HEIGHT] - self._arm.pinch_pose[:3]
        scaled = short / [1.0, 1.0, LEAVE_TOLERANCE]
        return self._stack() * (1.0 if np.linalg.norm(scaled) <= 1.0 else _closeness(short, tolerance=0.0, margin=0.05))


def _closeness(distance: np.ndarray, *, tolerance: float, margin: float) -> float:
    """Return 1 for a length of at most `tolerance`, and less for longer vectors: 0.05 for a length of `margin`."""
    length = float(np.linalg.norm(distance))
    if length <= tolerance:
        return 1.0
    return 1.0 - np.tanh(np.arctanh(np.sqrt(_LOSS_AT_MARGIN)) / margin * length) ** 2
