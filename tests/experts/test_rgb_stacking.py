"""The script of RGB stacking: it changes nothing but by its actions, and its trials foretell what happens."""

import numpy as np
import pytest

from gato_jax.environments import load
from gato_jax.experts import ExpertActor
from gato_jax.experts.rgb_stacking import grasps, moves, placements
from gato_jax.experts.rgb_stacking.drops import Drops
from gato_jax.experts.rgb_stacking.workcell import Trials, played, turned_pose
from gato_jax.rollouts import play


@pytest.fixture(scope="module")
def environment():
    environment = load("rgb_stacking/test_triplet5")
    environment.observed = False
    environment.seed(0)
    environment.reset()
    return environment


def test_a_trial_lifts_red_and_finds_a_stable_place_without_an_effect_on_the_scene(environment):
    cell = played(environment)
    trials = Trials(cell)
    state = trials.state_of(cell)
    trials.put_state(state)
    grasp = grasps.candidates(trials, "red")[0]
    assert trials.carry_to(grasp.position + [0.0, 0.0, moves.APPROACH_HEIGHT], grasp.yaw, None)
    np.testing.assert_allclose(trials.yaw, grasp.yaw, atol=1e-3)
    trials.run(moves.pick(trials, grasp))
    assert trials.criteria.grasped() and trials.criteria.position("red")[2] > cell.criteria.position("red")[2] + 0.02
    best, *_ = placements.stable_placements(trials, Drops(cell, environment.triplet))
    assert best.drift < 0.02  # a cylinder on a cube
    np.testing.assert_array_equal(trials.state_of(cell), state)


def test_an_object_let_go_beside_the_one_below_falls(environment):
    cell = played(environment)
    drops = Drops(cell, environment.triplet)
    red, blue = environment.data.joint("red").qpos.copy(), cell.criteria.position("blue")
    above = blue + [0.0, 0.0, 0.055]
    assert np.isfinite(drops.drift(cell, turned_pose(red, red[:3], above, 0.0)))
    assert drops.drift(cell, turned_pose(red, red[:3], above + [0.0, 0.04, 0.0], 0.0)) == np.inf


def test_a_turned_pose_turns_about_the_pivot():
    pose = np.array([1.0, 0.0, 0.5, 1.0, 0.0, 0.0, 0.0])
    turned = turned_pose(pose, np.zeros(3), np.array([0.0, 0.0, 1.0]), np.pi / 2)
    np.testing.assert_allclose(turned, [0.0, 1.0, 1.5, np.sqrt(0.5), 0.0, 0.0, np.sqrt(0.5)], atol=1e-12)


@pytest.mark.slow
def test_a_cylinder_is_stacked_on_a_cube_and_the_seed_determines_the_actions():
    first, second = play(ExpertActor, [("rgb_stacking/test_triplet5", 2_600_000)] * 2)
    assert first.success
    for key, values in first.action.items():
        np.testing.assert_array_equal(second.action[key], values)
