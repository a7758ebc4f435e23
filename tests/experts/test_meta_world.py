import numpy as np
import pytest

from gato_jax.environments import load
from gato_jax.environments.suites.meta_world import TASKS
from gato_jax.experts import ExpertActor, description
from gato_jax.experts.meta_world_scripts import SCRIPTS
from gato_jax.rollouts import ActorFailure, play

# Seeds at which the policies that come with Meta-World fail: closed fingers rest on the object, the peg or block slips,
# the ball rolls away, the hand hits the button's upper edge.
HARD = {
    "box-close-v3": 2_600_018,
    "button-press-wall-v3": 2_600_012,
    "peg-insert-side-v3": 2_600_003,
    "shelf-place-v3": 2_600_009,
    "soccer-v3": 2_600_005,
    "stick-pull-v3": 2_600_016,
}


@pytest.mark.parametrize("task", HARD)
def test_a_script_succeeds_where_the_policy_of_the_package_fails(task):
    (episode,) = play(ExpertActor, [(f"meta_world/{task}", HARD[task])])
    assert episode.success


def test_scripts_are_for_tasks():
    assert SCRIPTS.keys() < set(TASKS)
    assert description("meta_world/soccer-v3") != description("meta_world/reach-v3")


def test_the_expert_of_pixels_takes_the_same_actions(task="soccer-v3"):
    actions = {}
    for suite in ("meta_world", "meta_world_pixels"):
        environment = load(f"{suite}/{task}")
        environment.seed(5)
        timestep, actor = environment.reset(), ExpertActor()
        actor.reset([environment], [5])
        actions[suite] = []
        for _ in range(5):
            (action,) = actor.act([timestep])
            assert not isinstance(action, ActorFailure)
            actions[suite].append(action["action"])
            timestep = environment.step(action)
        environment.close()
    np.testing.assert_array_equal(actions["meta_world"], actions["meta_world_pixels"])
