import os

import numpy as np
import pytest

from gato_jax.environments import MissingPackageError, load, status, task_spec
from gato_jax.environments.paper.dm_lab_substitutes import SUBSTITUTES
from gato_jax.environments.registry import task_names
from gato_jax.environments.rendering.process_owner import ForkedEnvironmentError
from gato_jax.environments.suites import miniworld

needs_gl = pytest.mark.skipif(bool(miniworld.missing_library()), reason=miniworld.missing_library())


def _images(environment, seed, actions=()):
    environment.seed(seed)
    timesteps = [environment.reset(), *(environment.step({"action": np.array(action)}) for action in actions)]
    return [timestep.observation["image"] for timestep in timesteps]


@needs_gl
def test_the_table_is_that_of_the_levels():
    envs = miniworld._import_levels()
    unrewarded = {"RoomObjects", "ThreeRooms"}
    assert {name.removesuffix("-v0") for name in miniworld.LEVELS} == set(envs.__all__) - unrewarded
    for task in ("MazeS2-v0", "OneRoomS6-v0", "Sign-v0"):
        environment = load(f"miniworld/{task}")
        level, (actions, max_steps) = environment.level, miniworld.LEVELS[task]
        assert (level.action_space.n, level.max_episode_steps) == (actions, max_steps)
        assert len(environment.action_names) == actions
        environment.close()


@needs_gl
def test_environments_side_by_side_draw_their_own_scenes():
    one, other = load("miniworld/OneRoomS6-v0"), load("miniworld/MazeS2-v0")
    alone = _images(one, 3, [2, 0])
    _images(other, 3)
    one.seed(3)
    first = one.reset().observation["image"]
    frame = one.render()
    other.reset()  # all of them share OpenGL's display lists
    second = one.step({"action": np.array(2)}).observation["image"]
    other.step({"action": np.array(0)})
    np.testing.assert_array_equal(alone[:2], [first, second])
    other.render()
    one.seed(3)
    one.reset()
    other.step({"action": np.array(0)})
    np.testing.assert_array_equal(one.render(), frame)
    one.close()
    np.testing.assert_array_equal(_images(load("miniworld/OneRoomS6-v0"), 3, [2, 0]), alone)
    assert other.render().std() > 5


@needs_gl
def test_an_unobserved_episode_is_the_same_without_images():
    environment, other = load("miniworld/OneRoomS6-v0"), load("miniworld/MazeS2-v0")
    played = []
    for observed in (True, False, True):
        environment.observed = observed
        timesteps = []
        for seed, actions in {0: [0, 2, 1, 2, 2], 7: [0]}.items():  # the box of the second one is next to the agent
            environment.seed(seed)
            environment.reset()
            timesteps += [environment.step({"action": np.array(action)}) for action in actions]
        images = np.stack([timestep.observation["image"] for timestep in timesteps])
        played.append(([timestep.reward for timestep in timesteps], environment.render(), images))
        other.reset()  # it leaves its own scene to be drawn
    for rewards, frame, _ in played[1:]:
        assert rewards == played[0][0] and rewards[:-1] == [0.0] * 5 and rewards[-1] > 0
        np.testing.assert_array_equal(frame, played[0][1])
    assert not played[1][2].any()
    np.testing.assert_array_equal(played[2][2], played[0][2])


@needs_gl
def test_the_sign_shows_what_is_to_be_touched():
    environment = load("miniworld/Sign-v0")
    drawn = set()
    for seed in range(12):
        environment.seed(seed)
        goal = environment.reset().observation["goal"]
        drawn.add((environment.level._color_index, int(goal)))
    assert len(drawn) > 3
    assert environment.step({"action": np.array(3)}).last() and environment.success is False


@needs_gl
def test_another_process_is_refused(monkeypatch):
    environment = load("miniworld/OneRoomS6-v0")
    environment.reset()
    process = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: process + 1)
    environment.close()  # leaves the context to its owner
    for use in (environment.reset, environment.render, lambda: environment.step({"action": np.array(0)})):
        with pytest.raises(ForkedEnvironmentError, match=f"miniworld/OneRoomS6-v0.*process {process} made"):
            use()
    monkeypatch.undo()
    assert environment.render().std() > 5


def test_without_a_library_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr(miniworld, "_LIBRARIES", {"libNone.so.1": "libnone1"})
    miniworld.missing_library.cache_clear()
    assert status("miniworld/Maze-v0") == ("unavailable", "there is no libNone.so.1; apt-get install libnone1")
    with pytest.raises(MissingPackageError, match="apt-get install libnone1"):
        load("miniworld/Maze-v0")
    assert task_spec("miniworld/Maze-v0").max_steps == 1536
    miniworld.missing_library.cache_clear()


def test_each_substitute_is_a_task_and_stands_for_one_level():
    assert len(SUBSTITUTES) >= 12 and len(set(SUBSTITUTES.values())) == len(SUBSTITUTES)
    assert set(SUBSTITUTES.values()) <= set(task_names())
