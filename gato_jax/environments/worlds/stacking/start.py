"""The start of an episode of RGB stacking: the arm above the basket, the objects dropped into it.

Intervals and the procedure are those of DeepMind's release, github.com/google-deepmind/rgb_stacking.
"""

# mujoco has no stubs:
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import numpy as np

from gato_jax.environments.worlds.stacking import objects
from gato_jax.environments.worlds.stacking.arm import Arm

PINCH_RANGE = np.array([[0.5, -0.14, 0.22], [0.7, 0.14, 0.43]])  # lowest and highest position, metres
MAX_YAW = np.pi / 4
OBJECT_RANGE = np.array([[0.5, -0.1, 0.12], [0.7, 0.1, 0.12]])  # before they fall
MAX_SETTLING_SECONDS = 2.0
_SETTLED_VELOCITY, _SETTLED_ACCELERATION = 1e-3, 1e-2
_SETTLING_TIME_STEP = 0.002  # seconds; four times the task's, as no finger touches anything
_SETTLING_CHECK = 50  # time steps between checks
_MAX_DRAWS = 1000


def start_episode(model, data, arm: Arm, random: np.random.Generator) -> None:
    """Draw the poses of arm and objects, let the objects fall until they rest, and set the clock to zero.

    Args:
      model: MjModel of the scene, with the objects of the episode.
      data: Its MjData, which has just been reset.
      arm: The arm of the scene.
      random: Generator of the episode.

    Raises:
      RuntimeError: No free pose was found for the arm or an object.
    """
    import mujoco

    for colour in objects.COLOURS:  # out of the way, until each has its place
        data.joint(colour).qpos[2] += 10.0 + objects.COLOURS.index(colour)
    _place_arm(model, data, arm, random)
    for colour in objects.COLOURS:
        _place_object(model, data, colour, random)
    angles = arm.angles
    _settle(model, data)
    arm.put(angles)
    data.qvel[:] = 0.0
    data.time = 0.0
    mujoco.mj_forward(model, data)


def _place_arm(model, data, arm: Arm, random: np.random.Generator) -> None:
    for _ in range(_MAX_DRAWS):
        if arm.place(random.uniform(*PINCH_RANGE), random.uniform(-MAX_YAW, MAX_YAW)):
            return
    raise RuntimeError(f"cannot start an episode: {_MAX_DRAWS} poses of the gripper are out of the arm's reach")


def _place_object(model, data, colour: str, random: np.random.Generator) -> None:
    """Draw position and orientation until the object touches nothing."""
    import mujoco

    body = model.body(colour).id
    for _ in range(_MAX_DRAWS):
        quaternion = random.normal(size=4)
        pose = np.concatenate([random.uniform(*OBJECT_RANGE), quaternion / np.linalg.norm(quaternion)])
        data.joint(colour).qpos[:] = pose
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_collision(model, data)
        owners = model.geom_bodyid[data.contact.geom]
        if not np.any((owners == body) & (data.contact.dist <= 0.0)[:, None]):
            return
    raise RuntimeError(f"cannot start an episode: {_MAX_DRAWS} poses of the {colour} object touch something")


def _settle(model, data) -> None:
    """Simulate until no object moves, for two seconds at most."""
    import mujoco

    dofs = np.concatenate([np.arange(6) + model.joint(colour).dofadr[0] for colour in objects.COLOURS])
    time_step, model.opt.timestep = model.opt.timestep, _SETTLING_TIME_STEP
    for _ in range(round(MAX_SETTLING_SECONDS / _SETTLING_TIME_STEP / _SETTLING_CHECK)):
        mujoco.mj_step(model, data, nstep=_SETTLING_CHECK)
        still = np.all(np.abs(data.qvel[dofs]) < _SETTLED_VELOCITY)
        if still and np.all(np.abs(data.qacc[dofs]) < _SETTLED_ACCELERATION):
            break
    model.opt.timestep = time_step
