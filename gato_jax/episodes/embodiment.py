"""Embodiment of a task: the joints, gripper and cameras of a robot, and their observation and action keys."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Literal, TypeVar

import numpy as np

from gato_jax.episodes.dataclass_reader import DataclassReader
from gato_jax.episodes.errors import SpecError, nearest
from gato_jax.episodes.modalities import Continuous, Discrete, Image, Modality

_MAX_RADIANS = 4 * math.pi  # two turns: limits of real joints are within, most limits in degrees beyond
_LIMIT_TOLERANCE = 1e-6  # relative, as limits of actions are often rounded to float32
_ROTATION_TOLERANCE = 1e-3
Part = TypeVar("Part")
_READER = DataclassReader(error=SpecError)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Joint:
    """One joint of a robot.

    Attributes:
      name: name of the joint.
      kind: `revolute` turns, `prismatic` slides.
      low, high: limits in radians (revolute) or metres (prismatic); both infinite for a joint that turns without end.

    Raises:
      SpecError: a field has a wrong type; `low` is not below `high`; only one limit, or one of a prismatic joint, is
        infinite; or a revolute limit is beyond two turns, which looks like degrees.
    """

    name: str
    kind: Literal["revolute", "prismatic"]
    low: float
    high: float

    def __post_init__(self):
        label = f"joint {self.name!r}"
        _READER.check(self, label)
        _require_name("Joint.name", self.name)
        for side in ("low", "high"):
            limit = getattr(self, side)
            if math.isinf(limit) and self.kind == "prismatic":
                raise SpecError(
                    f"{label}: {side} is {limit}, expected a finite limit of a prismatic joint; give it in metres"
                )
            if self.kind == "revolute" and _MAX_RADIANS < abs(limit) < math.inf:
                raise SpecError(f"{label}: {side} is {limit}, which looks like degrees; give radians")
        if not self.low < self.high:
            raise SpecError(f"{label}: low {self.low} is not below high {self.high}; swap or repair them")
        if math.isinf(self.low) != math.isinf(self.high):
            raise SpecError(
                f"{label}: limits {self.low} and {self.high}; a joint that turns without end has two infinite ones"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gripper:
    """Gripper of a robot, and the elements of the action that command it.

    Attributes:
      kind: `binary` is open or closed, commanded by a Discrete(n=2) or by the two limits of a Continuous; `continuous`
        has one element, an aperture or an effort; `pose` has several elements, such as the fingers of a hand.
      action: action key that commands the gripper; None if no key does.
      elements: indices of the commanding elements of that key, in row-major order. Empty for all elements.

    Raises:
      SpecError: a field has a wrong type, `elements` has equal or negative indices, or `elements` but no `action` is
        given.
    """

    kind: Literal["binary", "continuous", "pose"]
    action: str | None = None
    elements: tuple[int, ...] = ()

    def __post_init__(self):
        _READER.check(self, "gripper")
        _require_name("gripper.action", self.action)
        if self.action is None and self.elements:
            raise SpecError(
                f"gripper.elements is {self.elements}, but gripper.action is None; name the action, or no elements"
            )
        if min(self.elements, default=0) < 0 or len(set(self.elements)) < len(self.elements):
            raise SpecError(f"gripper.elements is {self.elements}, expected distinct indices from 0")

    def check(self, label: str, action: Mapping[str, Modality]):
        """Check the gripper against the action of a task; a gripper whose `action` is None always passes.

        Args:
          label: name of the gripper in messages.
          action: {key: modality} of the task.

        Raises:
          SpecError: the action lacks the commanding elements, or their modality does not fit `kind`.
        """
        if self.action is None:
            return
        modality = _look_up(f"{label}.action", self.action, "action", action, (Discrete, Continuous))
        if max(self.elements, default=0) >= modality.size:
            raise SpecError(
                f"{label}.elements is {self.elements}, action {self.action!r} has elements 0 to {modality.size - 1}"
            )
        elements = list(self.elements or range(modality.size))
        if (len(elements) == 1) == (self.kind == "pose") or not elements:
            needed = "two or more elements" if self.kind == "pose" else "one element"
            raise SpecError(
                f"{label}: a {self.kind} gripper needs {needed}, got {len(elements)} of action {self.action!r}; "
                "name them in gripper.elements, or choose another kind"
            )
        if isinstance(modality, Discrete):
            if self.kind != "binary" or modality.n != 2:
                raise SpecError(
                    f"{label}: a {self.kind} gripper cannot be commanded by {self.action!r}, {modality}; "
                    "it needs a Continuous, or Discrete(n=2) label it is binary"
                )
            return
        low, high = (limit[elements] for limit in modality.limits)
        if not (np.isfinite(low) & np.isfinite(high) & (low < high)).all():
            raise SpecError(
                f"{label}: the elements of action {self.action!r} that command it have limits {low.tolist()} and "
                f"{high.tolist()}; give finite ones, low below high"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Camera:
    """Camera of a robot.

    Attributes:
      key: observation key that holds the camera's images.
      intrinsics: (fx, fy, cx, cy) in pixels of that observation; None if unknown.
      extrinsics: pose as a row-major 4x4 matrix, which maps points from the camera's frame (x right, y down, z forward,
        metres) to the frame of the robot's base, or to the one in which the task gives positions; None if unknown.

    Raises:
      SpecError: a field has a wrong type, length or infinite number, a focal length is not positive, or `extrinsics` is
        not a rotation and translation.
    """

    key: str
    intrinsics: tuple[float, ...] | None = None
    extrinsics: tuple[float, ...] | None = None

    def __post_init__(self):
        for name in ("intrinsics", "extrinsics"):
            if isinstance(values := getattr(self, name), np.ndarray):
                object.__setattr__(self, name, tuple(values.tolist()))
        _READER.check(self, f"camera {self.key!r}")
        _require_name("Camera.key", self.key)
        for name, count in (("intrinsics", 4), ("extrinsics", 16)):
            if (values := getattr(self, name)) is not None:
                if len(values) != count:
                    raise SpecError(f"camera {self.key!r}: {name} is {values}, expected {count} numbers")
                if not np.isfinite(values).all():
                    raise SpecError(f"camera {self.key!r}: {name} {values} are not all finite; calibrate it again")
        if self.intrinsics and min(self.intrinsics[:2]) <= 0:
            raise SpecError(
                f"camera {self.key!r}: focal lengths {self.intrinsics[:2]} must be positive; order: fx, fy, cx, cy"
            )
        if self.extrinsics and (problem := _pose_problem(np.array(self.extrinsics, np.float64).reshape(4, 4))):
            raise SpecError(f"camera {self.key!r}: extrinsics {problem}")

    def check(self, label: str, observation: Mapping[str, Modality]):
        """Check the camera against the observation of a task.

        Args:
          label: name of the camera in messages.
          observation: {key: modality} of the task.

        Raises:
          SpecError: `key` is missing or not an Image, or the principal point (cx, cy) is outside of it.
        """
        image = _look_up(f"{label}.key", self.key, "observation", observation, (Image,))
        if self.intrinsics is not None:
            x, y = self.intrinsics[2:]
            if not (0 <= x < image.width and 0 <= y < image.height):
                raise SpecError(
                    f"{label}.intrinsics: the principal point ({x}, {y}) of {self.key!r} is outside its image, "
                    f"{image.width} wide and {image.height} high; scale fx, fy, cx, cy to the size of the observation"
                )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Embodiment:
    """Embodiment of a task: the robot that acts.

    Attributes:
      robot: name of the robot.
      joints: the joints, in the order of the elements of `joint_targets`. Empty if they are unknown.
      joint_targets: action key that commands the joints' positions, one element for each joint; None if no key does.
      gripper: the gripper; None if there is none.
      cameras: the cameras, each with another key.

    Raises:
      SpecError: a field has a wrong type, two joints or two cameras have the same name or key, or `joint_targets` is
        given without joints.
    """

    robot: str
    joints: tuple[Joint, ...] = ()
    joint_targets: str | None = None
    gripper: Gripper | None = None
    cameras: tuple[Camera, ...] = ()

    def __post_init__(self):
        _READER.check(self, "embodiment")
        _require_name("embodiment.robot", self.robot)
        _require_name("embodiment.joint_targets", self.joint_targets)
        for side, names in (("joints", [j.name for j in self.joints]), ("cameras", [c.key for c in self.cameras])):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise SpecError(f"embodiment.{side}: {twice[0]!r} occurs twice; remove or rename one")
        if self.joint_targets is not None and not self.joints:
            raise SpecError(f"embodiment.joint_targets is {self.joint_targets!r}, but joints is empty; give them")

    def check(self, task: str, observation: Mapping[str, Modality], action: Mapping[str, Modality]):
        """Check the embodiment against the observation and action of a task.

        Args:
          task: name of the task, for messages.
          observation: {key: modality} of the task.
          action: {key: modality} of the task.

        Raises:
          SpecError: a key of the cameras, gripper or `joint_targets` is missing or its modality does not fit, or the
            limits of `joint_targets` exceed those of the joints.
        """
        label = f"{task}: embodiment"
        for number, camera in enumerate(self.cameras):
            camera.check(f"{label}.cameras[{number}]", observation)
        if self.gripper is not None:
            self.gripper.check(f"{label}.gripper", action)
        if self.joint_targets is not None:
            self._check_joint_targets(f"{label}.joint_targets", self.joint_targets, action)

    def _check_joint_targets(self, label: str, key: str, action: Mapping[str, Modality]):
        targets = _look_up(label, key, "action", action, (Continuous,))
        if targets.size != len(self.joints):
            raise SpecError(
                f"{label}: {key!r} has {targets.size} elements for {len(self.joints)} joints; give one each"
            )
        for joint, low, high in zip(self.joints, *targets.limits, strict=True):
            below = low < joint.low - _LIMIT_TOLERANCE * max(1.0, abs(joint.low))
            if below or high > joint.high + _LIMIT_TOLERANCE * max(1.0, abs(joint.high)):
                raise SpecError(
                    f"{label}: {key!r} commands joint {joint.name!r} within [{low}, {high}], its limits are "
                    f"[{joint.low}, {joint.high}]; narrow the action or correct the joint"
                )


def _pose_problem(pose: np.ndarray) -> str | None:
    """Return the problem of a (4, 4) pose and its remedy; None if the pose is valid.

    The text follows the word "extrinsics", e.g. `have a rotation scaled by 1000; divide its 3x3 by that`.
    """
    rotation = pose[:3, :3]
    if not np.array_equal(pose[3], [0, 0, 0, 1]):
        if np.array_equal(pose[:, 3], [0, 0, 0, 1]):
            return f"are a transposed pose: {pose[3].tolist()} belongs into the last column; give the 4x4 row-major"
        return f"have the last row {pose[3].tolist()}, needs 0, 0, 0, 1"
    gram = rotation.T @ rotation
    scale = math.sqrt(np.trace(gram) / 3)
    if np.abs(gram - np.eye(3)).max() > _ROTATION_TOLERANCE:
        if scale > 0 and np.abs(gram / scale**2 - np.eye(3)).max() <= _ROTATION_TOLERANCE:
            return f"have a rotation scaled by {scale:.4g}; divide its 3x3 by that"
        return f"have the 3x3 {rotation.tolist()}, whose columns are not orthonormal; it is no rotation"
    if np.linalg.det(rotation) < 0:
        return "have a reflection, determinant -1, for a rotation; one axis points the wrong way"
    return None


def _look_up(label: str, key: str, side: str, tree: Mapping[str, Modality], kinds: tuple[type[Part], ...]) -> Part:
    """Return the modality of a key of `tree`, the observation or action of a task.

    Args:
      label: name of the field that holds the key, for messages.
      key: the key.
      side: `observation` or `action`, for messages.
      tree: {key: modality}.
      kinds: classes of modalities that are accepted.

    Raises:
      SpecError: the key is missing or its modality is of another class; the message names the nearest fitting key.
    """
    if isinstance(modality := tree.get(key), kinds):
        return modality
    right = [name for name, other in tree.items() if isinstance(other, kinds)]
    kind = " or ".join(kind.__name__ for kind in kinds)
    problem = "is missing" if modality is None else f"is {modality}"
    raise SpecError(f"{label} is {key!r}, but {side} {key!r} {problem}; nearest {kind}: {nearest(key, right)}")


def _require_name(label: str, name: str | None):
    if name == "":
        raise SpecError(f"{label} is '', expected a non-empty string")
