import numpy as np
import pytest

from gato_jax.environments import load
from gato_jax.environments.suites import fetch, fetch_state


@pytest.mark.parametrize("task", fetch_state.SUITE.tasks)
def test_the_spec_is_that_of_the_package(task):
    environment = load(f"fetch_state/{task}")
    assert isinstance(environment, fetch_state.FetchState)
    spaces = {key: space.shape for key, space in environment.simulator.observation_space.items()}
    assert {key: modality.shape for key, modality in environment.task_spec.observation.items()} == spaces
    assert environment.task_spec.action["action"].shape == environment.simulator.action_space.shape


def test_reaching_the_goal_is_a_success():
    environment = load("fetch_state/reach")
    environment.seed(1)
    timestep, rewards = environment.reset(), []
    while not timestep.last():
        error = timestep.observation["desired_goal"] - timestep.observation["achieved_goal"]
        timestep = environment.step({"action": np.append(np.clip(10 * error, -1, 1), 0.0)})
        rewards.append(timestep.reward)
    assert len(rewards) == 50 and timestep.discount == 1.0
    assert rewards[0] == -1.0 and rewards[-1] == 0.0 and environment.score(sum(rewards)) == 1.0


def test_the_task_with_cameras_is_another_one():
    assert fetch.SUITE.tasks == ("pick_and_place",)
    assert fetch.spec("pick_and_place").action["action"].shape == (7,)
    assert fetch_state.spec("pick_and_place").action["action"].shape == (4,)
