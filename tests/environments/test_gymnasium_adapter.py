import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

from gato_jax.environments import ActionError, SeedError, as_gymnasium
from tests.rollouts.made_drift import Drift

pytestmark = pytest.mark.filterwarnings("ignore:.*Box (observation|action) space:UserWarning")


@pytest.mark.parametrize("task", ["babyai/GoToLocal-v0", "gymnasium/Blackjack-v1"])
def test_gymnasium_finds_no_fault_in_frames_and_other_modes_either(task):
    environment = as_gymnasium(task, render_mode="rgb_array")
    check_env(environment)
    environment.close()


def test_an_episode_and_its_end():
    drift = as_gymnasium(Drift(), render_mode="rgb_array")
    check_env(drift, skip_render_check=True)
    _, info = drift.reset(seed=1)
    assert info == {"variation": {}} and isinstance(drift.action_space, spaces.Box)
    steps, ended = 0, False
    while not ended:
        _, reward, terminated, truncated, info = drift.step(np.zeros(2, np.float32))
        steps, ended = steps + 1, terminated or truncated
    assert terminated != truncated and isinstance(reward, float) and info["success"] is drift.environment.success
    with pytest.raises(gymnasium.error.ResetNeeded, match="Call reset"):
        drift.step(np.zeros(2, np.float32))


def test_bad_input_is_named():
    drift = as_gymnasium(Drift())
    with pytest.raises(SeedError, match="-1"):
        drift.reset(seed=-1)
    drift.reset(seed=0)
    for bad in (np.full(2, np.nan, np.float32), np.zeros(3, np.float32)):
        with pytest.raises(ActionError):
            drift.step(bad)
    with pytest.raises(ValueError, match="render_mode is 'human'"):
        as_gymnasium("atari/pong", render_mode="human")


def test_several_environments_of_a_task():
    vector = gymnasium.make_vec(as_gymnasium("gymnasium/CartPole-v1").spec, num_envs=2, vectorization_mode="sync")
    observation, _ = vector.reset(seed=[3, 4])
    for seed, row in zip((3, 4), observation, strict=True):
        np.testing.assert_array_equal(as_gymnasium("gymnasium/CartPole-v1").reset(seed=seed)[0], row)
