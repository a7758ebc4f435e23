import pathlib
import re

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from gato_jax.environments import (
    ActionError,
    MissingPackageError,
    UnknownTaskError,
    is_task,
    load,
    package_versions,
    task_names,
    task_spec,
)
from gato_jax.environments.gymnasium_api.spaces import SpaceCodec, SpaceError
from gato_jax.episodes import Continuous, Discrete, Image, Text, dataset_name, open_dataset
from gato_jax.rollouts import random_action
from tests.integration.conftest import gato

INT8 = np.int8
EVERYTHING = spaces.Dict(
    {
        "camera": spaces.Box(0, 255, (24, 32, 3), np.uint8),
        "depth": spaces.Box(0, 255, (24, 32), np.uint8),
        "ram": spaces.Box(0, 255, (8,), np.uint8),
        "cells": spaces.Box(0, 255, (7, 7, 3), np.uint8),
        "ticks": spaces.Box(-4, 3, (2,), np.int64),
        "clock": spaces.Box(0, 100_000, (1,), np.int32),
        "joints": spaces.Box(np.array([-1.0, -np.inf]), np.array([1.0, np.inf]), dtype=np.float64),
        "mode": spaces.Discrete(3, start=-1),
        "dice": spaces.MultiDiscrete([6, 20], start=[1, 1]),
        "lamps": spaces.MultiBinary([2, 2]),
        "said": spaces.Text(20),
        "hand": spaces.Tuple([spaces.Discrete(2), spaces.Dict({"force": spaces.Box(0, 1, ())})]),
    }
)
ACTIONS = spaces.Tuple(
    [
        spaces.Discrete(4, start=10),
        spaces.MultiDiscrete([3, 3], start=[1, 5]),
        spaces.MultiDiscrete([[2, 5], [7, 3]]),
        spaces.MultiBinary(3),
        spaces.Box(np.array([-0.1, 0.0]), np.array([0.05, 2.0]), dtype=np.float64),
        spaces.Box(-3, 3, (2,), INT8),
        spaces.Box(-5000, 5000, (1,), np.int32),
        spaces.Dict({"claw": spaces.Discrete(2), "arm": spaces.Box(-1, 1, (3,))}),
    ]
)


class Everything(gymnasium.Env):
    """Samples of every kind of space; it refuses actions that are not of its space."""

    observation_space, action_space = EVERYTHING, ACTIONS

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        return self.observation_space.sample(), np.ones(1), False, False, {"is_success": np.bool_(True)}


@pytest.fixture
def registered():
    gymnasium.register("Everything-v0", Everything, max_episode_steps=4)
    yield "gymnasium/Everything-v0"
    del gymnasium.registry["Everything-v0"]


def test_modality_of_each_space():
    modalities = SpaceCodec(EVERYTHING, "observation", "made/task").modalities
    infinite = float("inf")
    assert modalities == {
        "camera": Image(height=24, width=32),
        "depth": Image(height=24, width=32, channels=1),
        "ram": Discrete(n=256, shape=(8,)),
        "cells": Discrete(n=256, shape=(7, 7, 3)),  # smaller than a patch: codes
        "ticks": Discrete(n=8, shape=(2,)),
        "clock": Continuous(shape=(1,), low=0.0, high=100_000.0),
        "joints": Continuous(shape=(2,), low=(-1.0, -infinite), high=(1.0, infinite)),
        "mode": Discrete(n=3),
        "dice": Discrete(n=20, shape=(2,)),
        "lamps": Discrete(n=2, shape=(2, 2)),
        "said": Text(),
        "hand/0": Discrete(n=2),
        "hand/1/force": Continuous(shape=(), low=0.0, high=1.0),
    }
    assert SpaceCodec(spaces.Discrete(2), "action", "made/task").modalities == {"action": Discrete(n=2)}


def test_every_value_comes_back_from_its_modalities():
    codec = SpaceCodec(ACTIONS, "action", "made/task")
    ACTIONS.seed(0)
    for _ in range(50):
        value = ACTIONS.sample()
        encoded = codec.encode(value)
        for key, modality in codec.modalities.items():
            if isinstance(modality, Discrete):
                assert np.all((0 <= encoded[key]) & (encoded[key] < modality.n))
        decoded = codec.decode(encoded)
        assert ACTIONS.contains(decoded)
        for one, other in zip(spaces.flatten(ACTIONS, value), spaces.flatten(ACTIONS, decoded), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6)


def test_an_environment_with_every_space_is_played(registered):
    environment = load(registered)
    spec, generator = task_spec(registered), np.random.default_rng(0)
    assert spec == environment.task_spec and spec.max_steps == 4
    # The four elements of the MultiDiscrete with unlike counts have a key each.
    assert [spec.action[f"2/{at}"].n for at in ("0/0", "0/1", "1/0", "1/1")] == [2, 5, 7, 3]
    timesteps = [environment.reset()]
    while not timesteps[-1].last():
        timesteps.append(environment.step(random_action(spec, generator)))
        for key, dm_spec in environment.observation_spec().items():
            if not isinstance(spec.observation[key], Text):
                dm_spec.validate(timesteps[-1].observation[key])
    assert len(timesteps) == 5 and timesteps[-1].discount == 1.0 and environment.success is True
    assert environment.render().shape == (24, 32, 3)  # without rgb_array, the observed image


@pytest.mark.parametrize(
    "space, side, message",
    [
        (spaces.Graph(spaces.Discrete(2), None), "observation", "'observation' has the space Graph"),
        (spaces.Dict(a=spaces.Sequence(spaces.Discrete(2))), "observation", "'a' has the space Sequence"),
        (spaces.Tuple([spaces.Box(-np.inf, np.inf, (2,), np.int64)]), "observation", "'0' is int64 from -9"),
        (spaces.Box(-np.inf, np.inf, (2,)), "action", "'action' has limits from -inf"),
        (spaces.Dict(say=spaces.Text(3)), "action", "'say' has the space Text"),
        (spaces.Dict(), "action", "'action' has a space without parts"),
        (spaces.Dict({"a/b": spaces.Discrete(2), "a": spaces.Dict(b=spaces.Discrete(2))}), "action", "'a/b'"),
    ],
)
def test_a_space_without_a_modality_is_refused_by_its_key(space, side, message):
    with pytest.raises(SpaceError, match=message) as error:
        SpaceCodec(space, side, "made/task")
    assert str(error.value).startswith(f"made/task: {side}") and "\n" not in str(error.value)


@pytest.mark.parametrize("value", [{"a": 3, "b": np.zeros(2)}, {"a": 1, "b": np.zeros(3)}, {"a": 1, "b": ["x", "y"]}])
def test_a_value_outside_its_space_is_refused_by_its_key(value):
    codec = SpaceCodec(spaces.Dict(a=spaces.Discrete(3), b=spaces.Box(0, 1, (2,))), "observation", "made/task")
    with pytest.raises(SpaceError, match=r"made/task: observation '[ab]' is .*Correct the environment"):
        codec.encode(value)


def test_a_seed_is_one_episode():
    def start(environment, seed):
        environment.seed(seed)
        return environment.reset().observation["observation"]

    used, fresh = load("gymnasium/CartPole-v1"), load("gymnasium/CartPole-v1")
    start(used, 3)
    used.step({"action": np.array(1)})
    np.testing.assert_array_equal(start(used, 4), start(fresh, 4))
    assert not np.array_equal(start(used, 5), start(fresh, 4))


def test_frame_limits_and_bad_actions():
    environment = load("gymnasium/Pendulum-v1")
    assert environment.task_spec.action == {"action": Continuous(shape=(1,), low=-2.0, high=2.0)}
    assert environment.max_steps == 200 and (environment.source, environment.licence) == (
        package_versions("gymnasium/Pendulum-v1")[0],
        "MIT License",
    )
    environment.reset()
    assert environment.render().shape == (500, 500, 3)
    for bad in (np.array([np.nan]), np.array([3.0]), np.zeros(2)):
        with pytest.raises(ActionError, match="gymnasium/Pendulum-v1"):
            environment.step({"action": bad})
    environment.close()


def test_unknown_and_missing_ones():
    assert not any(name.startswith("gymnasium/") for name in task_names())
    assert is_task("gymnasium/CartPole-v1") and not is_task("gymnasium/CartPole")  # the version is part of the id
    with pytest.raises(UnknownTaskError, match=r"'gymnasium/CartPol-v1'; nearest: gymnasium/CartPole-v1, gymnasium/"):
        load("gymnasium/CartPol-v1")
    with pytest.raises(MissingPackageError, match=r"module 'no_such_module' cannot be imported.*PYTHONPATH"):
        load("gymnasium/no_such_module:Thing-v0")
    with pytest.raises(UnknownTaskError, match=r"nearest: gymnasium/gymnasium.envs:CartPole-v1"):
        load("gymnasium/gymnasium.envs:CartPol-v1")
    with pytest.raises(MissingPackageError, match="HalfCheetah-v2 does not run here"):
        load("gymnasium/HalfCheetah-v2")


DOCS = pathlib.Path(__file__).parents[3] / "docs" / "environments.md"


def test_the_environment_of_the_docs_is_collected(tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    [example] = [block for block in blocks if block.startswith("# catch.py")]
    [adapter] = [block for block in blocks if "as_gymnasium" in block]
    [command] = re.findall(r"```bash\nPYTHONPATH=. gato (.*gymnasium/.*?)\n```", DOCS.read_text())
    (tmp_path / "catch.py").write_text(example)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert gato(*command.replace("=100", "=12").split()).status == 0
    dataset = open_dataset(tmp_path / "data" / dataset_name("gymnasium/catch:Catch-v0") / "1.0.0")
    assert len(dataset) == 12 and dataset.spec.max_steps == 20
    assert dataset.spec.action == {"action": Discrete(n=3)}  # counted from 0, whatever the start
    episode = dataset[0]
    assert len(episode.reward) == 10 and episode.success in (True, False)
    assert episode.provenance.source == package_versions("gymnasium/catch:Catch-v0")[0]
    assert episode.provenance.licence == ""  # nobody has stated it
    refused = gato("collect", "--tasks=gymnasium/catch:Catch-v1", "--output=data")
    assert refused.status == 2 and "nearest: gymnasium/catch:Catch-v0, " in refused.err
    refused = gato("collect", "--tasks=gymnasium/catch:Catch-v0", "--output=data")
    assert refused.status == 2 and "no expert for 'gymnasium/catch:Catch-v0'" in refused.err
    exec(adapter, {})


def test_the_list_of_tasks_says_how_further_ones_are_named():
    heading, further = gato("tasks", "--suite=gymnasium").out.splitlines()
    assert heading.startswith("task") and further.startswith("further tasks: gymnasium/ID")
