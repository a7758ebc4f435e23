"""What is special in single tasks; tests/environments/test_every_task.py tests what all have in common."""

import numpy as np
import pytest

from gato_jax.environments import ActionError, load
from tests.environments.conformance import play
from tests.rollouts.made_drift import Drift


def test_not_a_number_is_no_action():
    environment = load("dm_control/reacher/easy")
    environment.reset()
    with pytest.raises(ActionError, match="outside"):
        environment.step({"action": np.array([np.nan, 0.0])})


def test_success_is_that_of_the_last_step():
    drift = Drift()
    for seed, success in ((1, True), (2, False)):
        drift.seed(seed)
        drift.reset()
        assert drift.success is None
        drift.step({"action": np.zeros(2, np.float32)})
        assert drift.success is success


def test_meta_world_shows_a_goal_that_varies_and_stays():
    environment = load("meta_world/reach-v3")
    goals = []
    for seed in range(4):
        timesteps = play(environment, seed, 11)
        for timestep in timesteps:
            np.testing.assert_allclose(timestep.observation["state"][-3:], environment.simulator._target_pos, rtol=1e-6)
        goals.append(tuple(timesteps[0].observation["state"][-3:]))
    assert len(set(goals)) == 4
