"""The scene of RGB stacking: a Sawyer arm with a Robotiq 2F-85 gripper above a basket with three objects.

Robot, gripper, force sensor, basket and meshes are those of dm-robotics-moma and dm-robotics-manipulation. Places,
cameras, time step and lights are those of DeepMind's release, github.com/google-deepmind/rgb_stacking (Apache-2.0),
which draws no shadows. Positions are in metres in the frame of the arm's base: x forward, y to its left, z upwards.
"""

# mujoco has no stubs:
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import copy
import functools
import warnings
from typing import Any

from gato_jax.environments.rendering import import_without_gl
from gato_jax.environments.worlds.stacking import objects

TIME_STEP = 0.0005  # seconds
BASKET_CENTRE = (0.6, 0.0, 0.0498)
CAMERAS = {"image_left": "base/basket_front_left", "image_right": "base/basket_front_right"}
CAMERA_FIELD_OF_VIEW = 35.0  # degrees
PORTRAIT = "portrait"
STILL_GROUP = 2  # of visible geoms that never move: the basket and the ground
ARM_JOINTS = tuple(f"robot0/right_j{number}" for number in range(7))
GRIPPER_JOINT = "robot0/robotiq_fts300/robotiq_2f85/left_driver_joint"
PINCH_SITE = "robot0/robotiq_fts300/robotiq_2f85/pinch_site"  # the point between the fingertips
WRIST_SITE = "robot0/wrist_site"
FINGERTIPS = tuple(f"robot0/robotiq_fts300/robotiq_2f85/reinforced_{side}_fingertip_geom" for side in ("left", "right"))
# MuJoCo compiles faster formulas for bodies whose axes are the principal ones; no other object may take their place.
_SKEWED_OBJECTS = ("r3", "r5", "b3")
_RGBA = {"red": (1.0, 0.0, 0.0, 1.0), "green": (0.0, 1.0, 0.0, 1.0), "blue": (0.0, 0.0, 1.0, 1.0)}


def build():
    """Return a new MjModel of the scene; the bodies `red`, `green` and `blue` are some objects, for `put_triplet`.

    The first call in a process compiles the scene, which takes a few seconds; further calls copy it.
    """
    return copy.copy(_compiled())


def put_triplet(model, data, triplet: tuple[str, str, str]) -> None:
    """Turn the objects of a model from `build` into others, without compiling, and reset its data.

    Args:
      model: The MjModel, which is changed. It has the meshes of all objects.
      data: Its MjData.
      triplet: Names of the red, the green and the blue object.
    """
    import mujoco

    for colour, object_ in zip(objects.COLOURS, triplet, strict=True):
        objects.shape(object_).put(model, model.body(colour).id)
    mujoco.mj_setConst(model, data)
    mujoco.mj_resetData(model, data)


@functools.cache
def _compiled():
    return compile_scene(_SKEWED_OBJECTS)


def compile_scene(triplet: tuple[str, str, str]):
    """Compile the scene with a triplet of objects, which takes a second or more, and return its MjModel."""
    import mujoco

    root = _scene(triplet)
    return mujoco.MjModel.from_xml_string(root.to_xml_string(), root.get_assets())


def _scene(triplet: tuple[str, str, str]) -> Any:
    with import_without_gl(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # without a display, it warns that no window can be opened
        from dm_control import mjcf
        from dm_robotics.manipulation.standard_cell import rgb_basket

    root: Any = mjcf.RootElement(model="rgb_stacking")
    root.compiler.angle = "radian"
    root.option.timestep = TIME_STEP
    root.size.memory = "64M"
    root.visual.map.znear = 0.01
    root.worldbody.add("geom", name="ground", type="plane", group=STILL_GROUP, size=(2, 2, 2), friction=(0.4,))
    root.worldbody.add("light", pos=(0, 0, 1.5), dir=(0, 0, -1), diffuse=(0.7,) * 3, castshadow=False)
    root.worldbody.add("camera", name=PORTRAIT, pos=(1.4, 0.0, 0.45), quat=(0.541, 0.455, 0.456, 0.541), fovy=45)
    root.worldbody.add("site", pos=BASKET_CENTRE, rgba=(0, 0, 0, 0)).attach(_basket(rgb_basket))
    root.attach(_robot())
    for object_, path in objects.mesh_files().items():
        root.asset.add("mesh", name=object_, file=str(path))
    for position, (colour, object_) in enumerate(zip(objects.COLOURS, triplet, strict=True)):
        body = root.worldbody.add("body", name=colour, pos=(0.5 + 0.1 * position, 0.0, 0.12))
        body.add("freejoint", name=colour)
        body.add("geom", name=colour, mesh=object_, rgba=_RGBA[colour], **objects.geom_attributes())
    return root


def _basket(rgb_basket) -> Any:
    basket = rgb_basket.RGBBasket(name="base").mjcf_model
    for camera in basket.find_all("camera"):
        camera.fovy = CAMERA_FIELD_OF_VIEW
    for geom in basket.find_all("geom"):
        if not geom.group:
            geom.group = STILL_GROUP
    return basket


def _robot() -> Any:
    """Return the model of the arm, with its force sensor and gripper attached.

    Gravity is compensated for all of its bodies, as the package does by external forces. The package clips the targets
    of the velocity actuators after each time step; here the model does.
    """
    from dm_robotics.moma.models.end_effectors.robot_hands import robotiq_2f85
    from dm_robotics.moma.models.end_effectors.wrist_sensors import robotiq_fts300
    from dm_robotics.moma.models.robots.robot_arms import sawyer, sawyer_constants

    arm, sensor, gripper = sawyer.Sawyer(name="robot0"), robotiq_fts300.RobotiqFTS300(), robotiq_2f85.Robotiq2F85()
    sensor.attach(gripper)
    arm.attach(sensor)
    limits = sawyer_constants.JOINT_LIMITS
    for actuator, low, high in zip(arm.actuators, limits["min"], limits["max"], strict=True):
        actuator.actlimited, actuator.actrange = "true", (low, high)
    (fingers,) = gripper.actuators
    fingers.actlimited, fingers.actrange = "true", (0.0, 255.0)
    for body in arm.mjcf_model.find_all("body"):
        if "gravcomp" in body.spec.attributes:  # the frames of attachments, which have no mass, lack it
            body.gravcomp = 1.0
    return arm.mjcf_model
