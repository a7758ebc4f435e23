"""Control of the arm: from the velocity of the gripper to velocities of the joints, and from a pose to joint angles.

The released environment has the same interface (Cartesian velocity, rotation about the vertical, gripper pointing down,
bounds of the workspace); its quadratic program is here a damped least-squares solution.
"""

# mujoco has no stubs:
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import numpy as np

from gato_jax.environments.worlds.stacking import scene

CONTROL_INTERVAL = 0.05  # seconds
MAX_SPEED = 0.07  # metres per second along each axis
MAX_ROTATION = 1.0  # radians per second
WORKSPACE = np.array([[0.475, -0.125, 0.0698], [0.725, 0.125, 0.2698]])  # lowest and highest pinch position
MAX_WRIST_ANGLE = np.pi / 2
REST_ANGLES = np.array(
    [0.0, -0.5186, -0.5294, 1.2209, 0.4086, 1.0783, 0.0]
)  # radians, where the arm's redundant seventh freedom tends to
_REST_GAIN = 0.5  # per second
_ALIGNMENT_GAIN = 0.8  # per second, for the angle between the gripper's axis and the vertical
_DAMPING = 1e-3
_MAX_ITERATIONS, _TOLERANCE = 200, 1e-4  # of the inverse kinematics; metres and radians


class Arm:
    """The arm and gripper of a scene.

    Args:
      model: MjModel of the scene.
      data: Its MjData.
    """

    def __init__(self, model, data):
        import mujoco

        self._model, self._data, self._plan = model, data, mujoco.MjData(model)
        joints = [model.joint(name) for name in scene.ARM_JOINTS]
        self._qpos = np.array([joint.qposadr[0] for joint in joints])
        self._dofs = np.array([joint.dofadr[0] for joint in joints])
        self._low, self._high = np.array([joint.range for joint in joints]).T
        actuators = np.array([self._actuator(dof) for dof in self._dofs.tolist()])
        self._actuators, self._max_velocity = actuators, model.actuator_ctrlrange[actuators, 1]
        self._actuator_states = model.actuator_actadr[actuators]
        (self._fingers,) = set(range(int(model.nu))) - set(actuators.tolist())
        self._finger = model.joint(scene.GRIPPER_JOINT)
        self._wrist, self._pinch = model.site(scene.WRIST_SITE).id, model.site(scene.PINCH_SITE).id
        self._jacobian = np.zeros((6, model.nv))

    @property
    def angles(self) -> np.ndarray:
        """Angles of the seven joints, (7,) radians."""
        return self._data.qpos[self._qpos].copy()

    @property
    def pinch_pose(self) -> np.ndarray:
        """Position and quaternion (w, x, y, z) of the point between the fingertips, (7,)."""
        return self._site_pose(self._pinch, np.array([0.0, 1.0, 0.0, 0.0]))

    @property
    def wrist_pose(self) -> np.ndarray:
        """Position and quaternion (w, x, y, z) of the wrist, (7,)."""
        return self._site_pose(self._wrist, np.array([0.0, -1.0, 1.0, 0.0]))

    @property
    def gripper(self) -> float:
        """Reading of the gripper's encoder, an integer from 0 (open) to 255 (closed)."""
        low, high = self._finger.range
        angle = self._data.qpos[self._finger.qposadr[0]]
        return float(np.round(np.clip((angle - low) / (high - low), 0.0, 1.0) * 255.0))

    @property
    def closing(self) -> bool:
        """True if the fingers are commanded to close."""
        return bool(self._data.ctrl[self._fingers] > 0)

    def command(self, velocity: np.ndarray, close: bool) -> None:
        """Set the actuators' velocities for a velocity of the gripper.

        A component that leads further out of the workspace, or of the wrist's range, counts as zero.

        Args:
          velocity: Velocity of the wrist along x, y, z (metres per second) and about z (radians per second), (4,).
          close: True to close the fingers, False to open them.
        """
        twist = np.zeros(6)
        twist[:3], twist[5] = velocity[:3], velocity[3]
        pinch = self._data.site_xpos[self._pinch]
        outwards = ((pinch < WORKSPACE[0]) & (twist[:3] < 0)) | ((pinch > WORKSPACE[1]) & (twist[:3] > 0))
        twist[:3][outwards] = 0.0
        wrist = self._data.qpos[self._qpos[-1]]  # it turns about an axis that points down
        if abs(wrist) > MAX_WRIST_ANGLE and wrist * twist[5] < 0:
            twist[5] = 0.0
        # The joints lag behind their targets. Velocities that suit the joints' present angles would not suit them any
        # more when they are reached, and the gripper would drift; so they are computed for the targets.
        targets = self._data.act[self._actuator_states].copy()
        middle = targets + self._target_velocities(targets, twist) * CONTROL_INTERVAL / 2
        joints = self._target_velocities(middle, twist)
        self._data.ctrl[self._actuators] = joints / max(1.0, np.max(np.abs(joints) / self._max_velocity))
        self._data.ctrl[self._fingers] = 255.0 if close else -255.0

    def _target_velocities(self, angles: np.ndarray, twist: np.ndarray) -> np.ndarray:
        """Return joint velocities (7,) for a twist (6,) of the wrist at these angles, which also turn it downwards."""
        self._put_planned(angles)
        axis = self._plan.site_xmat[self._wrist].reshape(3, 3)[:, 2]
        level = np.array([*twist[:3], *_ALIGNMENT_GAIN * np.cross(axis, [0.0, 0.0, -1.0])[:2], twist[5]])
        return self._joint_velocities(self._wrist, level, angles, _REST_GAIN)

    def place(self, position: np.ndarray, yaw: float) -> bool:
        """Put the arm at rest with the pinch point at a position, the gripper open, pointing down, turned by a yaw.

        Args:
          position: (3,) metres.
          yaw: Angle about the vertical, in radians; 0 for the fingers on a line along y.

        Returns:
          True if the pose was reached within tolerance.
        """
        target = np.array([[np.cos(yaw), np.sin(yaw), 0.0], [np.sin(yaw), -np.cos(yaw), 0.0], [0.0, 0.0, -1.0]])
        angles = REST_ANGLES
        for _ in range(_MAX_ITERATIONS):
            self._put_planned(angles)
            current = self._plan.site_xmat[self._pinch].reshape(3, 3)
            error = np.concatenate([position - self._plan.site_xpos[self._pinch], _rotation_vector(target, current)])
            if np.max(np.abs(error)) < _TOLERANCE:
                self.put(angles)
                return True
            step = self._joint_velocities(self._pinch, error, angles, 0.05)
            angles = np.clip(angles + step / max(1.0, np.max(np.abs(step)) / 0.3), self._low, self._high)
        return False

    def put(self, angles: np.ndarray) -> None:
        """Set the joint angles (7,), and the targets of their actuators; all joints of the arm come to rest there."""
        self._data.qpos[self._qpos] = angles
        self._data.qvel[self._dofs] = 0.0
        self._data.act[self._actuator_states] = angles

    def _put_planned(self, angles: np.ndarray) -> None:
        """Compute the positions of the arm at other joint angles, in data of their own."""
        import mujoco

        self._plan.qpos[self._qpos] = angles
        mujoco.mj_kinematics(self._model, self._plan)
        mujoco.mj_comPos(self._model, self._plan)

    def _joint_velocities(self, site: int, twist: np.ndarray, angles: np.ndarray, rest_gain: float) -> np.ndarray:
        """Return the joint velocities (7,) that move a site with a twist (6,), and otherwise tend to the rest angles.

        `angles` are those of the last `_put_planned`.
        """
        import mujoco

        mujoco.mj_jacSite(self._model, self._plan, self._jacobian[:3], self._jacobian[3:], site)
        jacobian = self._jacobian[:, self._dofs]
        inverse = jacobian.T @ np.linalg.inv(jacobian @ jacobian.T + _DAMPING**2 * np.eye(6))
        rest = rest_gain * (REST_ANGLES - angles)
        return inverse @ twist + rest - inverse @ (jacobian @ rest)

    def _site_pose(self, site: int, reference: np.ndarray) -> np.ndarray:
        """Return position and quaternion of a site; of the rotation's two quaternions, the one closer to `reference`.

        The references are those of the gripper pointing down with yaw 0, so that quaternions do not jump in use.
        """
        import mujoco

        quaternion = np.zeros(4)
        mujoco.mju_mat2Quat(quaternion, self._data.site_xmat[site])
        return np.concatenate([self._data.site_xpos[site], quaternion * (1.0 if quaternion @ reference >= 0 else -1.0)])

    def _actuator(self, dof: int) -> int:
        """Return the number of the actuator that drives the joint of a degree of freedom."""
        joint = self._model.dof_jntid[dof]
        return int(np.flatnonzero((self._model.actuator_trnid[:, 0] == joint) & (self._model.actuator_trntype == 0))[0])


def _rotation_vector(target: np.ndarray, current: np.ndarray) -> np.ndarray:
    """Return the rotation vector (3,) from one rotation matrix (3, 3) to another, in the frame of the scene."""
    import mujoco

    quaternion, vector = np.zeros(4), np.zeros(3)
    mujoco.mju_mat2Quat(quaternion, (target @ current.T).ravel())
    mujoco.mju_quat2Vel(vector, quaternion, 1.0)
    return vector
