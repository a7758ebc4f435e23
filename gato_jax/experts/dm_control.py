"""A planner for DM Control: model predictive path integral control (MPPI, arXiv 1509.01149) with the simulator itself.

At every second step the planner draws action sequences around its last plan, simulates them by `mujoco.rollout`, and
takes their mean, weighted by the exponential of a hand-shaped objective. It runs in one thread, so that several
processes can record side by side.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import dm_env
import numpy as np

from gato_jax.environments.suites.dm_control import DMControl
from gato_jax.experts.base import Expert
from gato_jax.rollouts import Action

Objective = Callable[[Any, Any, np.ndarray, np.ndarray], np.ndarray]
"""Function of MjModel, MjData, positions (..., nq) and velocities (..., nv) that returns the values of states (...)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """Objective and sampling parameters of the planner for one task.

    Attributes:
      objective: Value of a state, which is summed with discounts over a sequence; higher is better.
      horizon: Number of control steps in each action sequence.
      knots: Number of points between which the noise on a sequence is interpolated.
      samples: Number of sequences that are drawn for each plan.
      sigma: Standard deviation of the noise, as a fraction of half the action range.
      replan_every: Number of steps between two plans.
      discount: Discount of the value of each further step.
      temperature: Temperature of the weights, as a fraction of the standard deviation of the sequences' values.
    """

    objective: Objective
    horizon: int
    knots: int
    samples: int
    sigma: float
    replan_every: int = 2
    discount: float = 0.99
    temperature: float = 0.15


def _point_mass(model, data, position, velocity):
    distance = np.linalg.norm(position[..., :2], axis=-1)
    return (distance < 0.012) - 10 * distance - 0.02 * np.sum(velocity**2, axis=-1)


def _reacher(model, data, position, velocity):
    upper, lower = model.body("hand").pos[0], model.body("finger").pos[0]
    target = data.geom("target").xpos[:2]
    shoulder, elbow = position[..., 0], position[..., 0] + position[..., 1]
    x = upper * np.cos(shoulder) + lower * np.cos(elbow) - target[0]
    y = upper * np.sin(shoulder) + lower * np.sin(elbow) - target[1]
    distance = np.hypot(x, y)
    return (distance < 0.055) - 10 * distance - 0.003 * np.sum(velocity**2, axis=-1)


def _cartpole_swingup(model, data, position, velocity):
    upright = (np.cos(position[..., 1]) + 1) / 2
    centred = np.exp(-1.15 * (position[..., 0] / 2) ** 2)
    still = np.exp(-2.3 * (velocity[..., 1] / 5) ** 2)
    return upright * (1 + centred) / 2 * (1 + still) / 2


def _ball_in_cup(model, data, position, velocity):
    height = model.body("ball").pos[2] - model.site("target").pos[2] - model.body("cup").pos[2]
    x, z = position[..., 2] - position[..., 0], position[..., 3] - position[..., 1] + height
    caught = (np.abs(x) < 0.03) & (np.abs(z) < 0.03)
    below, beside = np.maximum(0.0, -z), np.abs(x) * (z > -0.1)
    return 3 * caught - 0.6 * below - 0.8 * beside - 0.02 * np.sum(position[..., :2] ** 2, axis=-1)


PLANS = {
    "dm_control/point_mass/easy": Plan(objective=_point_mass, horizon=30, knots=4, samples=16, sigma=0.4),
    "dm_control/reacher/easy": Plan(objective=_reacher, horizon=25, knots=4, samples=16, sigma=0.4),
    "dm_control/cartpole/swingup": Plan(objective=_cartpole_swingup, horizon=80, knots=10, samples=24, sigma=0.6),
    "dm_control/ball_in_cup/catch": Plan(objective=_ball_in_cup, horizon=60, knots=6, samples=48, sigma=0.7),
}


class Planner(Expert[DMControl]):
    """The MPPI planner with the Plan of its task, which is named `domain/task` and must be in PLANS."""

    agent = "MPPI planner"
    default_noise = 0.1

    def __init__(self, task: str):
        self._plan = plan = PLANS[f"dm_control/{task}"]
        # The share (horizon, knots) of the noise of each knot in each step, by linear interpolation.
        times = np.linspace(0, plan.horizon - 1, plan.knots)
        self._weights = np.stack([np.interp(np.arange(plan.horizon), times, row) for row in np.eye(plan.knots)], axis=1)
        # Half of the samples explore widely, half refine the last plan, and the first sample is the last plan itself.
        self._scales = np.where(np.arange(plan.samples) < plan.samples // 2, plan.sigma, 0.35 * plan.sigma)
        self._scales[0] = 0.0
        self._discounts = plan.discount ** np.arange(plan.horizon)

    def reset(self, environment: DMControl, seed: int) -> None:
        import mujoco

        physics = environment.suite_environment.physics
        self._model, self._data = physics.model.ptr, physics.data.ptr
        self._scratch = mujoco.MjData(self._model)  # pyright: ignore[reportAttributeAccessIssue]  it has no stubs
        self._substeps = round(environment.suite_environment.control_timestep() / physics.timestep())
        self._generator = np.random.default_rng([seed, 0x4D505049])
        self._sequence = np.zeros((self._plan.horizon, self._model.nu))
        self._steps = 0

    def act(self, environment: DMControl, timestep: dm_env.TimeStep) -> Action:
        if self._steps % self._plan.replan_every == 0:
            self._replan()
        action = self._sequence[0]
        self._sequence = np.concatenate([self._sequence[1:], self._sequence[-1:]])
        self._steps += 1
        return {"action": np.clip(action, -1.0, 1.0).astype(np.float32)}

    def _replan(self) -> None:
        plan = self._plan
        noise = self._generator.standard_normal((plan.samples, plan.knots, self._model.nu))
        noise *= self._scales[:, None, None]
        low, high = self._model.actuator_ctrlrange.T
        spread = np.einsum("hk,nku->nhu", self._weights, noise) * (high - low) / 2
        sequences = np.clip(self._sequence + spread, low, high)
        position, velocity = self._roll_out(sequences)
        values = plan.objective(self._model, self._data, position, velocity) @ self._discounts
        weights = np.exp((values - values.max()) / max(plan.temperature * values.std(), 1e-6))
        self._sequence = np.tensordot(weights / weights.sum(), sequences, 1)

    def _roll_out(self, sequences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Simulate action sequences from the current state, which is not changed.

        Args:
          sequences: Actions, (samples, horizon, nu), each held for one control step.

        Returns:
          Positions (samples, horizon, nq) and velocities (samples, horizon, nv) after each action.
        """
        import mujoco
        from mujoco import rollout

        kind = mujoco.mjtState.mjSTATE_FULLPHYSICS  # pyright: ignore[reportAttributeAccessIssue]  it has no stubs
        start = np.zeros(mujoco.mj_stateSize(self._model, kind))  # pyright: ignore[reportAttributeAccessIssue]  it has no stubs
        mujoco.mj_getState(self._model, self._data, start, kind)  # pyright: ignore[reportAttributeAccessIssue]  it has no stubs
        controls = np.repeat(sequences, self._substeps, axis=1)
        states, _ = rollout.rollout(self._model, self._scratch, np.tile(start, (len(sequences), 1)), controls)
        states = np.asarray(states)[:, self._substeps - 1 :: self._substeps]
        split = 1 + self._model.nq  # a full state begins with time, positions, velocities
        return states[..., 1:split], states[..., split : split + self._model.nv]


EXPERTS = {task: Planner for task in PLANS}
