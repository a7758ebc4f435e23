"""Changes of the numbers of a compiled MuJoCo model between episodes, and the return to the numbers that it had."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gato_jax.environments.randomisation import geom_inertia

_EDITED = (
    "actuator_gear body_inertia body_ipos body_iquat body_mass body_sameframe cam_pos cam_quat dof_damping geom_aabb "
    "geom_friction geom_rbound geom_rgba geom_sameframe geom_size jnt_range jnt_stiffness light_diffuse light_pos "
    "mat_rgba site_sameframe"
).split()
# What mj_setConst computes from the numbers above.
_DERIVED = (
    "actuator_acc0 actuator_length0 body_invweight0 body_subtreemass cam_mat0 cam_pos0 cam_poscom0 dof_M0 "
    "dof_invweight0 light_dir0 light_pos0 light_poscom0 tendon_invweight0 tendon_length0 tendon_lengthspring"
).split()
_STATISTICS = ("meaninertia", "meanmass", "meansize", "extent", "center")
_OF_THE_VIEW = ("meansize", "extent", "center")
_MIDPHASE_OFF = 1 << 13  # mjDSBL_MIDPHASE


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quantity:
    """One kind of numbers of a model, such as the masses of its bodies.

    Attributes:
      labels: Names of the parts that have the number, in their order in the model.
      width: Numbers of each part, such as 3 for a position.
      neutral: Number that changes nothing: 1 for a factor, 0 for an offset.
      apply: Function that applies numbers (parts, width) to the model, in place.
    """

    labels: Sequence[str]
    width: int = 1
    neutral: float = 1.0
    apply: Callable[[np.ndarray], None]


class ModelEdits:
    """The numbers of one model as they were when this was made, and the quantities that may be changed.

    Attributes:
      quantities: {name of a field of `Randomisation`: the quantity}. They are applied in this order.
    """

    def __init__(self, model):
        import mujoco

        self._model = model
        self._scratch = mujoco.MjData(model)  # pyright: ignore[reportAttributeAccessIssue]  it has no stubs
        self._nominal = {name: getattr(model, name).copy() for name in (*_EDITED, *_DERIVED)}
        self._statistics = {name: np.copy(getattr(model.stat, name)) for name in _STATISTICS}
        self._flags = int(model.opt.disableflags)
        self._bodies = np.flatnonzero((model.body_weldid > 0) & (model.body_mass > 0))
        self._geoms = np.flatnonzero(
            np.isin(model.geom_type, geom_inertia.PRIMITIVES) & np.isin(model.geom_bodyid, self._bodies)
        )
        self.quantities: Mapping[str, Quantity] = {**self._dynamics(), **self._appearance()}

    def restore(self) -> None:
        """Give the model all its numbers back."""
        for name, values in self._nominal.items():
            getattr(self._model, name)[:] = values
        self._set_statistics(_STATISTICS)
        self._model.opt.disableflags = self._flags

    def apply(self, values: Mapping[str, np.ndarray]) -> None:
        """Apply {quantity: numbers (parts, width)} to the restored model, and bring derived numbers up to date.

        A model to which only neutral numbers are applied stays the same to the bit.
        """
        import mujoco

        changed = False
        for name, quantity in self.quantities.items():
            if name in values and not np.all(values[name] == quantity.neutral):
                quantity.apply(values[name])
                changed = True
        if changed:
            mujoco.mj_setConst(self._model, self._scratch)  # pyright: ignore[reportAttributeAccessIssue]
            self._set_statistics(_OF_THE_VIEW)  # cameras keep their clipping planes

    def _set_statistics(self, names: Sequence[str]) -> None:
        for name in names:
            value = self._statistics[name]
            setattr(self._model.stat, name, value if value.ndim else float(value))

    def _dynamics(self) -> dict[str, Quantity]:
        model = self._model
        colliding = np.flatnonzero((model.geom_contype | model.geom_conaffinity) > 0)
        moved = np.maximum.reduceat(model.dof_damping, model.jnt_dofadr) if model.njnt else np.zeros(0)
        damped, springs = np.flatnonzero(moved > 0), np.flatnonzero(model.jnt_stiffness > 0)
        limited, actuators = np.flatnonzero(model.jnt_limited), np.arange(model.nu)
        return {
            "masses": self._of("body", self._bodies, self._scale_masses),
            "sizes": self._of("geom", self._geoms, self._scale_sizes),
            "friction": self._of("geom", colliding, self._scaling("geom_friction", colliding)),
            "damping": self._of("joint", damped, lambda factors: self._scale_damping(damped, factors)),
            "stiffness": self._of("joint", springs, self._scaling("jnt_stiffness", springs)),
            "ranges": self._of("joint", limited, self._scaling("jnt_range", limited)),
            "gear": self._of("actuator", actuators, self._scaling("actuator_gear", actuators)),
        }

    def _appearance(self) -> dict[str, Quantity]:
        model = self._model
        lights, cameras, materials = (np.arange(number) for number in (model.nlight, model.ncam, model.nmat))
        plain = np.flatnonzero(model.geom_matid < 0)  # the others have the colour of their material
        offset = {"width": 3, "neutral": 0.0}
        return {
            "light_positions": self._of("light", lights, self._moving("light_pos"), **offset),
            "light_colours": self._of("light", lights, self._scaling("light_diffuse", lights), width=3),
            "colours": self._of("geom", plain, self._tinting("geom_rgba", plain), width=3),
            "textures": self._of("material", materials, self._tinting("mat_rgba", materials), width=3),
            "camera_positions": self._of("camera", cameras, self._moving("cam_pos"), **offset),
            "camera_angles": self._of("camera", cameras, self._turn_cameras, **offset),
        }

    def _of(self, kind: str, parts: np.ndarray, apply: Callable[[np.ndarray], None], **settings: Any) -> Quantity:
        """Return a quantity of parts of a kind; a part without a name is labelled `KIND NUMBER`."""
        names = (getattr(self._model, kind)(int(part)).name for part in parts)
        labels = [name or f"{kind} {part}" for name, part in zip(names, parts, strict=True)]
        return Quantity(labels=labels, apply=apply, **settings)

    def _scaling(self, field: str, parts: np.ndarray) -> Callable[[np.ndarray], None]:
        def scale(factors: np.ndarray) -> None:
            values = getattr(self._model, field)
            values[parts] *= factors if values.ndim > 1 else factors[:, 0]

        return scale

    def _moving(self, field: str) -> Callable[[np.ndarray], None]:
        def move(offsets: np.ndarray) -> None:
            getattr(self._model, field)[:] += offsets

        return move

    def _tinting(self, field: str, parts: np.ndarray) -> Callable[[np.ndarray], None]:
        def tint(factors: np.ndarray) -> None:
            colours = getattr(self._model, field)
            colours[parts, :3] = np.clip(colours[parts, :3] * factors, 0.0, 1.0)

        return tint

    def _scale_masses(self, factors: np.ndarray) -> None:
        self._model.body_mass[self._bodies] *= factors[:, 0]
        self._model.body_inertia[self._bodies] *= factors

    def _scale_damping(self, joints: np.ndarray, factors: np.ndarray) -> None:
        by_joint = np.ones(self._model.njnt)
        by_joint[joints] = factors[:, 0]
        self._model.dof_damping[:] *= by_joint[self._model.dof_jntid]

    def _scale_sizes(self, factors: np.ndarray) -> None:
        """Scale geoms about their centres, with the masses and inertias that follow.

        A body whose inertia is not that of its geoms at one density, such as one of a mesh, keeps its own.
        """
        model = self._model
        changed = np.unique(model.geom_bodyid[self._geoms[factors[:, 0] != 1.0]]).tolist()
        densities = {body: density for body in changed if (density := self._density(body)) is not None}
        model.geom_size[self._geoms] *= factors
        model.geom_rbound[self._geoms] *= factors[:, 0]
        model.geom_aabb[self._geoms] *= factors
        # The tree of bounding boxes of a body's geoms is that of their nominal sizes.
        model.opt.disableflags |= _MIDPHASE_OFF
        for body, density in densities.items():
            if model.body_geomnum[body] == 1:
                factor = float(factors[self._geoms == model.body_geomadr[body], 0][0])
                model.body_mass[body] *= factor**3
                model.body_inertia[body] *= factor**5
            else:
                geom_inertia.set_inertia(model, body, density)

    def _density(self, body: int) -> float | None:
        """Return the density of a body whose inertia follows from its geoms, None if it has one of its own."""
        if self._model.body_simple[body] > 0 and self._model.body_geomnum[body] > 1:
            return None  # MuJoCo relies on its diagonal inertia
        return geom_inertia.density(self._model, body)

    def _turn_cameras(self, degrees: np.ndarray) -> None:
        import mujoco

        for camera, angles in enumerate(np.deg2rad(degrees)):
            turned, angle = np.zeros(4), float(np.linalg.norm(angles))
            turn = np.array([1.0, 0.0, 0.0, 0.0])
            if angle > 0:
                mujoco.mju_axisAngle2Quat(turn, angles / angle, angle)  # pyright: ignore[reportAttributeAccessIssue]
            mujoco.mju_mulQuat(turned, self._model.cam_quat[camera], turn)  # pyright: ignore[reportAttributeAccessIssue]
            self._model.cam_quat[camera] = turned
