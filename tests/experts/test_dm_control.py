from typing import Any

import numpy as np
import pytest

from gato_jax.environments import load
from gato_jax.environments.suites import dm_control
from gato_jax.experts import expert_names
from gato_jax.experts.dm_control import PLANS, DMControlPlanner

OWN_REWARDS = [task for task, plan in PLANS.items() if not plan.objective.shaped]


def start(name, seed, **options) -> tuple[Any, Any, DMControlPlanner]:
    """Return an environment at the start of an episode, with the first timestep and a planner that has seen it."""
    environment: Any = load(name)
    environment.seed(seed)
    timestep = environment.reset()
    planner = DMControlPlanner(name.partition("/")[2], **options)
    planner.reset(environment.unwrapped, seed)
    return environment, timestep, planner


@pytest.mark.parametrize("task", OWN_REWARDS)
def test_the_objective_is_the_reward(task):
    environment, _, planner = start(f"dm_control/{task}", 3, threads=1)
    model, data = planner.model_and_data(environment)
    planner.simulator.copy_parameters(model)  # at the time step of the task itself
    size = environment.task_spec.action["action"].shape[0]
    actions = np.random.default_rng(0).uniform(-1, 1, (30, size))
    readings = planner.simulator.simulate(data, actions[None], planner.control_substeps(environment))
    planned = planner.plan.objective.value(readings)[0]
    rewards = [environment.step({"action": action}).reward for action in actions]
    np.testing.assert_allclose(planned, rewards, rtol=1e-5, atol=1e-6)


def test_the_same_actions_on_any_number_of_threads():
    actions = []
    for threads in (1, 2):
        environment, timestep, planner = start("dm_control/cartpole/swingup", 7, threads=threads)
        for _ in range(20):
            actions.append(planner.act(environment, timestep)["action"])
            timestep = environment.step({"action": actions[-1]})
    np.testing.assert_array_equal(actions[:20], actions[20:])


def test_the_random_body_of_an_episode_is_planned_for():
    environment, _, planner = start("dm_control_random_large/cartpole/swingup", 1, threads=1)
    _, data = planner.model_and_data(environment.unwrapped)
    actions = np.random.default_rng(0).uniform(-1, 1, (20, 1))
    readings = planner.simulator.simulate(data, actions[None], 1)
    for step, action in enumerate(actions):
        environment.step({"action": action})
        np.testing.assert_allclose(readings.qpos[0, step], data.qpos, rtol=1e-6)


def test_names():
    names = set(expert_names())
    for task in set(PLANS) & set(dm_control.BENCHMARKING):
        suites = ("dm_control", "dm_control_pixels", "dm_control_random_small", "dm_control_random_large")
        assert {f"{suite}/{task}" for suite in suites} <= names
