import copy

import numpy as np
import pytest

from gato_jax.environments import load
from gato_jax.experts import ExpertActor
from gato_jax.experts.fetch_dynamics import FetchDynamics
from gato_jax.rollouts import play


@pytest.mark.parametrize("task", ["reach", "push", "pick_and_place", "slide"])
def test_the_goal_is_reached_at_the_last_step(task):
    (episode,) = play(ExpertActor, [(f"fetch_state/{task}", 2_600_011)])
    assert episode.success


def test_the_strike_follows_from_the_seed():
    first, second = play(ExpertActor, [("fetch_state/slide", 2_600_010)] * 2)
    np.testing.assert_array_equal(first.action["action"], second.action["action"])


def test_the_copy_steps_as_the_simulator_which_it_leaves_unchanged():
    environment = load("fetch_state/slide")
    environment.seed(7)
    environment.reset()
    before = copy.copy(environment.simulator.data)
    dynamics, generator = FetchDynamics(environment.simulator), np.random.default_rng(0)
    actions = generator.uniform(-1, 1, (10, 4)).astype(np.float32)
    for action in actions:
        dynamics.step(action)
    np.testing.assert_array_equal(environment.simulator.data.qpos, before.qpos)
    for action in actions:
        timestep = environment.step({"action": action})
    np.testing.assert_array_equal(timestep.observation["achieved_goal"], dynamics.item.astype(np.float32))
