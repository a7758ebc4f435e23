"""Suites from pixels have the dynamics of those from states, and their episodes name the renderer."""

import mujoco
import numpy as np
import pytest

from gato_jax.environments import is_rendered, load, suites, task_spec
from gato_jax.environments.rendering import choice
from gato_jax.environments.suites import dm_control, dm_control_pixels, meta_world_pixels
from gato_jax.episodes import Image
from gato_jax.rollouts import RandomActor, Recording, play, random_action
from tests.conftest import opengl

STEPS = 12


def _play(name: str, seed: int) -> tuple[list[float], list[dict], object]:
    environment = load(name)
    generator = np.random.default_rng(0)
    environment.seed(seed)
    timesteps = [environment.reset()]
    for _ in range(STEPS):
        timesteps.append(environment.step(random_action(environment.task_spec, generator)))
    environment.close()
    return [step.reward for step in timesteps], [step.observation for step in timesteps], environment


@pytest.mark.parametrize("task", ["dm_control/walker/run", "meta_world/push-v3"])
def test_rewards_are_those_of_the_suite_from_states(task):
    suite, _, name = task.partition("/")
    states, _, environment = _play(task, seed=3)
    pixels, observations, from_pixels = _play(f"{suite}_pixels/{name}", seed=3)
    assert states == pixels and len(set(states)) > 5
    assert environment.renderer == "" and from_pixels.renderer == "raycast"
    images = [observation["image"] for observation in observations]
    assert {(image.shape, image.dtype.name) for image in images} == {((64, 64, 3), "uint8")}
    assert not np.array_equal(images[0], images[-1])


def test_the_suites_name_whose_scores_they_share():
    from dm_control import suite as their_suite

    for suite in (dm_control_pixels.SUITE, meta_world_pixels.SUITE):
        name = suite.name
        shared = suites()[name.removesuffix("_pixels")]
        assert suite.scores_of == shared.name and set(suite.tasks) <= set(shared.tasks)
        assert is_rendered(f"{name}/{suite.tasks[0]}") and not is_rendered(f"{shared.name}/{suite.tasks[0]}")
        assert task_spec(f"{name}/{suite.tasks[0]}").observation == {"image": Image(height=64, width=64)}
    assert {tuple(task.split("/")) for task in dm_control.BENCHMARKING} == set(their_suite.BENCHMARKING)
    assert len(meta_world_pixels.TASKS) == 50


def test_the_view_of_meta_world_is_the_one_of_other_pixel_agents():
    model = load("meta_world_pixels/reach-v3").simulator.model
    theirs, ours = model.camera("corner2"), model.camera(meta_world_pixels.CAMERA)
    np.testing.assert_allclose(ours.pos, [0.75, 0.075, 0.7])  # where they move corner2
    np.testing.assert_allclose(ours.quat, theirs.quat)
    assert ours.fovy == theirs.fovy
    up = np.zeros(3)
    mujoco.mju_rotVecQuat(up, np.array([0.0, 1.0, 0.0]), ours.quat)
    assert up[2] < 0  # it hangs upside down, so that the image is turned


def _short(name: str):
    environment = load(name)
    environment.max_steps = 3
    return environment


def test_episodes_and_recordings_name_the_renderer(tmp_path):
    task = "dm_control_pixels/cartpole/balance"
    (episode,) = play(RandomActor, [(task, 1)], load=_short)
    assert episode.provenance.equipment == "cartpole (simulated); images by raycast"
    recording = Recording(root=tmp_path, spec=task_spec(task), actor="random", seeds=range(1))
    assert recording.settings["renderer"] == "raycast"


@pytest.mark.needs_gl
def test_images_of_opengl_follow_from_the_seed(monkeypatch):
    monkeypatch.setenv(choice.VARIABLE, f"{opengl()}_fast")
    (_, first, environment), (_, second, _) = (_play("dm_control_pixels/reacher/hard", seed) for seed in (5, 5))
    np.testing.assert_array_equal([one["image"] for one in first], [one["image"] for one in second])
    assert environment.renderer.startswith(f"{opengl()}_fast, ")
