"""Every suite keeps the contract of environments.Environment; one task stands for each."""

import numpy as np
import pytest

from gato_jax.environments import ActionError, load, package_versions, task_spec
from gato_jax.episodes import Text
from gato_jax.rollouts import random_action
from tests.rollouts.made_drift import Drift

TASKS = ["atari/gopher", "babyai/GoToLocal-v0", "dm_control/reacher/easy", "fetch/pick_and_place", "meta_world/push-v3"]


@pytest.fixture(scope="module", params=TASKS)
def environment(request):
    return load(request.param)


def _play(environment, seed, steps=12):
    generator = np.random.default_rng(0)
    environment.seed(seed)
    timesteps = [environment.reset()]
    while len(timesteps) < steps and not timesteps[-1].last():
        timesteps.append(environment.step(random_action(environment.task_spec, generator)))
    return timesteps


def _assert_equal(these, those):
    assert len(these) == len(those)
    for one, other in zip(these, those, strict=True):
        assert (one.reward, one.discount, one.step_type) == (other.reward, other.discount, other.step_type)
        for key, value in one.observation.items():
            np.testing.assert_array_equal(value, other.observation[key], err_msg=key)


def test_observations_match_the_spec(environment):
    assert environment.task_spec == task_spec(environment.task_spec.name)
    specs = environment.observation_spec()
    for timestep in _play(environment, seed=1):
        assert set(timestep.observation) == set(specs)
        for key, modality in environment.task_spec.observation.items():
            value = timestep.observation[key]
            if isinstance(modality, Text):
                assert isinstance(value, str) and value
            else:
                specs[key].validate(value)


def test_a_seed_is_one_episode_on_a_fresh_and_on_a_used_instance(environment):
    _play(environment, seed=7, steps=5)
    used = _play(environment, seed=3)
    fresh = _play(load(environment.task_spec.name), seed=3)
    _assert_equal(used, fresh)


def test_seeds_differ(environment):
    steps = 60 if environment.task_spec.suite == "atari" else 1  # a game is the same until it is started
    first, second = (_play(environment, seed, steps)[-1].observation for seed in (1, 2))
    assert any(not np.array_equal(first[key], second[key]) for key in first)


def test_a_reset_without_a_seed_goes_on_with_the_next(environment):
    environment.seed(4)
    environment.reset()
    second = environment.reset()
    _assert_equal([second], _play(environment, seed=5, steps=1))


def test_bad_actions_name_what_is_wrong(environment):
    environment.seed(0)
    environment.reset()
    good = random_action(environment.task_spec, np.random.default_rng(0))["action"]
    for bad, message in [
        ({"act": good}, "keys"),
        ({"action": np.zeros((3, 3), good.dtype)}, "shape"),
        ({"action": np.full_like(good, 99)}, "outside"),
    ]:
        with pytest.raises(ActionError, match=message):
            environment.step(bad)


def test_not_a_number_is_no_action():
    environment = load("dm_control/reacher/easy")
    environment.reset()
    with pytest.raises(ActionError, match="outside"):
        environment.step({"action": np.array([np.nan, 0.0])})


def test_frames_for_people(environment):
    environment.seed(0)
    environment.reset()
    frame = environment.render()
    assert frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3
    assert frame.std() > 5


def test_an_environment_names_its_packages_and_their_licence(environment):
    versions = package_versions(environment.task_spec.name)
    assert environment.source == ", ".join(versions) and environment.licence


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
        timesteps = _play(environment, seed)
        for timestep in timesteps:
            np.testing.assert_allclose(timestep.observation["state"][-3:], environment.simulator._target_pos, rtol=1e-6)
        goals.append(tuple(timesteps[0].observation["state"][-3:]))
    assert len(set(goals)) == 4
