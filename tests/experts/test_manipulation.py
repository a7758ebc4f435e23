"""The scripts of the Jaco arm place bricks and click them together, whatever stands in the way of the hand."""

import numpy as np
import pytest

from gato_jax.environments.suites.manipulation import Manipulation
from gato_jax.experts import ExpertActor, expert_names
from gato_jax.experts.manipulation_arm import bounded_least_squares, downwards, nearest_half_turn, turn_to
from gato_jax.rollouts import play


def rotation(x, y, z):
    """Return the rotation matrix of a rotation vector in radians, by the formula of Rodrigues."""
    angle = np.sqrt(x**2 + y**2 + z**2)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) / angle
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


@pytest.mark.parametrize(
    ("task", "least"),
    [
        ("place_brick", 120.0),
        pytest.param("reach_site", 200.0, marks=pytest.mark.slow),
        pytest.param("reach_duplo", 180.0, marks=pytest.mark.slow),
        pytest.param("lift_brick", 140.0, marks=pytest.mark.slow),
        pytest.param("place_cradle", 120.0, marks=pytest.mark.slow),
        pytest.param("stack_2_bricks", 90.0, marks=pytest.mark.slow),
        pytest.param("stack_2_bricks_moveable_base", 90.0, marks=pytest.mark.slow),
        pytest.param("stack_2_of_3_bricks_random_order", 90.0, marks=pytest.mark.slow),
    ],
)
def test_an_episode_ends_with_the_task_done(task, least):
    (episode,) = play(
        ExpertActor, [(f"manipulation/{task}_features", 2_000_000)]
    )  # its last step has no action and no reward
    assert episode.reward[-2] > 0.98 and episode.reward.sum() > least


@pytest.mark.slow
def test_the_hand_turns_where_a_finger_meets_the_pedestal():
    (episode,) = play(ExpertActor, [("manipulation/place_cradle_features", 2_000_001)])
    assert episode.reward[-2] > 0.98


def test_tasks_from_pixels_have_the_scripts_of_the_same_tasks():
    tasks = {name.removesuffix("_features") for name in expert_names() if name.startswith("manipulation/")}
    seen = {name.removesuffix("_vision") for name in expert_names() if name.startswith("manipulation_vision/")}
    assert {task.replace("manipulation/", "manipulation_vision/") for task in tasks} == seen


def test_a_script_leaves_the_state_alone():
    environment = Manipulation("place_brick_features")
    environment.seed(3)
    timestep = environment.reset()
    actor = ExpertActor()
    actor.reset([environment], [3])
    data = environment.composer_environment.physics.data
    before = data.qpos.copy(), data.qvel.copy(), data.ctrl.copy(), float(data.time)
    actor.act([timestep])
    after = data.qpos, data.qvel, data.ctrl, float(data.time)
    assert all(np.array_equal(first, second) for first, second in zip(before, after, strict=True))
    environment.close()


def test_a_limit_is_kept_and_the_other_joints_make_up_for_it():
    matrix, limits = np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]), np.array([0.1, 5.0, 5.0])
    solution = bounded_least_squares(matrix, np.array([1.0, 0.5]), limits)
    assert solution[0] == pytest.approx(0.1) and np.all(np.abs(solution) <= limits)
    np.testing.assert_allclose(matrix @ solution, [1.0, 0.5], rtol=1e-3)
    np.testing.assert_allclose(bounded_least_squares(matrix, np.array([20.0, -9.0]), limits), [0.1, 5.0, -5.0])


def test_turns_are_rotation_vectors():
    start, turn = rotation(0.3, -0.2, 0.9), np.array([0.1, 0.4, -0.2])
    np.testing.assert_allclose(turn_to(start, rotation(*turn) @ start), turn, atol=1e-12)
    np.testing.assert_allclose(turn_to(start, start), np.zeros(3), atol=1e-7)


def test_the_hand_points_down_and_takes_the_nearer_of_two_directions():
    hand = downwards(rotation(3.0, 0.1, 0.0), along=np.array([-1.0, 0.2, 0.0]))
    np.testing.assert_allclose(hand[:, 2], [0.0, 0.0, -1.0])
    assert np.linalg.det(hand) == pytest.approx(1.0) and hand[0, 0] > 0.9
    brick = rotation(0.0, 0.0, 3.0)
    np.testing.assert_allclose(nearest_half_turn(brick, np.eye(3)), np.diag([-1.0, -1.0, 1.0]))
