import pytest

from gato_jax.environments import load
from gato_jax.environments.suites import adroit


@pytest.mark.parametrize("task", adroit.SUITE.tasks)
def test_the_spec_is_that_of_the_package(task):
    environment = load(f"adroit/{task}")
    assert isinstance(environment, adroit.Adroit)
    assert environment.task_spec.observation["observation"].shape == environment.simulator.observation_space.shape
    assert environment.task_spec.action["action"].shape == environment.simulator.action_space.shape
    assert environment.simulator.dt == pytest.approx(1 / adroit.CONTROL_RATE_HZ)
    environment.seed(0)
    environment.reset()
    assert environment.render().std() > 5
