"""Scripts for the Meta-World tasks in which the policies that come with Meta-World fail in some episodes.

Each script is a function of the current scene alone, without memory, so that single steps can be imitated, and a script
whose object slipped begins again. It returns the point that the hand moves to and the effort of the gripper.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

OPEN, CLOSED = -1.0, 1.0
_SHUT = 0.7  # opening below which the fingers press on what is between them; the largest object is the basketball


class Scene(NamedTuple):
    """Positions in metres, as Meta-World observes them.

    Attributes:
      hand: Position of the hand, (3,).
      opening: Opening of the gripper, 0 to 1.
      item: Position of the first object, (3,).
      quaternion: Quaternion of the first object, (4,), in the task's own convention.
      second: Position of the second object, (3,); zeros if there is none.
      goal: Position of the goal, (3,).
    """

    hand: np.ndarray
    opening: float
    item: np.ndarray
    quaternion: np.ndarray
    second: np.ndarray
    goal: np.ndarray

    @classmethod
    def from_state(cls, state: np.ndarray) -> Scene:
        """Return the scene of Meta-World's vector of 39 numbers."""
        return cls(state[:3], float(state[3]), state[4:7], state[7:11], state[11:14], state[36:39])


Command = tuple[np.ndarray, float]
Script = Callable[[Scene], Command]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grasp:
    """Geometry of the grasp of one object.

    Attributes:
      offset: Position of the hand relative to the object at which the gripper closes, (3,) metres.
      hover: Height in metres above the grasp at which the hand travels.
      aligned: Largest horizontal distance in metres at which the hand goes down.
      depth: Height in metres above the grasp from which the gripper closes.
      slip: Largest distance in metres from the grasp at which the object counts as held.
    """

    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    hover: float = 0.12
    aligned: float = 0.015
    depth: float = 0.012
    slip: float = 0.03

    def point(self, scene: Scene) -> np.ndarray:
        """Return the position of the hand at which the gripper closes."""
        return scene.item + np.array(self.offset)

    def holds(self, scene: Scene) -> bool:
        """Return True if the closed fingers are around the object."""
        return bool(scene.opening < _SHUT and np.linalg.norm(scene.hand - self.point(scene)) < self.slip)

    def approach(self, scene: Scene) -> Command:
        """Return the command that leads to the grasp: travel above the object, go down open, close the gripper."""
        point = self.point(scene)
        sideways, height = np.linalg.norm((scene.hand - point)[:2]), scene.hand[2] - point[2]
        if height < self.depth and sideways < 1.5 * self.aligned:
            return point, CLOSED
        if sideways < (self.aligned if height > 0.5 * self.hover else 1.5 * self.aligned):
            return point, OPEN
        return point + [0.0, 0.0, self.hover], OPEN


def carry(grasp: Grasp, path: Callable[[Scene], np.ndarray]) -> Script:
    """Return the script that grasps the object, and then moves the hand to `path` of the scene."""

    def script(scene: Scene) -> Command:
        return (path(scene), CLOSED) if grasp.holds(scene) else grasp.approach(scene)

    return script


def over(scene: Scene, target: np.ndarray, *, height: float, tolerance: float = 0.02) -> np.ndarray:
    """Return the next point of a path that lifts the hand to a height, crosses at that height, and ends at `target`."""
    if np.linalg.norm((scene.hand - target)[:2]) < tolerance:
        return target
    if scene.hand[2] < height - 0.03:
        return np.array([*scene.hand[:2], height + 0.02])
    return np.array([*target[:2], height])


BALL = Grasp(offset=(0.0, 0.0, 0.02), slip=0.04)
CUBE = Grasp(offset=(-0.005, 0.0, 0.03), slip=0.04)
LID = Grasp(offset=(0.0, 0.0, 0.07), slip=0.04)
PEG = Grasp(offset=(0.0, 0.0, 0.026), slip=0.03)
PUCK = Grasp(offset=(0.0, 0.0, 0.04), depth=0.02, slip=0.05)
STICK = Grasp(offset=(-0.015, 0.0, 0.03), slip=0.05)


def _insert_peg(scene: Scene) -> np.ndarray:
    """Return the next point of a held peg: in front of the hole, which opens to the right, then into it."""
    inside = scene.goal + [0.13, 0.0, 0.036]
    if np.linalg.norm((scene.hand - inside)[1:]) > 0.015 and scene.hand[0] > inside[0] + 0.1:
        return over(scene, inside + [0.22, 0.0, 0.0], height=0.2, tolerance=0.05)
    return inside - [0.05, 0.0, 0.0]


def _place_on_shelf(scene: Scene) -> np.ndarray:
    """Return the next point of a held block: up, sideways to the shelf, forward onto it."""
    above = scene.goal + [0.0, 0.0, 0.06]
    if scene.hand[2] < above[2] - 0.03 and scene.hand[1] < above[1] - 0.1:
        return np.array([*scene.hand[:2], above[2] + 0.02])
    if abs(scene.hand[0] - above[0]) > 0.02:
        return np.array([above[0], scene.hand[1], above[2]])
    return np.minimum(above, scene.hand + [1.0, 0.04, 1.0])


def _press_behind_wall(scene: Scene) -> Command:
    """Return the command that crosses the wall at a height, goes down between wall and button, and presses."""
    button = scene.item + [0.0, 0.0, 0.04]
    front = button - [0.0, 0.022, 0.0]
    offset = scene.hand - front
    if abs(offset[2]) < 0.03 and abs(offset[0]) < 0.03:
        return button + [0.0, 0.1, 0.0], CLOSED
    if np.linalg.norm(offset[:2]) < (0.015 if offset[2] > 0.1 else 0.04):
        return front, CLOSED
    return np.array([*front[:2], 0.3]), CLOSED


def _open_door(scene: Scene) -> Command:
    """Return the command that lowers the closed fingers behind the door's handle, and pulls it."""
    behind = scene.item + [0.01, 0.02, 0.0]
    offset = scene.hand - behind
    if abs(offset[2]) < 0.04 and np.linalg.norm(offset[:2]) < 0.08:
        return scene.item - [0.05, 0.0, 0.0], CLOSED
    if np.linalg.norm(offset[:2]) < 0.03:
        return behind, CLOSED
    return behind + [0.0, 0.0, 0.15], CLOSED


def _lift_wrench(scene: Scene) -> Command:
    """Return the command that grasps the wrench's handle on the side where no finger hits its shaft, and lifts it."""
    yaw = 2 * np.arctan2(scene.quaternion[3], scene.quaternion[0])
    wrench = Grasp(offset=(0.02 if yaw > 0.05 else -0.02, 0.0, 0.035), slip=0.05)
    return (scene.hand + [0.0, 0.0, 0.1], CLOSED) if wrench.holds(scene) else wrench.approach(scene)


def _pull_thermos(scene: Scene) -> np.ndarray:
    """Return the next point of a held stick: in front of the thermos's handle, through it, and with it to the goal."""
    stick = scene.item
    to_handle = scene.second - stick
    if to_handle[0] < 0.035:
        return scene.hand + [*(scene.goal - scene.second)[:2], 0.0]
    if np.linalg.norm(to_handle[1:]) > 0.012:
        return scene.hand + [min(to_handle[0] - 0.1, 0.0), *to_handle[1:]]
    return scene.hand + to_handle


SCRIPTS: dict[str, Script] = {
    "basketball-v3": carry(BALL, lambda scene: over(scene, scene.goal + [0.0, 0.0, 0.08], height=0.36)),
    "box-close-v3": carry(LID, lambda scene: over(scene, scene.goal + [0.0, 0.0, 0.07], height=0.27)),
    "button-press-wall-v3": _press_behind_wall,
    "disassemble-v3": _lift_wrench,
    "door-open-v3": _open_door,
    "peg-insert-side-v3": carry(PEG, _insert_peg),
    "push-back-v3": carry(PUCK, lambda scene: np.array([*scene.goal[:2], 0.06])),
    "shelf-place-v3": carry(CUBE, _place_on_shelf),
    "soccer-v3": carry(BALL, lambda scene: np.array([*scene.goal[:2], 0.06])),
    "stick-pull-v3": carry(STICK, _pull_thermos),
    "sweep-into-v3": carry(CUBE, lambda scene: np.array([*scene.goal[:2], 0.06])),
}
