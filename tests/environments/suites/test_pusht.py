import numpy as np

from gato_jax.environments import load
from gato_jax.environments.suites import pusht


def _start(suite):
    environment = load(f"{suite}/push")
    assert isinstance(environment, pusht.PushT)
    environment.seed(0)
    return environment, environment.reset()


def test_a_block_on_its_outline_is_a_success():
    environment, timestep = _start("pusht")
    still = {"action": timestep.observation["state"][:2]}
    first = environment.step(still)
    assert not first.last() and environment.success is False and environment.max_coverage < 0.95
    environment.simulator.block.angle = environment.simulator.goal_pose[2]  # turns about the centre of gravity
    environment.simulator.block.position = tuple(environment.simulator.goal_pose[:2])
    timestep = environment.step(still)
    assert timestep.last() and timestep.discount == 0.0 and timestep.reward == 1.0
    assert environment.success is True and environment.max_coverage > 0.95 and environment.score(3.0) == 1.0
    environment.reset()
    assert environment.max_coverage == 0.0


def test_pixels_show_the_same_episode():
    (pixels, seen), (_, known) = _start("pusht_pixels"), _start("pusht")
    np.testing.assert_array_equal(seen.observation["agent_pos"], known.observation["state"][:2])
    assert seen.observation["image"].shape == (96, 96, 3) and pixels.render().shape == (680, 680, 3)
    assert seen.observation["image"].std() > 5


def test_no_action_leaves_the_plane():
    environment, _ = _start("pusht")
    for corner in ([0.0, 0.0], [512.0, 512.0], [0.0, 512.0]):
        for _ in range(20):
            timestep = environment.step({"action": np.array(corner)})
    assert np.isfinite(timestep.observation["state"]).all()
