"""The RGB objects: 152 meshes of dm-robotics-manipulation, their sets, and their inertia and bounds as MuJoCo has them.

Each object is a cube of 5 cm, deformed along one axis (held-out and most test objects) or two (training objects).
Sets and triplets: Lee et al. 2021 (arXiv 2110.06192), section 3.2, and the README of the package's rgb_objects.
"""

# mujoco has no stubs:
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import functools
import importlib.util
import pathlib
from collections.abc import Mapping

import numpy as np

COLOURS = ("red", "green", "blue")

TEST_TRIPLETS: Mapping[str, tuple[str, str, str]] = {
    "test_triplet1": ("r3", "s0", "b2"),
    "test_triplet2": ("r5", "g2", "b3"),
    "test_triplet3": ("r6", "g3", "b5"),
    "test_triplet4": ("s0", "g5", "b6"),
    "test_triplet5": ("r2", "g6", "s0"),
}
"""Objects in the order of COLOURS, by task."""

MASS = 0.201  # kilograms; the package's 0.2 for the visual mesh and 0.001 for its default
_GEOM = {
    "type": "mesh",
    "mass": str(MASS),
    "condim": "6",
    "friction": "0.5 0.005 0.0001",
    "solref": "0.004 1",
    "group": "1",
}
_BODY_FIELDS = ("ipos", "iquat", "sameframe")
_GEOM_FIELDS = ("size", "pos", "quat", "rbound", "aabb", "sameframe")


@functools.cache
def mesh_files() -> Mapping[str, pathlib.Path]:
    """Return {object: STL file} of all 152 objects, sorted by name."""
    found = {path.name.partition("_")[0]: path for path in sorted(_meshes().glob("*/*.stl"))}
    return dict(sorted(found.items()))


@functools.cache
def object_set(name: str) -> tuple[str, ...]:
    """Return the names of the objects of a set, sorted.

    Args:
      name: `train` (103 objects), `heldout` (36) or `test_triplets` (13).
    """
    return tuple(object_ for object_, path in mesh_files().items() if path.parent.name == name)


def geom_attributes() -> dict[str, str]:
    """Return the attributes of an object's geom in MJCF, without its mesh and colour, as the package has them.

    The package gives an object two geoms with the same mesh, one with the mass and one that collides; here it is one.
    """
    return dict(_GEOM)


class Shape:
    """Fields of a compiled model that depend on the object which a body is."""

    def __init__(self, name: str):
        import mujoco

        attributes = " ".join(f'{key}="{value}"' for key, value in _GEOM.items())
        xml = (
            f'<mujoco><asset><mesh name="object" file="object.stl"/></asset><worldbody><body><freejoint/>'
            f'<geom mesh="object" {attributes}/></body></worldbody></mujoco>'
        )
        model = mujoco.MjModel.from_xml_string(xml, {"object.stl": mesh_files()[name].read_bytes()})
        self._body = {field: getattr(model, f"body_{field}")[1].copy() for field in _BODY_FIELDS}
        self._inertia = model.body_inertia[1].copy()
        self._geom = {field: getattr(model, f"geom_{field}")[0].copy() for field in _GEOM_FIELDS}
        self._bounds = model.bvh_aabb[model.body_bvhadr[1]].copy()
        self._name = name
        points = np.zeros((model.nmeshvert, 3))
        for row, vertex in enumerate(model.mesh_vert):
            mujoco.mju_rotVecQuat(points[row], vertex.astype(np.float64), model.geom_quat[0])
        self.vertices = points + model.geom_pos[0]
        """Vertices of the mesh in the frame of the object's body, (vertices, 3) metres."""

    def put(self, model, body: int) -> None:
        """Turn a body of `model`, which has one geom with the mesh of some object, into this object.

        All objects have the same mass; where the body's has been changed, it stays, and the inertia is in proportion.
        The caller must update the model's derived constants with `mj_setConst` afterwards.
        """
        geom = model.body_geomadr[body]
        model.body_inertia[body] = self._inertia * (model.body_mass[body] / MASS)
        for field, value in self._body.items():
            getattr(model, f"body_{field}")[body] = value
        for field, value in self._geom.items():
            getattr(model, f"geom_{field}")[geom] = value
        model.bvh_aabb[model.body_bvhadr[body]] = self._bounds
        model.geom_dataid[geom] = model.mesh(self._name).id


@functools.cache
def shape(name: str) -> Shape:
    """Return the shape of an object; the first call for each object compiles a small model, in milliseconds."""
    return Shape(name)


def _meshes() -> pathlib.Path:
    package = importlib.util.find_spec("dm_robotics.manipulation")
    assert package is not None and package.submodule_search_locations  # the suite's packages have been checked
    (root,) = package.submodule_search_locations
    return pathlib.Path(root) / "props/rgb_objects/assets/rgb_v1.3/meshes"
