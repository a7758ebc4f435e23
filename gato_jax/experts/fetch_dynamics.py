"""Dynamics of gymnasium-robotics' Fetch arm on a copy of its simulator's data, for experts that plan."""

from __future__ import annotations

import copy

import numpy as np

from gato_jax.environments.suites.fetch import MAX_DISPLACEMENT


class FetchDynamics:
    """A copy of the data of a simulator with locked fingers (push or slide), which steps as the simulator does.

    The simulator itself is left unchanged.
    """

    def __init__(self, simulator):
        self._simulator = simulator
        self._data = copy.copy(simulator.data)

    @property
    def gripper(self) -> np.ndarray:
        """Position of the point between the fingers, (3,) metres."""
        return self._data.site("robot0:grip").xpos.copy()

    @property
    def item(self) -> np.ndarray:
        """Position of the centre of the block or puck, (3,) metres."""
        return self._data.site("object0").xpos.copy()

    def step(self, action: np.ndarray) -> None:
        """Take one step with an action of the task, (4,) from -1 to 1."""
        import mujoco
        from gymnasium_robotics.utils import mujoco_utils

        model, data = self._simulator.model, self._data
        pointing_down = (1.0, 0.0, 1.0, 0.0)  # change of the orientation that the simulator adds to each action
        controls = np.concatenate([action[:3].astype(np.float64) * MAX_DISPLACEMENT, pointing_down, np.zeros(2)])
        mujoco_utils.ctrl_set_action(model, data, controls)
        mujoco_utils.mocap_set_action(model, data, controls)
        mujoco.mj_step(model, data, nstep=self._simulator.n_substeps)  # pyright: ignore[reportAttributeAccessIssue]
        for side in "lr":
            data.joint(f"robot0:{side}_gripper_finger_joint").qpos[0] = 0.0
        mujoco.mj_forward(model, data)  # pyright: ignore[reportAttributeAccessIssue]
