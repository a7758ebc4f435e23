"""Masses and inertias of MuJoCo bodies that follow from their geoms, for models whose geoms change after compilation.

MuJoCo computes them when it compiles a model, and `mj_setConst` does not compute them again.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_SPHERE, _CAPSULE, _ELLIPSOID, _CYLINDER, _BOX = 2, 3, 4, 5, 6  # mjtGeom
PRIMITIVES = (_SPHERE, _CAPSULE, _ELLIPSOID, _CYLINDER, _BOX)
"""Types of geoms that scale with `geom_size`; planes, meshes and height fields do not."""


class Solid(NamedTuple):
    """A body of density 1: volume in m^3, centre (3,) and inertia about it (3, 3), in the frame of the body."""

    volume: float
    centre: np.ndarray
    inertia: np.ndarray


def unite(model, body: int) -> Solid | None:
    """Return the union of a body's geoms, each of density 1, or None if it has none or one that is no primitive."""
    import mujoco

    first, count = int(model.body_geomadr[body]), int(model.body_geomnum[body])
    geoms = range(first, first + count)
    if not count or not all(model.geom_type[geom] in PRIMITIVES for geom in geoms):
        return None
    parts = [_volume_and_moments(int(model.geom_type[geom]), model.geom_size[geom]) for geom in geoms]
    volumes = np.array([part[0] for part in parts])
    volume = float(volumes.sum())
    centre = volumes @ model.geom_pos[first : first + count] / volume
    inertia, rotation = np.zeros((3, 3)), np.zeros(9)
    for (part, moments), geom in zip(parts, geoms, strict=True):
        mujoco.mju_quat2Mat(rotation, model.geom_quat[geom])  # pyright: ignore[reportAttributeAccessIssue]  it has no stubs
        axes, offset = rotation.reshape(3, 3), model.geom_pos[geom] - centre
        inertia += axes @ np.diag(moments) @ axes.T + part * (offset @ offset * np.eye(3) - np.outer(offset, offset))
    return Solid(volume, centre, inertia)


def density(model, body: int) -> float | None:
    """Return the density of a body whose mass and inertia are those of its geoms at one density, else None."""
    import mujoco

    solid = unite(model, body)
    if solid is None:
        return None
    rotation = np.zeros(9)
    mujoco.mju_quat2Mat(rotation, model.body_iquat[body])  # pyright: ignore[reportAttributeAccessIssue]
    axes = rotation.reshape(3, 3)
    inertia = axes @ np.diag(model.body_inertia[body]) @ axes.T
    density = float(model.body_mass[body] / solid.volume)
    same_centre = np.allclose(solid.centre, model.body_ipos[body], atol=1e-9)
    same = same_centre and np.allclose(density * solid.inertia, inertia, rtol=1e-6, atol=1e-9 * inertia.max())
    return density if same else None


def set_inertia(model, body: int, density: float) -> None:
    """Give a body of primitives the mass and inertia of its geoms at a density in kg/m^3, in place.

    The frames that MuJoCo treats as equal to the body's or to its inertial frame are compared no more, since the
    latter moves. The body may not be a simple one (`body_simple`), whose inertia MuJoCo takes to be diagonal.
    """
    import mujoco

    solid = unite(model, body)
    if solid is None:
        raise ValueError(f"{model.body(body).name}: it has geoms that are no primitives, expected none.")
    moments, axes, quaternion = np.zeros(3), np.zeros(9), np.zeros(4)
    mujoco.mju_eig3(moments, axes, quaternion, (density * solid.inertia).ravel())  # pyright: ignore[reportAttributeAccessIssue]
    model.body_mass[body] = density * solid.volume
    model.body_ipos[body], model.body_iquat[body], model.body_inertia[body] = solid.centre, quaternion, moments
    model.body_sameframe[body] = 0
    model.geom_sameframe[model.geom_bodyid == body] = 0
    model.site_sameframe[model.site_bodyid == body] = 0


def _volume_and_moments(kind: int, size: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the volume and the principal moments of inertia (3,) of a primitive of density 1."""
    x, y, z = size.tolist()
    if kind == _BOX:
        return 8 * x * y * z, 8 * x * y * z / 3 * np.array([y * y + z * z, x * x + z * z, x * x + y * y])
    if kind == _CYLINDER:
        volume = 2 * np.pi * x * x * y
        across = volume * (x * x / 4 + y * y / 3)
        return volume, np.array([across, across, volume * x * x / 2])
    if kind == _CAPSULE:  # a cylinder and two half-spheres
        tube, ball = 2 * np.pi * x * x * y, 4 / 3 * np.pi * x**3
        across = tube * (x * x / 4 + y * y / 3) + ball * (2 / 5 * x * x + 3 / 4 * x * y + y * y)
        return tube + ball, np.array([across, across, tube * x * x / 2 + ball * 2 / 5 * x * x])
    x, y, z = (x, x, x) if kind == _SPHERE else (x, y, z)
    volume = 4 / 3 * np.pi * x * y * z
    return volume, volume / 5 * np.array([y * y + z * z, x * x + z * z, x * x + y * y])
