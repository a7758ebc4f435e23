"""Planners for Modular RL: the bodies of a family share a plan, on a simpler simulation of their own model."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from gato_jax.environments.suites.modular_rl import FRAME_SKIP, ModularRL, Rules, rules
from gato_jax.environments.worlds.modular_bodies import bodies, mjcf
from gato_jax.experts.planning import MPPI, Budget, Objective, Plan, Planner, Readings, SplinedNoise

_SAFE_LEAN = 0.6  # radians; an episode ends at 1
_LARGEST_LEAN = 0.95  # radians
_SAFE_CLEARANCE = 0.1  # metres above the lowest height at which an episode goes on
_FALL = -2.0  # value of a state after a fall


def _progress(readings: Readings, *, rules: Rules, seconds: float, fastest: float) -> np.ndarray:
    """Return the value of states: the speed along x, less the cost of the action and of states close to a fall.

    Args:
      readings: States of the sequences (samples, horizon).
      rules: Reward and ends of the body.
      seconds: Time between two states.
      fastest: Speed beyond which there is no further value, in metres per second.
    """
    x = readings.qpos[..., 0]
    speed = np.concatenate([readings.qvel[..., :1, 0], np.diff(x, axis=-1) / seconds], axis=-1)
    value = np.minimum(speed, fastest) - rules.control_cost * np.sum(readings.action**2, axis=-1)
    if rules.heights is None:
        return value
    low, high = rules.heights
    height, lean = readings.qpos[..., 1], np.abs(readings.qpos[..., 2])
    risk = np.maximum(low + _SAFE_CLEARANCE - height, 0) / 0.1 + np.maximum(lean - _SAFE_LEAN, 0) / 0.2
    fallen = np.logical_or.accumulate((height < low) | (height > high) | (lean > _LARGEST_LEAN), axis=-1)
    return np.where(fallen, _FALL, value - 2 * risk)


def _plan(task: str, *, budget: Budget, sampler: MPPI, hold: int, coarsening: int, fastest: float = np.inf) -> Plan:
    seconds = bodies()[task].timestep * FRAME_SKIP * hold
    shaped = (
        "The reward of being up does not tell a safe pose from one that is about to fall, and the fastest steps fall."
        if rules(task).heights
        else ""
    )
    value = functools.partial(_progress, rules=rules(task), seconds=seconds, fastest=fastest)
    return Plan(
        objective=Objective(value=value, shaped=shaped),
        budget=budget,
        sampler=sampler,
        hold=hold,
        coarsening=coarsening,
    )


def plan(task: str) -> Plan:
    """Return the plan of a body, such as `cheetah_7_full`, that of its family but for the walker on one leg."""
    sampler = MPPI(noise=SplinedNoise(knots=5), sigma=0.8)
    if task.startswith("cheetah"):
        return _plan(task, budget=Budget(samples=32, horizon=15), sampler=sampler, hold=1, coarsening=1)
    if task.startswith("hopper"):  # a hop lasts half a second, and faster ones end in falls
        budget = Budget(samples=64, horizon=30)
        return _plan(task, budget=budget, sampler=sampler, hold=4, coarsening=2, fastest=2.0)
    if task.startswith("walker_2"):  # on one leg it falls in the end, but later if it sees a second ahead
        budget = Budget(samples=96, horizon=40)
        return _plan(task, budget=budget, sampler=sampler, hold=3, coarsening=2, fastest=0.3)
    budget = Budget(samples=64, horizon=20)
    return _plan(task, budget=budget, sampler=sampler, hold=4, coarsening=2, fastest=3.0)


class ModularPlanner(Planner[ModularRL]):
    """The planner of a body, which is named without the suite.

    It simulates by Euler's method, where the environment of most bodies takes four evaluations for each time step.
    """

    def plan_of(self, task: str) -> Plan:
        return plan(task)

    def model_and_data(self, environment: ModularRL) -> tuple[Any, Any]:
        return environment.mujoco_model, environment.data

    def describe_model(self, environment: ModularRL) -> Any:
        import mujoco

        text = mjcf(bodies()[environment.task_spec.task])
        return mujoco.MjSpec.from_string(text)  # pyright: ignore[reportAttributeAccessIssue]  it has no stubs

    def control_substeps(self, environment: ModularRL) -> int:
        return FRAME_SKIP

    def reset(self, environment: ModularRL, seed: int) -> None:
        import mujoco

        super().reset(environment, seed)
        euler = mujoco.mjtIntegrator.mjINT_EULER  # pyright: ignore[reportAttributeAccessIssue]  it has no stubs
        self.simulator.model.opt.integrator = euler


EXPERTS = {f"modular_rl/{task}": ModularPlanner for task in bodies()}
