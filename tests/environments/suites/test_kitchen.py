import numpy as np

from gato_jax.environments import load
from gato_jax.environments.suites import kitchen

STILL = {"action": np.zeros(9)}
MICROWAVE, OPEN = 22, -0.75  # index into qpos, radians


def _start(task):
    environment = load(f"kitchen/{task}")
    assert isinstance(environment, kitchen.Kitchen)
    environment.seed(0)
    environment.reset()
    return environment


def test_a_thing_that_is_done_ends_the_episode():
    environment = _start("microwave")
    before = environment.step(STILL)
    assert before.reward == 0.0 and not before.last() and environment.success is False
    environment.simulator.data.qpos[MICROWAVE] = OPEN
    timestep = environment.step(STILL)
    assert timestep.reward == 1.0 and timestep.last() and timestep.discount == 0.0 and environment.success is True


def test_a_group_ends_when_all_of_it_is_done_and_each_thing_counts_once():
    environment = _start("complete")
    environment.simulator.data.qpos[MICROWAVE] = OPEN
    rewards = [environment.step(STILL).reward for _ in range(3)]
    assert rewards == [1.0, 0.0, 0.0] and environment.success is False
