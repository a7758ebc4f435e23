"""A task's description survives JSON, and what contradicts itself says so."""

import dataclasses
import json
import math

import numpy as np
import pytest

from gato_jax.episodes import (
    Camera,
    Continuous,
    Discrete,
    Embodiment,
    Episode,
    EpisodeError,
    Gripper,
    Image,
    Joint,
    SpecError,
    TaskSpec,
    Text,
)
from tests.episodes.unchecked import unchecked


def through_json(spec: TaskSpec) -> TaskSpec:
    """By way of text that any JSON parser reads: no NaN, no Infinity."""
    return TaskSpec.from_json(json.loads(json.dumps(spec.to_json(), allow_nan=False)))


def test_round_trip_of_every_modality(spec):
    assert through_json(spec) == spec
    assert json.loads(json.dumps(spec.to_json())) == spec.to_json()  # plain JSON types already


def test_round_trip_of_limits():
    limits = {"low": (-math.inf, -1.0, 0.1), "high": (math.inf, math.inf, 0.3)}
    spec = TaskSpec(
        suite="any",
        task="limits",
        observation={"some": Continuous(shape=(3,), **limits)},
        action={"free": Continuous(shape=(2, 2))},
    )
    fields = spec.to_json()
    assert fields["observation"]["some"]["low"] == ["-inf", -1.0, 0.1]
    assert fields["action"]["free"]["high"] == "inf"
    read = through_json(spec)
    assert read == spec
    some = read.observation["some"]
    assert isinstance(some, Continuous) and (some.shape, some.low) == ((3,), limits["low"])


def test_round_trip_of_a_body():
    pose = (0.0, 0.0, 1.0, 0.5, -1.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    cameras = (
        Camera(key="front", intrinsics=(8.0, 8.0, 3.5, 3.5), extrinsics=pose),
        Camera(key="wrist"),
    )
    joints = (
        Joint(name="turn", kind="revolute", low=-math.inf, high=math.inf),
        Joint(name="lift", kind="prismatic", low=0.0, high=0.4),
    )
    gripper = Gripper(kind="binary", action="grip")
    spec = TaskSpec(
        suite="any",
        task="body",
        observation={"front": Image(height=8, width=8), "wrist": Image(height=8, width=8)},
        action={"arm": Continuous(shape=(2,), low=(-3.0, 0.1), high=(3.0, 0.4)), "grip": Discrete(n=2)},
        embodiment=Embodiment(robot="arm", joints=joints, joint_targets="arm", gripper=gripper, cameras=cameras),
    )
    assert through_json(spec) == spec


def test_a_limit_that_is_no_number():
    fields = TaskSpec(suite="any", task="limits", observation={}, action={"a": Continuous(shape=(1,))}).to_json()
    fields["action"]["a"]["low"] = "far"
    with pytest.raises(SpecError, match="any/limits: spec.action.a.low is 'far', expected a list of float or float"):
        TaskSpec.from_json(fields)


ANY = {"suite": "any", "task": "one", "observation": {"x": Text()}, "action": {"a": Discrete(n=2)}}


@pytest.mark.parametrize(
    ("kind", "fields", "said"),
    [
        (Continuous, dict(shape=(2,), low=(0.0, 1.0), high=(1.0, 0.5)), "low 1.0 is above high 0.5 at element 1"),
        (Continuous, dict(shape=(2,), low=0.0, high=(1.0, -1.0)), "low 0.0 is above high -1.0 at element 1"),
        (Continuous, dict(shape=(2,), low=(0.0, math.nan)), "Continuous.low is .*nan.*, expected numbers"),
        (Continuous, dict(shape=(), high=math.nan), "Continuous.high is nan, expected numbers"),
        (Continuous, dict(shape=(2, 2), high=(1.0, 1.0)), r"high has 2 values for shape \(2, 2\), expected 4 or one"),
        (Continuous, dict(shape=(2, -1)), r"Continuous.shape is \(2, -1\), expected sides of 0 or more"),
        (Continuous, dict(shape=3), "Continuous.shape is 3, expected a list of int"),
        (Discrete, dict(n=2, shape=(-1,)), r"Discrete.shape is \(-1,\), expected sides of 0 or more"),
        (Discrete, dict(n=2, shape=(1.5,)), r"Discrete.shape\[0\] is 1.5, expected int"),
        (Discrete, dict(n=0), "Discrete.n is 0, expected 1 or more"),
        (Image, dict(height=8, width=0), "Image.width is 0, expected 1 or more"),
        (Image, dict(height=8, width=8, fit="stretch"), "Image.fit is 'stretch', expected 'resize' or 'pad' or 'crop'"),
    ],
)
def test_a_modality_that_contradicts_itself(kind, fields, said):
    with pytest.raises(SpecError, match=said):
        unchecked(kind, **fields)


def test_an_element_may_have_one_value_or_none():
    assert Continuous(shape=(2,), low=(1.0, 0.0), high=1.0).size == 2
    assert Continuous(shape=(0,)).size == 0
    low, high = Continuous(shape=(2, 1), low=-2.0, high=(1.0, math.inf)).limits
    np.testing.assert_array_equal(low, [-2.0, -2.0])
    np.testing.assert_array_equal(high, [1.0, np.inf])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"control_rate_hz": 0.0}, "any/one: control_rate_hz is 0.0, expected a positive number"),
        ({"control_rate_hz": -5.0}, "control_rate_hz is -5.0"),
        ({"control_rate_hz": math.inf}, "control_rate_hz is inf"),
        ({"control_rate_hz": math.nan}, "control_rate_hz is nan"),
        ({"control_rate_hz": "5"}, "control_rate_hz is '5', expected float or None"),
        ({"metric": "reward"}, "any/one: TaskSpec.metric is 'reward', expected 'return' or 'success'"),
        ({"instructions": "lift"}, "any/one: TaskSpec.instructions is 'lift', expected a list of str or None"),
        (
            {"embodiment": "arm"},
            "any/one: TaskSpec.embodiment is 'arm', expected an object with the keys robot, .* or None",
        ),
        ({"observation": {}, "action": {}}, "any/one: a task needs an observation or an action"),
        ({"observation": [Text()]}, "any/one: observation is .*, expected a mapping of keys to values"),
        ({"observation": {"x": "text"}}, "any/one: observation 'x' is 'text', expected Text, Image"),
        ({"observation": {"x": Text(), "": Text()}}, "any/one: observation has the key ''; keys are non-empty strings"),
        ({"action": {3: Text()}}, "any/one: action has the key 3; keys are non-empty strings"),
        ({"action": {"arm": {"": Text()}}}, "any/one: action 'arm' has the key ''; keys are non-empty strings"),
        ({"action": {"arm": {}}}, "any/one: action 'arm' is an empty mapping; leave it out"),
        (
            {"action": {"arm/x": Text(), "arm": {"x": Text()}}},
            "any/one: action: two keys flatten to 'arm/x'; rename one",
        ),
        ({"action": {"look": Image(height=8, width=8)}}, "any/one: action 'look' is an Image"),
    ],
)
def test_a_task_that_contradicts_itself(change, said):
    with pytest.raises(SpecError, match=said):
        unchecked(TaskSpec, **ANY | change)


def test_nested_keys_are_flattened():
    arm = {"joints": Continuous(shape=(2,)), "camera": {"front": Image(height=8, width=8)}}
    body = Embodiment(robot="arm", cameras=(Camera(key="robot/camera/front"),))
    spec = TaskSpec(
        suite="any", task="nested", observation={"time": Text(), "robot": arm}, action={"a/b": Text()}, embodiment=body
    )
    assert list(spec.observation) == ["time", "robot/joints", "robot/camera/front"]
    assert spec.observation["robot/joints"] == arm["joints"] and list(spec.action) == ["a/b"]
    assert through_json(spec) == spec == dataclasses.replace(spec)


def test_an_episode_of_nested_arrays_is_that_of_flat_ones(make_episode):
    spec = TaskSpec(
        suite="any", task="nested",
        observation={"robot": {"joints": Continuous(shape=(2,))}}, action={"arm": {"grip": Discrete(n=2)}},
    )  # fmt: skip
    flat = make_episode(spec)
    joints, grip = flat.observation["robot/joints"], flat.action["arm/grip"]
    nested = dataclasses.replace(flat, observation={"robot": {"joints": joints}}, action={"arm": {"grip": grip}})
    assert nested.observation["robot/joints"] is joints and list(nested.action) == ["arm/grip"]
    with pytest.raises(EpisodeError, match="any/nested: observation 'robot/joints' has 2 steps, reward has 5"):
        dataclasses.replace(flat, observation={"robot": {"joints": joints[:2]}})
    with pytest.raises(EpisodeError, match="any/nested: action: two keys flatten to 'arm/grip'"):
        dataclasses.replace(flat, action={"arm": {"grip": grip}, "arm/grip": grip})
    with pytest.raises(EpisodeError, match="any/nested: observation 'robot/joints' is a list, expected a NumPy array"):
        dataclasses.replace(flat, observation={"robot": {"joints": joints.tolist()}})
    with pytest.raises(EpisodeError, match="any/nested: observation 'robot' has the key 1; keys are non-empty strings"):
        dataclasses.replace(flat, observation={"robot": {1: joints}})
    assert isinstance(nested, Episode)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda fields: fields.update(rate=5.0, actoin={}),
            "any/one: spec has the unknown key 'rate'. Its keys are suite, task,",
        ),
        (
            lambda fields: fields.update(actions=fields.pop("action")),
            "any/one: spec has the unknown key 'actions'. Did you mean 'action'?",
        ),
        (lambda fields: fields.pop("action"), "any/one: spec lacks the key 'action'. Add it."),
        (
            lambda fields: fields.update(action=[]),
            r"any/one: spec.action is \[\], expected an object whose values are an object with the key 'kind'",
        ),
        (
            lambda fields: fields["action"]["a"].update(m=3),
            "spec.action.a has the unknown key 'm'. Its keys are n, shape",
        ),
        (
            lambda fields: fields["action"]["a"].update(kind="box"),
            "spec.action.a.kind is 'box', expected 'text' or 'image' or 'discrete' or 'continuous'",
        ),
        (lambda fields: fields["action"]["a"].pop("kind"), "spec.action.a.kind is None, expected 'text' or"),
        (
            lambda fields: fields["action"]["a"].update(n=-1),
            "any/one: spec.action.a: Discrete.n is -1, expected 1 or more",
        ),
    ],
)
def test_json_that_says_something_else(change, said):
    fields = TaskSpec(**ANY).to_json()
    change(fields)
    with pytest.raises(SpecError, match=said):
        TaskSpec.from_json(fields)


def test_json_that_is_no_object():
    with pytest.raises(SpecError, match=r"a task is \[\], expected an object with the keys suite, task"):
        TaskSpec.from_json([])


@pytest.mark.parametrize("keys", [("a", "a/b"), ("a/b", "a"), ("x/y", "x/y/z")])
def test_a_key_below_another_one_is_refused(keys):
    for side, other in (("observation", "action"), ("action", "observation")):
        with pytest.raises(
            SpecError, match=f"made/arm: {side}: key '.*' (lies below another|holds a value, and other)"
        ):
            TaskSpec(suite="made", task="arm", **{side: dict.fromkeys(keys, Discrete(n=2)), other: {}})
