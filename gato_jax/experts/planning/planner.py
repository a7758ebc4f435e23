"""The base class of experts that plan: from a task's Plan, declared as data, to actions."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import Any

import dm_env
import numpy as np

from gato_jax.environments.base import control_actions, limits
from gato_jax.episodes import Continuous
from gato_jax.experts.base import Env, Expert
from gato_jax.experts.planning.samplers import Sampler
from gato_jax.experts.planning.simulation import Readings, Sensor, Simulator
from gato_jax.rollouts import Action

_STREAM = 0x4D505049  # separates the samples from the environment's random numbers, which have the same seed


@dataclasses.dataclass(frozen=True, kw_only=True)
class Objective:
    """Value of the states of a task, to be summed over a plan.

    Attributes:
      value: Function of the readings of states that returns their values; it keeps the leading axes. Higher is better.
      sensors: Sensors that the function reads beside those of the model.
      shaped: Reason for which the value is not the task's own reward, as a sentence; empty if it is.
    """

    value: Callable[[Readings], np.ndarray]
    sensors: tuple[Sensor, ...] = ()
    shaped: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Budget:
    """Amount of simulation for each plan: samples x horizon x iterations states.

    Attributes:
      samples: Number of sequences in each iteration.
      horizon: Number of actions in each sequence.
      iterations: Number of times that samples are drawn around an improved plan.
    """

    samples: int
    horizon: int
    iterations: int = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """Objective, budget and sampler of one task.

    Attributes:
      objective: Value of a state.
      budget: Amount of simulation for each plan.
      sampler: Search for good sequences.
      hold: Number of steps of the task that each action of a plan lasts.
      replan_every: Number of actions of a plan that are executed before the next plan.
      discount: Discount of the value of each further action.
      final: Weight of the value of the last state, in place of 1.
      coarsening: Factor on the simulator's time step in plans; it divides the simulator's steps for an action.
    """

    objective: Objective
    budget: Budget
    sampler: Sampler
    hold: int = 1
    replan_every: int = 1
    discount: float = 0.99
    final: float = 1.0
    coarsening: int = 1

    def weights(self) -> np.ndarray:
        """Return the weight of the value of each state of a sequence, (horizon,)."""
        weights = self.discount ** np.arange(self.budget.horizon)
        weights[-1] *= self.final
        return weights


class Planner(Expert[Env]):
    """An expert that plans ahead on a copy of the live model, from whatever state it is asked to act in.

    A suite names the plan of each task and the places of its model and state:

        UPRIGHT = Sensor("framezaxis", "xbody", "torso")

        PLANS = {
            "walker/stand": Plan(
                objective=Objective(value=lambda readings: readings[UPRIGHT][..., 2], sensors=(UPRIGHT,)),
                budget=Budget(samples=32, horizon=40),
                sampler=MPPI(noise=SplinedNoise(knots=5), sigma=0.5),
            )
        }

        class SuitePlanner(Planner[SuiteEnvironment]):
            def plan_of(self, task):
                return PLANS[task]

            def model_and_data(self, environment):
                return environment.mujoco_model, environment.data

            def describe_model(self, environment):
                return mujoco.MjSpec.from_string(environment.xml)

    Args:
      task: Name of the task, without its suite.
      plan: Plan in place of that of the task, for instance with a larger budget.
      threads: Number of threads that simulate, without influence on the actions; None for all cores, or 1 in a worker.
    """

    agent = "sampling planner"
    default_noise = 0.1

    def __init__(self, task: str, plan: Plan | None = None, *, threads: int | None = None):
        self.plan = plan or self.plan_of(task)
        self._weights = self.plan.weights()
        self._threads = threads
        self._simulator: Simulator | None = None

    @abc.abstractmethod
    def plan_of(self, task: str) -> Plan:
        """Return the plan of a task, which is named without its suite."""

    @abc.abstractmethod
    def model_and_data(self, environment: Env) -> tuple[Any, Any]:
        """Return the live MjModel and MjData, which the planner only reads."""

    @abc.abstractmethod
    def describe_model(self, environment: Env) -> Any:
        """Return a new MjSpec of a model with the elements of the live one, whose numbers the planner copies later.

        It is called once for each environment.
        """

    def control_substeps(self, environment: Env) -> int:
        """Return the number of steps of the live simulator for one step of the task."""
        model, _ = self.model_and_data(environment)
        return round(1.0 / (environment.task_spec.control_rate_hz * model.opt.timestep))

    def controls(self, actions: np.ndarray) -> np.ndarray:
        """Return MuJoCo's controls (..., nu) for actions (..., size) of the task: the actions themselves."""
        return actions

    def reset(self, environment: Env, seed: int) -> None:
        model, self._data = self.model_and_data(environment)
        if self._simulator is None:
            sensors = self.plan.objective.sensors
            self._simulator = Simulator(self.describe_model(environment), sensors, threads=self._threads)
        self._simulator.copy_parameters(model, self.plan.coarsening)
        self._substeps = self._planned_substeps(environment)
        self._key, (self._low, self._high) = _action_limits(environment)
        self._search = self.plan.sampler.start(self.plan.budget.horizon, self._low.size)
        self._generator = np.random.default_rng([seed, _STREAM])
        self._steps = 0

    @property
    def simulator(self) -> Simulator:
        """The simulator of the environment of the last `reset`.

        Raises:
          RuntimeError: There was no `reset`.
        """
        if self._simulator is None:
            raise RuntimeError("planner: the simulator is missing before the first episode. Call reset first.")
        return self._simulator

    def act(self, environment: Env, timestep: dm_env.TimeStep) -> Action:
        action, held = divmod(self._steps, self.plan.hold)
        if held == 0 and action % self.plan.replan_every == 0:
            self._replan(first=self._steps == 0)
        self._steps += 1
        value = self._to_action(self._search.plan[action % self.plan.replan_every])
        return {self._key: np.clip(value, self._low, self._high).astype(np.float32)}

    def _replan(self, *, first: bool) -> None:
        plan = self.plan
        search = self._search if first else plan.sampler.shift(self._search, plan.replan_every)
        for _ in range(plan.budget.iterations):
            sequences = plan.sampler.propose(search, plan.budget.samples, self._generator)
            search = plan.sampler.refine(search, sequences, self._values(sequences))
        self._search = search

    def _values(self, sequences: np.ndarray) -> np.ndarray:
        """Return the value (samples,) of each sequence (samples, horizon, size) from the live state."""
        actions = self.controls(self._to_action(sequences))
        readings = self.simulator.simulate(self._data, actions, self._substeps)
        values = np.nan_to_num(self.plan.objective.value(readings), nan=-1e6, posinf=-1e6, neginf=-1e6)
        return (values * self._weights).sum(axis=-1)

    def _to_action(self, sequences: np.ndarray) -> np.ndarray:
        """Return actions within the limits of the task for values in [-1, 1]."""
        return self._low + (sequences + 1) / 2 * (self._high - self._low)

    def _planned_substeps(self, environment: Env) -> int:
        steps = self.control_substeps(environment) * self.plan.hold
        if steps % self.plan.coarsening:
            raise ValueError(
                f"planner: coarsening of {environment.task_spec.name} is {self.plan.coarsening}, expected a divisor of "
                f"{steps}, the steps of the simulator for an action. Change it or hold."
            )
        return steps // self.plan.coarsening


def _action_limits(environment: Any) -> tuple[str, tuple[np.ndarray, np.ndarray]]:
    """Return the key of the action of a task and its limits, as float64.

    Raises:
      ValueError: The action is not one vector of bounded numbers.
    """
    actions = control_actions(environment.task_spec)
    if len(actions) == 1:
        ((key, modality),) = actions.items()
        if isinstance(modality, Continuous) and np.isfinite(limits(modality)).all():
            low, high = limits(modality)
            return key, (low.astype(np.float64), high.astype(np.float64))
    raise ValueError(
        f"planner: action of {environment.task_spec.name} is {actions}, expected one vector with finite limits. "
        "Plan for it with an expert of its own."
    )
