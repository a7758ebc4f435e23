"""The 38 planar bodies of Huang et al., "One Policy to Control Them All" (2020), as data and as MuJoCo models.

Each family has one full body of the OpenAI Gym, a cheetah, walker, hopper or 2-D humanoid, and the other bodies lack
some of its limbs. The sizes, ranges, gears and contact parameters are those of https://github.com/huangwl18/modular-rl,
whose walkers exist twice: `main` and `flipped` are the same body, and only its policy tells them apart.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from typing import Any
from xml.etree import ElementTree

import numpy as np

Vector = tuple[float, float, float]
Geom = Mapping[str, Any]  # attributes of a geom in MJCF

_ORIGIN = (0.0, 0.0, 0.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limb:
    """A limb that one actuated hinge connects with its parent.

    Attributes:
      name: Name of the limb, of its hinge and of its actuator.
      parent: Name of the limb that it hangs on, or `torso`.
      kind: Index of its kind among the four of its family, from 0, such as that of thighs.
      at: Position of the hinge in the frame of the parent, in metres.
      anchor: Position of the hinge in the frame of the limb, in metres.
      axis: 1 or -1 for a hinge around the y axis or against it.
      degrees: Range of the hinge.
      gear: Torque at the action 1, in N m.
      hinge: Further MJCF attributes of the hinge.
      geoms: Geoms of the limb.
    """

    name: str
    parent: str
    kind: int
    at: Vector
    anchor: Vector = _ORIGIN
    axis: int
    degrees: tuple[float, float]
    gear: float
    hinge: Mapping[str, float] = dataclasses.field(default_factory=dict)
    geoms: tuple[Geom, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Body:
    """A planar body, which moves in the plane of x and z.

    Attributes:
      name: Name of the body, such as `cheetah_7_full`.
      timestep: Time step of the simulation, in seconds.
      integrator: MuJoCo's name of the integrator.
      hinges: MJCF attributes of all hinges, except where a limb has its own.
      skin: MJCF attributes of all geoms, except where a geom has its own.
      torso: Geoms of the torso.
      torso_kind: Kind of the torso; None for the humanoids, whose limbs have all four kinds.
      height: Height of the torso at the start, in metres.
      root_height: Position of the root's vertical joint at the start.
      root_hinge: Height of the root's hinge above the torso, in metres.
      root_armature: Armature of the root's joints.
      limbs: Limbs, parents before children.
    """

    name: str
    timestep: float
    integrator: str
    hinges: Mapping[str, Any]
    skin: Mapping[str, Any]
    torso: tuple[Geom, ...]
    torso_kind: int | None = 0
    height: float
    root_height: float = 0.0
    root_hinge: float = 0.0
    root_armature: float = 0.0
    limbs: tuple[Limb, ...]


def build(body: Body):
    """Return the MuJoCo model of a body on a floor, with a camera `track` that follows it from the side.

    The first three joints are the root's: x, z and the rotation around y. Hinges and actuators follow in the order of
    the limbs, whose bodies have the indices from 2 after the world and the torso.
    """
    import mujoco

    return mujoco.MjModel.from_xml_string(mjcf(body))  # pyright: ignore[reportAttributeAccessIssue]  it has no stubs


def mjcf(body: Body) -> str:
    """Return the description of a body in MuJoCo's XML format."""
    root = ElementTree.Element("mujoco", model=body.name)
    _add(root, "compiler", angle="radian")
    _add(root, "option", timestep=body.timestep, integrator=body.integrator)
    default = _add(root, "default")
    _add(default, "joint", limited="true", **body.hinges)
    _add(default, "geom", contype=1, rgba=(0.7, 0.5, 0.3, 1.0), **body.skin)
    world, actuators = _add(root, "worldbody"), _add(root, "actuator")
    _add(world, "light", directional="true", pos=(0, 0, 4), dir=(0.3, 0.5, -1))
    _add(world, "geom", name="floor", type="plane", size=(40, 40, 1), conaffinity=1, condim=3)
    torso = _add(world, "body", name="torso", pos=(0, 0, body.height))
    _add(torso, "camera", name="track", mode="trackcom", pos=(0, -3, 0.2), xyaxes=(1, 0, 0, 0, 0.1, 1))
    free = {"limited": "false", "armature": body.root_armature, "damping": 0, "stiffness": 0}
    _add(torso, "joint", name="root_x", type="slide", axis=(1, 0, 0), **free)
    _add(torso, "joint", name="root_z", type="slide", axis=(0, 0, 1), ref=body.root_height, **free)
    _add(torso, "joint", name="root_y", type="hinge", axis=(0, 1, 0), pos=(0, 0, body.root_hinge), **free)
    for geom in body.torso:
        _add(torso, "geom", **geom)
    parts = {"torso": torso}
    for limb in body.limbs:
        part = _add(parts[limb.parent], "body", name=limb.name, pos=np.subtract(limb.at, limb.anchor))
        axis, limits = (0, limb.axis, 0), np.deg2rad(limb.degrees)
        _add(part, "joint", name=limb.name, type="hinge", axis=axis, pos=limb.anchor, range=limits, **limb.hinge)
        for geom in limb.geoms:
            _add(part, "geom", **geom)
        _add(actuators, "motor", name=limb.name, joint=limb.name, gear=limb.gear, ctrllimited="true", ctrlrange=(-1, 1))
        parts[limb.name] = part
    return ElementTree.tostring(root, encoding="unicode")


def _add(parent: ElementTree.Element, tag: str, **attributes: Any) -> ElementTree.Element:
    """Add an element with attributes that are texts, numbers or vectors, and return it."""
    texts = {
        key: value if isinstance(value, str) else " ".join(f"{number:.17g}" for number in np.ravel(value))
        for key, value in attributes.items()
    }
    return ElementTree.SubElement(parent, tag, texts)


def _capsule(start: Vector, end: Vector, radius: float, **attributes: Any) -> Geom:
    return {"type": "capsule", "fromto": (*start, *end), "size": (radius,), **attributes}


def _ball(centre: Vector, radius: float) -> Geom:
    return {"type": "sphere", "pos": centre, "size": (radius,)}


def _rod(x: float, z: float, angle: float, half_length: float) -> Geom:
    """Return a capsule of the cheetah, whose axis is the z axis rotated by `angle` (radians) around the y axis."""
    return {"type": "capsule", "pos": (x, 0.0, z), "axisangle": (0, 1, 0, angle), "size": (0.046, half_length)}


def _without(limbs: Iterable[Limb], removed: Iterable[str]) -> tuple[Limb, ...]:
    """Return the limbs, without those in `removed` and without limbs that hang on these."""
    gone, kept = set(removed), []
    for limb in limbs:
        if limb.name in gone or limb.parent in gone:
            gone.add(limb.name)
        else:
            kept.append(limb)
    return tuple(kept)


def _cheetah(variant: str, back: int, front: int) -> Body:
    """Return the cheetah with these numbers of limbs in the back and the front leg, from 0 to 3."""

    def limb(name: str, parent: str, x: float, z: float, limits: tuple[float, float], gear: float, spring: float, rod):
        return Limb(
            name=name,
            parent=parent,
            kind=1 + ("thigh", "shin", "foot").index(name[1:]),
            at=(x, 0.0, z),
            axis=1,
            degrees=(float(np.rad2deg(limits[0])), float(np.rad2deg(limits[1]))),
            gear=gear,
            hinge={"stiffness": spring, "damping": spring / 40},
            geoms=(_rod(*rod),),
        )

    back_leg = (
        limb("bthigh", "torso", -0.5, 0.0, (-0.52, 1.05), 120.0, 240.0, (0.1, -0.13, -3.8, 0.145)),
        limb("bshin", "bthigh", 0.16, -0.25, (-0.785, 0.785), 90.0, 180.0, (-0.14, -0.07, -2.03, 0.15)),
        limb("bfoot", "bshin", -0.28, -0.14, (-0.4, 0.785), 60.0, 120.0, (0.03, -0.097, -0.27, 0.094)),
    )
    front_leg = (
        limb("fthigh", "torso", 0.5, 0.0, (-1.0, 0.7), 120.0, 180.0, (-0.07, -0.12, 0.52, 0.133)),
        limb("fshin", "fthigh", -0.14, -0.24, (-1.2, 0.87), 60.0, 120.0, (0.065, -0.09, -0.6, 0.106)),
        limb("ffoot", "fshin", 0.13, -0.18, (-0.5, 0.5), 30.0, 60.0, (0.045, -0.07, -0.6, 0.07)),
    )
    return Body(
        name=f"cheetah_{1 + back + front}_{variant}",
        timestep=0.01,
        integrator="Euler",
        hinges={"armature": 0.1, "solimplimit": (0, 0.8, 0.03), "solreflimit": (0.02, 1)},
        skin={"conaffinity": 0, "friction": (0.4, 0.1, 0.1), "solimp": (0, 0.8, 0.01), "solref": (0.02, 1)},
        torso=(_capsule((-0.5, 0.0, 0.0), (0.5, 0.0, 0.0), 0.046), _rod(0.6, 0.1, 0.87, 0.15)),
        height=0.7,
        limbs=(*back_leg[:back], *front_leg[:front]),
    )


def _walker(variant: str, left: int, right: int) -> Body:
    """Return the walker with these numbers of limbs in the left and the right leg, from 0 to 3."""
    grip = {"friction": (0.9, 0.1, 0.1)}
    tips = ((0.0, 0.0, -0.48), (0.0, 0.0, -0.384), (0.2, 0.0, 0.0))
    radii = (0.056, 0.0448, 0.06)

    def limb(side: str, number: int) -> Limb:
        return Limb(
            name=f"{side}{number}",
            parent=f"{side}{number - 1}" if number > 1 else "torso",
            kind=number,
            at=tips[number - 2] if number > 1 else (0.0, 0.0, -0.6),
            axis=-1,
            degrees=(-75.0, 75.0),
            gear=100.0,
            geoms=(_capsule(_ORIGIN, tips[number - 1], radii[number - 1], **grip),),
        )

    return Body(
        name=f"walker_{1 + left + right}_{variant}",
        timestep=0.002,
        integrator="RK4",
        hinges={"armature": 0.01, "damping": 0.1},
        skin={"conaffinity": 0, "friction": (0.7, 0.1, 0.1)},
        torso=(_capsule(_ORIGIN, (0.0, 0.0, -0.6), 0.07, **grip),),
        height=1.6,
        root_height=1.25,
        root_hinge=-0.35,
        limbs=(*(limb("left", n + 1) for n in range(left)), *(limb("right", n + 1) for n in range(right))),
    )


def _hopper(shanks: int) -> Body:
    """Return the hopper with 0, 1 or 2 links between its thigh and its foot."""
    grip = {"friction": (0.9, 0.005, 0.0001)}
    joint: dict[str, Any] = {"axis": -1, "degrees": (-150.0, 0.0), "gear": 200.0}
    thigh = _capsule(_ORIGIN, (0.0, 0.0, -0.45), 0.05, **grip)
    limbs = [Limb(name="thigh", parent="torso", kind=1, at=(0.0, 0.0, -0.2), geoms=(thigh,), **joint)]
    end = (0.0, 0.0, -0.45)
    for name in ("leg", "lower_leg")[:shanks]:
        shank = _capsule((0.0, 0.0, 0.25), (0.0, 0.0, -0.25), 0.04, **grip)
        limbs.append(
            Limb(name=name, parent=limbs[-1].name, kind=2, at=end, anchor=(0.0, 0.0, 0.25), geoms=(shank,), **joint)
        )
        end = (0.0, 0.0, -0.25)
    sole = _capsule((-0.195, 0.0, 0.0), (0.195, 0.0, 0.0), 0.06, friction=(2.0, 0.005, 0.0001))
    joint["degrees"] = (-45.0, 45.0)
    limbs.append(
        Limb(name="foot", parent=limbs[-1].name, kind=3, at=end, anchor=(-0.065, 0.0, 0.0), geoms=(sole,), **joint)
    )
    height = 1.75 if shanks == 2 else 1.25
    return Body(
        name=f"hopper_{3 + shanks}",
        timestep=0.002,
        integrator="RK4",
        hinges={"armature": 1, "damping": 1},
        skin={"conaffinity": 1, "condim": 1, "margin": 0.001, "solimp": (0.8, 0.8, 0.01), "solref": (0.02, 1)},
        torso=(_capsule((0.0, 0.0, 0.2), (0.0, 0.0, -0.2), 0.05, **grip),),
        height=height,
        root_height=height,
        limbs=tuple(limbs),
    )


def _humanoid(variant: str, removed: tuple[str, ...]) -> Body:
    """Return the planar humanoid without these limbs, which are `right_thigh`, `left_lower_arm` and so on."""

    def leg(side: str, y: float, hip_armature: float, knee: Mapping[str, float]) -> tuple[Limb, Limb]:
        inwards = -0.01 if y > 0 else 0.01
        thigh = Limb(
            name=f"{side}_thigh", parent="torso", kind=0, at=(0.0, y, -0.465), axis=1, degrees=(-110.0, 20.0),
            gear=150.0, hinge={"armature": hip_armature, "damping": 5.0, "stiffness": 20.0},
            geoms=(_capsule(_ORIGIN, (0.0, inwards, -0.34), 0.06),),
        )  # fmt: skip
        shin = Limb(
            name=f"{side}_shin", parent=f"{side}_thigh", kind=1, at=(0.0, inwards, -0.383), anchor=(0.0, 0.0, 0.02),
            axis=-1, degrees=(-160.0, -2.0), gear=100.0, hinge={"armature": 0.006, **knee},
            geoms=(_capsule(_ORIGIN, (0.0, 0.0, -0.3), 0.049), _ball((0.0, 0.0, -0.35), 0.075)),
        )  # fmt: skip
        return thigh, shin

    def arm(side: str, y: float, shoulder: tuple[float, float]) -> tuple[Limb, Limb]:
        out = 1.0 if y > 0 else -1.0
        upper = Limb(
            name=f"{side}_upper_arm", parent="torso", kind=2, at=(0.0, y, 0.06), axis=-1, degrees=shoulder, gear=12.5,
            hinge={"armature": 0.006, "stiffness": 1.0},
            geoms=(_capsule(_ORIGIN, (0.16, out * 0.16, -0.16), 0.04),),
        )  # fmt: skip
        lower = Limb(
            name=f"{side}_lower_arm", parent=f"{side}_upper_arm", kind=3, at=(0.18, out * 0.18, -0.18), axis=-1,
            degrees=(-90.0, 50.0), gear=12.5, hinge={"armature": 0.0028},
            geoms=(
                _capsule((0.01, -out * 0.01, 0.01), (0.17, -out * 0.17, 0.17), 0.031),
                _ball((0.18, -out * 0.18, 0.18), 0.04),
            ),
        )  # fmt: skip
        return upper, lower

    limbs = (
        *leg("right", -0.1, 0.008, {}),
        *leg("left", 0.1, 0.01, {"stiffness": 1.0}),
        *arm("right", -0.17, (-85.0, 60.0)),
        *arm("left", 0.17, (-60.0, 85.0)),
    )
    kept = _without(limbs, removed)
    return Body(
        name=f"humanoid_2d_{1 + len(kept)}_{variant}",
        timestep=0.002,
        integrator="RK4",
        hinges={"armature": 1, "damping": 1},
        skin={"conaffinity": 0, "friction": (0.7, 0.1, 0.1)},
        torso=(
            _capsule((0.0, -0.07, 0.0), (0.0, 0.07, 0.0), 0.07),
            _ball((0.0, 0.0, 0.19), 0.09),
            _capsule((-0.01, -0.06, -0.12), (-0.01, 0.06, -0.12), 0.06),
            _capsule((-0.01, -0.06, -0.26), (-0.01, 0.06, -0.26), 0.06),
            _capsule((-0.02, -0.07, -0.425), (-0.02, 0.07, -0.425), 0.09),
        ),
        torso_kind=None,
        height=1.4,
        root_height=1.25,
        root_hinge=1.1,
        root_armature=0.02,
        limbs=kept,
    )


_CHEETAHS = {  # variant: limbs of the back and of the front leg
    "2_back": (1, 0), "2_front": (0, 1), "3_back": (2, 0), "3_balanced": (1, 1), "3_front": (0, 2),
    "4_allback": (3, 0), "4_allfront": (0, 3), "4_back": (2, 1), "4_front": (1, 2), "5_back": (3, 1),
    "5_balanced": (2, 2), "5_front": (1, 3), "6_back": (3, 2), "6_front": (2, 3), "7_full": (3, 3),
}  # fmt: skip
_WALKERS = {2: (1, 0), 3: (1, 1), 4: (2, 1), 5: (2, 2), 6: (3, 2), 7: (3, 3)}  # limbs of the left and of the right leg
_HUMANOIDS = {  # variant: limbs that it lacks, apart from those that hang on them
    "left_arm": ("left_upper_arm",), "left_leg": ("left_thigh",), "lower_arms": ("left_lower_arm", "right_lower_arm"),
    "right_arm": ("right_upper_arm",), "right_leg": ("right_thigh",), "left_knee": ("left_shin",),
    "right_knee": ("right_shin",), "full": (),
}  # fmt: skip


@functools.cache
def bodies() -> Mapping[str, Body]:
    """Return {name: body} of the 38 bodies, sorted by name."""
    every = [
        *(_cheetah(variant.partition("_")[2], *legs) for variant, legs in _CHEETAHS.items()),
        *(_walker(variant, *legs) for variant in ("main", "flipped") for legs in _WALKERS.values()),
        *(_hopper(shanks) for shanks in (0, 1, 2)),
        *(_humanoid(variant, removed) for variant, removed in _HUMANOIDS.items()),
    ]
    return {body.name: body for body in sorted(every, key=lambda body: body.name)}
