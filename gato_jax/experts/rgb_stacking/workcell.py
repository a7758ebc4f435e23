"""The scene of RGB stacking for the script: the one that is played, and a copy in which moves are tried."""

# mujoco has no stubs:
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from gato_jax.environments.suites.rgb_stacking import RGBStacking
from gato_jax.environments.worlds.stacking import objects
from gato_jax.environments.worlds.stacking.arm import CONTROL_INTERVAL, MAX_WRIST_ANGLE, Arm
from gato_jax.environments.worlds.stacking.criteria import Criteria

TRIAL_TIME_STEP = 0.002  # seconds; four times the task's, the longest that the contacts of the objects allow


class Command(NamedTuple):
    """An action of the task: velocity of the gripper (4,), and whether the fingers close."""

    velocity: np.ndarray
    close: bool


class Workcell:
    """A scene with its objects.

    Args:
      model: MjModel of the scene.
      data: Its MjData.
      arm: Its arm.
      criteria: The conditions of the task in it.
      vertices: Vertices of each object in the frame of its body, {colour: (vertices, 3)} metres.
    """

    def __init__(self, model, data, arm: Arm, criteria: Criteria, vertices: dict[str, np.ndarray]):
        self.model, self.data, self.arm, self.criteria, self.body_vertices = model, data, arm, criteria, vertices

    @property
    def pinch(self) -> np.ndarray:
        """Position of the point between the fingertips, (3,) metres."""
        return self.arm.pinch_pose[:3]

    @property
    def yaw(self) -> float:
        """Angle of the gripper about the vertical, as in `Arm.place`, in radians."""
        quaternion = self.arm.pinch_pose[3:]  # near (0, cos, sin, 0) of half the angle, for a gripper that points down
        return float(2.0 * np.arctan2(quaternion[2], quaternion[1]))

    def rotation(self, colour: str) -> np.ndarray:
        """Return the rotation matrix (3, 3) of an object."""
        return self.data.body(colour).xmat.reshape(3, 3).copy()

    def vertices(self, colour: str) -> np.ndarray:
        """Return the vertices of an object where it is, (vertices, 3) metres."""
        return self.body_vertices[colour] @ self.rotation(colour).T + self.data.body(colour).xpos


def played(environment: RGBStacking) -> Workcell:
    """Return the scene of an environment, for looking at it."""
    vertices = {colour: environment.object_vertices(colour) for colour in objects.COLOURS}
    return Workcell(environment.mujoco_model, environment.data, environment.arm, environment.criteria, vertices)


class Trials(Workcell):
    """A copy of a scene, in which moves are simulated without an effect on the scene itself.

    Args:
      original: The scene, in which the objects of the episode are in place.
    """

    def __init__(self, original: Workcell):
        import mujoco

        model = copy.copy(original.model)
        model.opt.timestep = TRIAL_TIME_STEP
        data = mujoco.MjData(model)
        arm = Arm(model, data)
        super().__init__(model, data, arm, Criteria(model, data, arm), original.body_vertices)
        self._kind = mujoco.mjtState.mjSTATE_INTEGRATION
        self._substeps = round(CONTROL_INTERVAL / TRIAL_TIME_STEP)

    def state_of(self, cell: Workcell) -> np.ndarray:
        """Return the state of this scene or of its original."""
        import mujoco

        state = np.zeros(mujoco.mj_stateSize(cell.model, self._kind))
        mujoco.mj_getState(cell.model, cell.data, state, self._kind)
        return state

    def put_state(self, state: np.ndarray) -> None:
        """Bring this scene into a state from `state_of`."""
        import mujoco

        mujoco.mj_setState(self.model, self.data, state, self._kind)
        mujoco.mj_forward(self.model, self.data)

    def put_objects(self, poses: Mapping[str, np.ndarray]) -> None:
        """Put objects into poses {colour: (7,)}, at rest."""
        import mujoco

        for colour, pose in poses.items():
            self.data.joint(colour).qpos[:] = pose
            self.data.joint(colour).qvel[:] = 0.0
        mujoco.mj_forward(self.model, self.data)

    def run(self, moves: Iterable[Command]) -> None:
        """Simulate moves, which look at this scene."""
        for command in moves:
            self.step(command)

    def step(self, command: Command) -> None:
        """Simulate one control step."""
        import mujoco

        self.arm.command(command.velocity, close=command.close)
        mujoco.mj_step(self.model, self.data, nstep=self._substeps)
        mujoco.mj_forward(self.model, self.data)

    def carry_to(self, position: np.ndarray, yaw: float, held: str | None) -> bool:
        """Put the pinch point and an object that is held elsewhere at once, without changing the grip.

        Args:
          position: New position of the pinch point, (3,) metres.
          yaw: New angle of the gripper.
          held: Colour of the object that is held; None for none.

        Returns:
          True if the arm can reach the pose; otherwise the state of the scene is undefined.
        """
        import mujoco

        start, start_yaw = self.pinch, self.yaw
        if not self.arm.place(position, yaw):
            return False
        if abs(self.arm.angles[-1]) > MAX_WRIST_ANGLE:
            return False
        if held is not None:
            joint = self.data.joint(held)
            joint.qpos[:] = turned_pose(joint.qpos.copy(), start, position, yaw - start_yaw)
            joint.qvel[:] = 0.0
        mujoco.mj_forward(self.model, self.data)
        return True


def turned_pose(pose: np.ndarray, pivot: np.ndarray, target: np.ndarray, turn: float) -> np.ndarray:
    """Return a pose (7,) after a move that brings the point `pivot` to `target` and turns about the vertical there."""
    import mujoco

    cosine, sine, quaternion = np.cos(turn), np.sin(turn), np.zeros(4)
    mujoco.mju_mulQuat(quaternion, np.array([np.cos(turn / 2), 0.0, 0.0, np.sin(turn / 2)]), np.array(pose[3:], float))
    rotation = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    return np.concatenate([target + rotation @ (pose[:3] - pivot), quaternion])
