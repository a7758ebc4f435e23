"""A task's description survives JSON, and what contradicts itself says so."""

import json
import math

import pytest

from gato_jax.episodes import Camera, Continuous, Embodiment, SpecError, TaskSpec


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
    cameras = (
        Camera(key="front", intrinsics=(1.0, 1.0, 0.5, 0.5), extrinsics=tuple(map(float, range(16)))),
        Camera(key="wrist"),
    )
    body = Embodiment(robot="arm", gripper="binary", cameras=cameras)
    spec = TaskSpec(suite="any", task="body", observation={}, action={"a": Continuous(shape=(1,))}, embodiment=body)
    assert through_json(spec) == spec


def test_a_limit_that_is_no_number():
    fields = TaskSpec(suite="any", task="limits", observation={}, action={"a": Continuous(shape=(1,))}).to_json()
    fields["action"]["a"]["low"] = "far"
    with pytest.raises(SpecError, match='Continuous.low is \'far\', needs numbers, "inf" or "-inf"'):
        TaskSpec.from_json(fields)
