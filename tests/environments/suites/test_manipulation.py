import numpy as np

from gato_jax.environments import load
from gato_jax.environments.suites import manipulation, manipulation_vision


def test_the_tasks_are_those_of_the_package():
    from dm_control.manipulation import ALL

    assert set(manipulation.TASKS) == {name for name in ALL if name.endswith("_features")}
    assert set(manipulation_vision.TASKS) == {name for name in ALL if name.endswith("_vision")}


def test_the_order_of_a_tower_follows_from_the_seed_alone():
    environment = load("manipulation/reassemble_3_bricks_fixed_order_features")
    first = []
    for seed in (5, 6, 5):
        environment.seed(seed)
        first.append(environment.reset().observation)
    for key, value in first[0].items():
        np.testing.assert_array_equal(value, first[2][key], err_msg=key)
    assert any(not np.array_equal(value, first[1][key]) for key, value in first[0].items())
    assert environment.render().std() > 5


def test_an_episode_is_cut_off_after_ten_seconds():
    environment = load("manipulation/reach_site_features")
    still, timestep, steps = {"action": np.zeros(9)}, environment.reset(), 0
    while not timestep.last():
        timestep, steps = environment.step(still), steps + 1
    assert steps == 250 and timestep.discount == 1.0 and 0.0 <= timestep.reward <= 1.0


def test_vision_shows_the_bricks_and_tells_the_state_of_the_arm_alone():
    environment = load("manipulation_vision/lift_brick_vision")
    environment.seed(0)
    observation = environment.reset().observation
    assert observation["front_close"].shape == (84, 84, 3) and observation["front_close"].std() > 5
    assert all(key == "front_close" or key.startswith("jaco_arm/") for key in observation)
    environment.observed = False
    environment.seed(0)
    unobserved = environment.reset().observation
    assert not unobserved.pop("front_close").any()
    for key, value in unobserved.items():
        np.testing.assert_array_equal(value, observation[key])
    environment.close()
