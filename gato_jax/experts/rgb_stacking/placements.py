"""Places for an object on another one: candidates by geometry, which are tried in a small model."""

from __future__ import annotations

import dataclasses

import numpy as np

from gato_jax.environments.worlds.stacking.arm import WORKSPACE
from gato_jax.experts.rgb_stacking.drops import Drops, rotation_angle
from gato_jax.experts.rgb_stacking.workcell import Trials, Workcell, turned_pose

_TURNS = (0.0, np.pi / 4, -np.pi / 4, np.pi / 2, -np.pi / 2)
_YAW_RANGE = -2.0, 1.25  # radians, of which the wrist is capable
_GRID = np.arange(-2, 3) * 0.008  # metres around the centre of the lower object, where other places fail
_GAP = 0.001  # metres between the objects before the upper one is let go
_FLAT = 0.004  # metres; vertices this much below the highest one belong to the top
_ERRORS = ((0.005, 0.0), (-0.005, 0.0), (0.0, 0.005), (0.0, -0.005))  # metres by which the release may be off
_SHORTLIST = 6  # placements that are tried with errors
_FALL = 0.05  # metres of drift that a fall counts as
_TUMBLE_ANGLES = np.arange(6) * np.pi / 3  # radians
_TUMBLE_DISTANCES = (0.025, 0.04)  # metres from the centre of the object that the falling one tips over
_TUMBLED = 0.3  # radians; less is no other orientation
_GOOD = 0.02  # metres of drift, which needs no better place
_TURN_COST = 0.002  # metres of drift that a radian is worth, as it takes time


@dataclasses.dataclass(frozen=True, kw_only=True)
class Placement:
    """A pose of the gripper in which it lets the held object go.

    Attributes:
      position: Position of the pinch point, (3,) metres.
      yaw: Angle of the gripper about the vertical, in radians.
      drift: Mean movement of the objects after a release that is a little off, in metres; a fall counts as 5 cm.
    """

    position: np.ndarray
    yaw: float
    drift: float


def stable_placements(cell: Workcell, drops: Drops) -> list[Placement]:
    """Return the placements of the red object, which the gripper holds, on the blue one, the most stable one first."""
    pinch, yaw = cell.pinch, cell.yaw
    low, high = cell.vertices("blue"), cell.vertices("red")
    top, bottom = low[:, 2].max(), high[:, 2].min()
    spots = _three(_middle(low[low[:, 2] > top - _FLAT]), cell.data.body("blue").xipos[:2])
    handles = _three(cell.data.body("red").xipos[:2], _middle(high[high[:, 2] < bottom + _FLAT]))
    pose, tried = cell.data.joint("red").qpos.copy(), []
    pairs = [(spot, handle) for spot in spots for handle in handles]
    grid = [(spots[2] + [x, y], handles[0]) for x in _GRID for y in _GRID]
    for stage in (pairs, grid):
        for turn in _TURNS:
            for spot, handle in stage:
                pivot, target = np.array([*handle, bottom]), np.array([*spot, top + _GAP])
                gripper = turned_pose(np.array([*pinch, 1, 0, 0, 0]), pivot, target, turn)[:3]
                beyond = np.any(gripper[:2] < WORKSPACE[0, :2]) or np.any(gripper[:2] > WORKSPACE[1, :2])
                if beyond or not _YAW_RANGE[0] <= yaw + turn <= _YAW_RANGE[1]:
                    continue
                released = turned_pose(pose, pivot, target, turn)
                drift = drops.drift(cell, released) + _TURN_COST * abs(turn)
                if np.isfinite(drift):
                    tried.append((drift, released, Placement(position=gripper, yaw=yaw + turn, drift=drift)))
        if tried and min(drift for drift, *_ in tried) < _GOOD:
            break
    tried.sort(key=lambda candidate: candidate[0])
    placements = []
    for drift, released, placement in tried[:_SHORTLIST]:
        drifts = [drift]
        for error in _ERRORS:
            shifted = released + np.array([*error, 0.0, 0.0, 0.0, 0.0, 0.0])
            drifts.append(min(_FALL, drops.drift(cell, shifted)))
        placements.append(dataclasses.replace(placement, drift=float(np.mean(drifts))))
    return sorted(placements, key=lambda placement: placement.drift)


def best_tumble(cell: Trials, drops: Drops) -> tuple[str, np.ndarray] | None:
    """Return an object to let fall over another one so that red can be placed on blue afterwards.

    Args:
      cell: A copy of the scene; it is left with other poses of its objects.
      drops: The small model of the scene.

    Returns:
      Colour of the object, and the displacement (3,), in metres, after which to let it go; None if none is found.
    """
    start = cell.state_of(cell)
    found: list[tuple[float, str, np.ndarray]] = []
    for colour, over in (("red", "green"), ("blue", "green"), ("red", "blue"), ("blue", "red")):
        cell.put_state(start)
        pose, rotation = cell.data.joint(colour).qpos.copy(), cell.rotation(colour)
        bottom, top = cell.vertices(colour)[:, 2].min(), cell.vertices(over)[:, 2].max()
        for angle in _TUMBLE_ANGLES:
            for distance in _TUMBLE_DISTANCES:
                aside = distance * np.array([np.cos(angle), np.sin(angle)])
                target = np.array([*(cell.data.body(over).xipos[:2] + aside), pose[2] + top - bottom + 2 * _GAP])
                if np.any(target[:2] < WORKSPACE[0, :2]) or np.any(target[:2] > WORKSPACE[1, :2]):
                    continue
                cell.put_state(start)
                poses = drops.fall(cell, colour, np.concatenate([target, pose[3:]]))
                if poses is None or not all(_within_reach(pose) for pose in poses.values()):
                    continue
                cell.put_objects(poses)
                if rotation_angle(rotation, cell.rotation(colour)) < _TUMBLED:
                    continue
                places = stable_placements(cell, drops)
                if places:
                    found.append((places[0].drift, colour, target - pose[:3]))
                if places and places[0].drift < _GOOD:
                    return colour, target - pose[:3]
    if not found:
        return None
    _, colour, displacement = min(found, key=lambda option: option[0])
    return colour, displacement


def _within_reach(pose: np.ndarray) -> bool:
    return bool(np.all(pose[:2] > WORKSPACE[0, :2]) and np.all(pose[:2] < WORKSPACE[1, :2]))


def _three(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return first, second, (first + second) / 2


def _middle(points: np.ndarray) -> np.ndarray:
    """Return the middle of points seen from above, (2,)."""
    return (points[:, :2].min(axis=0) + points[:, :2].max(axis=0)) / 2
