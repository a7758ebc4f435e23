"""A Jaco arm whose hand is moved by its velocity, for the scripts of DM Control's manipulation tasks."""

from __future__ import annotations

import numpy as np

from gato_jax.environments.suites.manipulation import Manipulation
from gato_jax.experts.base import Expert
from gato_jax.rollouts import Action

GAIN = 7.0  # velocity per distance, per second
FASTEST = 0.4  # metres per second
_FASTEST_TURN = 1.5  # radians per second
_DAMPING = 0.01
_TURN_WEIGHT = 0.3  # metres per second whose error is as bad as that of a radian per second


class JacoScript(Expert[Manipulation]):
    """The base class of scripts for the arm, which has velocity actuators."""

    agent = "script for a Jaco arm that knows the poses of the bricks"
    default_noise = 0.05

    def reset(self, environment: Manipulation, seed: int) -> None:
        composer = environment.composer_environment
        self._task, self._physics = composer.task, composer.physics
        self._site = self._physics.bind(self._task.hand.pinch_site).element_id
        self._joints = np.asarray(self._physics.bind(self._task.arm.joints).dofadr)
        self._limits = np.asarray(self._physics.bind(self._task.arm.actuators).ctrlrange)[:, 1]

    @property
    def hand(self) -> tuple[np.ndarray, np.ndarray]:
        """Position (3,) and rotation matrix (3, 3) of the pinch site, which lies between the tips of the fingers."""
        data = self._physics.data
        return data.site_xpos[self._site].copy(), data.site_xmat[self._site].reshape(3, 3).copy()

    @property
    def fingers(self) -> np.ndarray:
        """Angles of the three fingers, in radians; larger ones close the hand."""
        return np.array(self._physics.bind(self._task.hand.joints).qpos)

    def move(
        self, velocity: np.ndarray, turn: np.ndarray, fingers: float | np.ndarray, at: np.ndarray | None = None
    ) -> Action:
        """Return the action that moves the hand.

        Args:
          velocity: Velocity in metres per second, (3,).
          turn: Angular velocity in radians per second, (3,).
          fingers: Velocity of the fingers, in radians per second.
          at: Point of the hand that has this velocity, (3,) in the world's frame. Default: the pinch site.
        """
        import mujoco

        physics = self._physics
        jacobian = np.zeros((6, physics.model.nv))
        mujoco.mj_jacSite(  # pyright: ignore[reportAttributeAccessIssue]  it has no stubs
            physics.model.ptr, physics.data.ptr, jacobian[:3], jacobian[3:], self._site
        )
        velocity, turn = _shorten(velocity, FASTEST), _shorten(turn, _FASTEST_TURN)
        if at is not None:
            velocity = velocity - np.cross(turn, at - self.hand[0])
        weights = np.array([1.0] * 3 + [_TURN_WEIGHT] * 3)
        twist = weights * np.concatenate([velocity, turn])
        joints = bounded_least_squares(weights[:, None] * jacobian[:, self._joints], twist, self._limits)
        return {"action": np.concatenate([joints, np.broadcast_to(fingers, 3)]).astype(np.float32)}


def bounded_least_squares(matrix: np.ndarray, target: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Return the damped least-squares solution x (columns,) of `matrix @ x = target`, with |x| <= limits.

    The unknown that exceeds its limit the most is set to it, and the others are solved for again.
    """
    solution, free = np.zeros(matrix.shape[1]), np.ones(matrix.shape[1], bool)
    while free.any():
        columns = matrix[:, free]
        rest = target - matrix[:, ~free] @ solution[~free]
        damped = columns.T @ columns + _DAMPING**2 * np.eye(columns.shape[1])
        solution[free] = np.linalg.solve(damped, columns.T @ rest)
        excess = np.where(free, np.abs(solution) / limits, 0.0)
        worst = int(np.argmax(excess))
        if excess[worst] <= 1.0:
            break
        solution[worst] = np.sign(solution[worst]) * limits[worst]
        free[worst] = False
    return solution


def turn_to(rotation: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the rotation vector (3,), in radians, from one rotation matrix to another."""
    turn = target @ rotation.T
    axis = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])
    sine, cosine = np.linalg.norm(axis) / 2, (np.trace(turn) - 1) / 2
    return axis / 2 * (np.arctan2(sine, cosine) / max(sine, 1e-9))


def downwards(rotation: np.ndarray, along: np.ndarray | None = None) -> np.ndarray:
    """Return the rotation of a hand that points down.

    Args:
      rotation: Rotation of the hand, whose nearest equivalent is returned.
      along: Direction in which the fingers close, or against it. Default: that of the hand.
    """
    x = rotation[:, 0] if along is None else along
    x = np.array([x[0], x[1], 0.0]) / np.linalg.norm(x[:2])
    x = x if x @ rotation[:, 0] >= 0 else -x
    z = np.array([0.0, 0.0, -1.0])
    return np.stack([x, np.cross(z, x), z], axis=1)


def nearest_half_turn(rotation: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the target, or the target after half a turn around its z axis, whichever is nearer."""
    return target if rotation[:, 0] @ target[:, 0] >= 0 else target * [-1.0, -1.0, 1.0]


def _shorten(vector: np.ndarray, longest: float) -> np.ndarray:
    return vector * min(1.0, longest / max(float(np.linalg.norm(vector)), 1e-9))
