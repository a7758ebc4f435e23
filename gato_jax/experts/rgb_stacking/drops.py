"""A small model of the objects and the basket alone, in which an object falls ten times faster than in the scene."""

# mujoco has no stubs:
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gato_jax.environments.worlds.stacking import objects
from gato_jax.environments.worlds.stacking.criteria import MAX_HORIZONTAL_DISTANCE, MIN_HEIGHT_ABOVE
from gato_jax.experts.rgb_stacking.workcell import TRIAL_TIME_STEP, Workcell

_SETTLING, _CHECK = 400, 50  # time steps, and time steps between checks
_STILL = 0.05  # metres and radians per second
_METRES_PER_RADIAN = 0.05  # about half the size of an object


class Drops:
    """The objects of an episode in the basket, without the arm.

    Masses and friction are those of the scene, which may be randomised.

    Args:
      cell: The scene, whose objects are in place.
      triplet: Names of the red, the green and the blue object.
    """

    def __init__(self, cell: Workcell, triplet: Sequence[str]):
        import mujoco

        self._model = mujoco.MjModel.from_xml_string(*_small_scene(cell, triplet))
        self._data = mujoco.MjData(self._model)
        for colour in objects.COLOURS:
            body, original = self._model.body(colour), cell.model.body(colour)
            body.inertia[:] *= original.mass / body.mass
            body.mass[:] = original.mass
            self._model.geom(colour).friction[:] = cell.model.geom(colour).friction
        mujoco.mj_setConst(self._model, self._data)
        self._geoms = {colour: self._model.geom(colour).id for colour in objects.COLOURS}

    def drift(self, cell: Workcell, pose: np.ndarray) -> float:
        """Let the red object go above the blue one, and return how far both move until they rest.

        Args:
          cell: The scene, of which the poses of the other objects are taken.
          pose: Position and quaternion of the red object, (7,).

        Returns:
          Sum of the movements of both objects aside and in rotation, in metres; infinite if the red one falls.
        """
        import mujoco

        self._put(cell, "red", pose)
        before = [self._pose(colour) for colour in ("red", "blue")]
        for _ in range(_SETTLING // _CHECK):
            mujoco.mj_step(self._model, self._data, nstep=_CHECK)
            offset = self._data.body("red").xpos - self._data.body("blue").xpos
            if offset[2] < MIN_HEIGHT_ABOVE or np.linalg.norm(offset[:2]) > MAX_HORIZONTAL_DISTANCE:
                return np.inf
        red, touching = self._geoms["red"], self._data.contact.geom
        neighbours = set(touching[np.any(touching == red, axis=1)].ravel().tolist()) - {red}
        if self._geoms["blue"] not in neighbours or neighbours - set(self._geoms.values()):
            return np.inf
        moved = 0.0
        for colour, (position, rotation) in zip(("red", "blue"), before, strict=True):
            new_position, new_rotation = self._pose(colour)
            aside = float(np.linalg.norm((new_position - position)[:2]))
            moved += aside + _METRES_PER_RADIAN * rotation_angle(rotation, new_rotation)
        return moved

    def fall(self, cell: Workcell, colour: str, pose: np.ndarray) -> dict[str, np.ndarray] | None:
        """Let an object go, and return the poses {colour: (7,)} in which all rest; None if one moves for long."""
        import mujoco

        self._put(cell, colour, pose)
        mujoco.mj_step(self._model, self._data, nstep=2 * _SETTLING)
        if np.max(np.abs(self._data.qvel)) > _STILL:
            return None
        return {colour: self._data.joint(colour).qpos.copy() for colour in objects.COLOURS}

    def _put(self, cell: Workcell, moved: str, pose: np.ndarray) -> None:
        import mujoco

        mujoco.mj_resetData(self._model, self._data)
        for colour in objects.COLOURS:
            self._data.joint(colour).qpos[:] = pose if colour == moved else cell.data.joint(colour).qpos
        mujoco.mj_kinematics(self._model, self._data)

    def _pose(self, colour: str) -> tuple[np.ndarray, np.ndarray]:
        body = self._data.body(colour)
        return body.xpos.copy(), body.xmat.reshape(3, 3).copy()


def rotation_angle(first: np.ndarray, second: np.ndarray) -> float:
    """Return the angle between two rotation matrices (3, 3), in radians."""
    return float(np.arccos(np.clip((np.trace(first.T @ second) - 1) / 2, -1.0, 1.0)))


def _small_scene(cell: Workcell, triplet: Sequence[str]) -> tuple[str, dict[str, bytes]]:
    """Return MJCF of the objects and of the basket's boxes where they are in the scene, and the files of the meshes."""
    attributes = " ".join(f'{key}="{value}"' for key, value in objects.geom_attributes().items())
    meshes, bodies, boxes = [], [], []
    for colour, name in zip(objects.COLOURS, triplet, strict=True):
        meshes.append(f'<mesh name="{colour}" file="{name}.stl"/>')
        geom = f'<geom name="{colour}" mesh="{colour}" {attributes}/>'
        bodies.append(f'<body name="{colour}"><freejoint name="{colour}"/>{geom}</body>')
    for geom in range(cell.model.ngeom):
        body = cell.model.body(cell.model.geom_bodyid[geom]).name
        if body.startswith("base/") and cell.model.geom_contype[geom]:
            rotation = cell.data.geom_xmat[geom]
            axes = " ".join(map(str, rotation.reshape(3, 3)[:, :2].T.ravel()))
            place = " ".join(map(str, cell.data.geom_xpos[geom]))
            size, friction = (
                " ".join(map(str, value[geom])) for value in (cell.model.geom_size, cell.model.geom_friction)
            )
            boxes.append(f'<geom type="box" size="{size}" pos="{place}" xyaxes="{axes}" friction="{friction}"/>')
    xml = (
        f'<mujoco><option timestep="{TRIAL_TIME_STEP}"/><asset>{"".join(meshes)}</asset>'
        f"<worldbody>{''.join(boxes + bodies)}</worldbody></mujoco>"
    )
    return xml, {f"{name}.stl": objects.mesh_files()[name].read_bytes() for name in triplet}
