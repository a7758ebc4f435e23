"""Candidates for grasping an object from above: antipodal places on its hull, in the order of their quality."""

from __future__ import annotations

import dataclasses

import numpy as np

from gato_jax.environments.worlds.stacking.arm import WORKSPACE
from gato_jax.environments.worlds.stacking.objects import COLOURS
from gato_jax.experts.rgb_stacking.workcell import Workcell

_YAWS = np.linspace(-1.8, -1.8 + np.pi, 18, endpoint=False)  # radians, well within the wrist's range
_SHIFTS = (0.0, -0.012, 0.012)  # metres from the object's centre, along the fingers' faces
_MAX_WIDTH = 0.078  # metres between the fingers, open
_PAD_HALF_WIDTH, _PAD_BELOW, _PAD_ABOVE = 0.011, 0.006, 0.03  # metres around the pinch point
_DISTINCT_YAW, _DISTINCT_POSITION = 0.3, 0.009  # radians, metres
_CONTACT = 0.0015  # metres; points this close to the outermost one touch the finger too


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grasp:
    """A pose of the open gripper around an object.

    Attributes:
      position: Position of the pinch point, (3,) metres.
      yaw: Angle of the gripper about the vertical, in radians.
      quality: Estimate of its quality; 1 for two parallel faces on one line through the centre of the object.
    """

    position: np.ndarray
    yaw: float
    quality: float


def candidates(cell: Workcell, colour: str) -> list[Grasp]:
    """Return grasps of an object, the best one first."""
    points, normals = _surface(cell.vertices(colour))
    centre = cell.data.body(colour).xipos
    others = np.concatenate([_surface(cell.vertices(other))[0] for other in COLOURS if other != colour])
    low, high = points[:, 2].min(), points[:, 2].max()
    heights = {float(np.clip(z, *WORKSPACE[:, 2])) for z in (centre[2] - 0.01, centre[2], low, high - 0.015)}
    found = []
    for yaw in _YAWS:
        for height in sorted(heights):
            for shift in _SHIFTS:
                grasp = _grasp(points, normals, centre, others, float(yaw), height, shift)
                if grasp is not None:
                    found.append(grasp)
    return sorted(found, key=lambda grasp: -grasp.quality)


def distinct(grasps: list[Grasp]) -> list[Grasp]:
    """Return the grasps without those that are nearly the same as an earlier one."""
    chosen: list[Grasp] = []
    for grasp in grasps:
        if all(
            abs(grasp.yaw - other.yaw) > _DISTINCT_YAW
            or np.linalg.norm(grasp.position - other.position) > _DISTINCT_POSITION
            for other in chosen
        ):
            chosen.append(grasp)
    return chosen


def _grasp(points, normals, centre, others, yaw: float, height: float, shift: float) -> Grasp | None:
    """Return the grasp at a height with the pads shifted along their faces; None where the fingers find no hold."""
    closing, along = np.array([np.sin(yaw), -np.cos(yaw)]), np.array([np.cos(yaw), np.sin(yaw)])
    beside = (points[:, :2] - centre[:2]) @ along - shift
    above = points[:, 2] - height
    inside = (np.abs(beside) < _PAD_HALF_WIDTH) & (above > -_PAD_BELOW) & (above < _PAD_ABOVE)
    if inside.sum() < 4:
        return None
    across = points[inside, :2] @ closing
    left, right = across > across.max() - _CONTACT, across < across.min() + _CONTACT
    width = across.max() - across.min()
    if width > _MAX_WIDTH:
        return None
    position = np.array([*(along * (centre[:2] @ along + shift) + closing * (across.max() + across.min()) / 2), height])
    if np.any(position < WORKSPACE[0] - 1e-9) or np.any(position > WORKSPACE[1] + 1e-9):
        return None
    sides = [(points[inside][side].mean(axis=0), normals[inside][side].mean(axis=0)) for side in (left, right)]
    (first, first_normal), (second, second_normal) = sides
    facing = min(first_normal[:2] @ closing, -second_normal[:2] @ closing)
    twist = abs((first - second)[:2] @ along) + abs(first[2] - second[2])
    lever = abs((first + second)[2] / 2 - centre[2]) + abs(shift)
    quality = facing - 8.0 * twist - 8.0 * lever - 3.0 * max(0.0, width - 0.06)
    quality -= 0.5 * min(1.0, _hindrance(others, position, closing, along) / 5)
    return Grasp(position=position, yaw=yaw, quality=float(quality))


def _hindrance(others: np.ndarray, position: np.ndarray, closing: np.ndarray, along: np.ndarray) -> int:
    """Return the number of sampled points of other objects where the open fingers would be."""
    offset = others - position
    across, beside = np.abs(offset[:, :2] @ closing), np.abs(offset[:, :2] @ along)
    return int(np.sum((across > 0.038) & (across < 0.075) & (beside < 0.018) & (offset[:, 2] > -0.008)))


def _surface(vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return points spread over the convex hull of vertices, and the outward normal at each, (points, 3) both."""
    from scipy.spatial import ConvexHull

    hull = ConvexHull(vertices)
    corners = vertices[hull.simplices]  # (faces, 3, 3)
    steps = np.linspace(0.08, 0.92, 5)
    weights = np.array([(a, b, 1 - a - b) for a in steps for b in steps if a + b < 1.0])
    points = np.einsum("fcx,wc->fwx", corners, weights)  # f: faces, c: corners, w: weights
    normals = np.broadcast_to(hull.equations[:, None, :3], points.shape)
    return points.reshape(-1, 3), normals.reshape(-1, 3)
