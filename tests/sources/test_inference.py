"""Tests of the inference of limits, gripper, cameras and control rate from recordings."""

import dataclasses
import json

import numpy as np
import pytest

from gato_jax.episodes import Camera, Continuous, Embodiment, Gripper, Image, Joint, TaskSpec
from gato_jax.sources import SourceError
from gato_jax.sources.fields import Fields
from gato_jax.sources.inference import describe, infer
from gato_jax.sources.reader import EpisodeRejected
from tests.sources.made_readers import MadeEpisodes

ARM = TaskSpec(
    suite="lab", task="arm",
    observation={
        "front": Image(height=16, width=32),
        "state": Continuous(shape=(3,)),
        "timestamp": Continuous(shape=()),
    },
    action={"action": Continuous(shape=(4,))},
)  # fmt: skip


def arm(change=lambda number, episode: episode, spec=ARM, scale=1.0, count=40):
    """Return a reader of episodes at 20 Hz, in which action element 1 is constant and element 3 is 0 or 1."""

    def made(number, episode):
        rng, steps = np.random.default_rng(number), len(episode)
        action = rng.uniform(-0.5, 0.5, (steps, 4))
        action[:, 1], action[:, 3] = 0.25, rng.integers(2, size=steps)
        times = np.arange(steps) * scale / 20
        episode = dataclasses.replace(
            episode,
            action={"action": action.astype(np.float32)},
            observation={**episode.observation, "timestamp": times},
        )
        return change(number, episode)

    return MadeEpisodes(spec=spec, count=count, change=made)


def with_action(element, values):
    def change(number, episode):
        action = episode.action["action"].copy()
        action[:, element] = values(np.random.default_rng(number), len(episode))
        return dataclasses.replace(episode, action={"action": action})

    return change


def about(inference, name):
    (statement,) = [statement for statement in inference.statements if statement.subject == name]
    return statement


def limits(inference):
    _, modality = inference.fields.action["action"]
    assert isinstance(modality, Continuous)
    return modality.limits


def body(inference):
    assert inference.fields.embodiment is not None
    return inference.fields.embodiment


def test_limits_gripper_camera_and_rate_are_inferred_with_evidence():
    inference = infer(arm())
    steps = inference.steps
    assert inference.episodes == 40 and steps == sum(arm().lengths)
    gripper = about(inference, "gripper")
    assert gripper.claim == "binary, action action[3]" and gripper.confidence == 0.9
    assert gripper.evidence == f"element 3 takes 2 values, 0 and 1, over {steps} steps"
    low, high = limits(inference)
    values = np.concatenate([episode.action["action"] for episode in arm()])
    np.testing.assert_allclose((low, high), (values.min(0), values.max(0)))
    assert about(inference, "action action[0]").evidence.endswith(f"over {steps} steps; its extremes")
    assert (
        about(inference, "control rate").claim == "20 Hz" and "read as s" in about(inference, "control rate").evidence
    )
    assert about(inference, "camera front").claim == "images 16 high, 32 wide, of 3 channels"
    assert about(inference, "joints").claim == "not declared" and body(inference).joints == ()


def test_every_element_has_its_range_and_what_never_changes_is_said():
    inference = infer(arm())
    assert [(element.key, element.number) for element in inference.elements][:3] == [
        ("observation state", number) for number in range(3)
    ]
    element = next(one for one in inference.elements if (one.key, one.number) == ("action action", 3))
    assert (element.low, element.high, element.distinct) == (0, 1, 2)
    assert [statement.subject for statement in inference.statements if statement.problem] == ["action action[1]"]


def test_the_proposed_fields_are_read_back_as_a_person_edits_them(tmp_path):
    inference = infer(arm())
    (tmp_path / "fields.json").write_text(json.dumps(inference.fields.to_json()))
    fields = Fields.read(tmp_path / "fields.json")
    assert fields == inference.fields and fields.control_rate_hz == 20
    assert fields.embodiment == Embodiment(
        robot="unknown",
        gripper=Gripper(kind="binary", action="action", elements=(3,)),
        cameras=(Camera(key="front"),),
    )


def test_the_paths_of_given_fields_are_kept():
    given = dataclasses.replace(infer(arm()).fields, action={"action": ("robot/action[0:4]", ARM.action["action"])})
    inference = infer(arm(), given)
    assert inference.fields.action["action"][0] == "robot/action[0:4]" and np.isfinite(limits(inference)).all()


@pytest.mark.parametrize(
    "values, kind, confidence",
    [
        (lambda rng, steps: np.where(rng.random(steps) < 0.5, 0.01, 0.98) + rng.uniform(0, 0.02, steps), "binary", 0.7),
        (lambda rng, steps: rng.uniform(0, 1, steps), "continuous", 0.4),
    ],
)
def test_a_gripper_that_is_not_of_two_values_is_guessed_with_less_confidence(values, kind, confidence):
    inference = infer(arm(with_action(3, values)))
    assert body(inference).gripper == Gripper(kind=kind, action="action", elements=(3,))
    assert about(inference, "gripper").confidence == confidence


def test_where_two_elements_look_like_a_gripper_both_are_named():
    two = infer(arm(with_action(0, lambda rng, steps: rng.integers(2, size=steps))))
    assert about(two, "gripper").confidence == 0.45 and about(two, "gripper").evidence.endswith("so do action[0]")
    none = infer(arm(with_action(3, lambda rng, steps: rng.uniform(-1, 1, steps))))
    assert body(none).gripper is None and about(none, "gripper").claim == "none found"


def test_a_few_extremes_are_no_limits():
    def spiked(rng, steps):
        return np.where(rng.random(steps) < 0.004, 90.0, rng.uniform(-0.5, 0.5, steps))

    statement = about(infer(arm(with_action(0, spiked), count=300), episodes=300), "action action[0]")
    assert "the extremes are far out" in statement.evidence and statement.confidence == 0.4
    assert "90 over" in statement.evidence and "90]" not in statement.claim


@pytest.mark.parametrize("scale, unit", [(1e3, "ms"), (1e6, "us"), (1e9, "ns")])
def test_times_are_read_in_any_unit(scale, unit):
    statement = about(infer(arm(scale=scale)), "control rate")
    assert statement.claim == "20 Hz" and statement.evidence.endswith(f"read as {unit}")


def declared(rate=20.0, high=(0.5, 0.5, 0.5, 1.0), joint_high=0.5):
    joints = tuple(Joint(name=f"j{number}", kind="revolute", low=-2.0, high=2.0) for number in range(3))
    return dataclasses.replace(
        ARM,
        control_rate_hz=rate,
        action={"action": Continuous(shape=(4,), low=(-0.5, -0.5, -0.5, 0.0), high=high)},
        embodiment=Embodiment(
            robot="arm", joints=joints, gripper=Gripper(kind="continuous", action="action", elements=(3,))
        ),
    )


def test_what_is_declared_is_kept():
    inference = infer(arm(spec=declared()))
    assert inference.fields.spec.embodiment == declared().embodiment
    assert inference.fields.action["action"][1] == declared().action["action"]
    assert about(inference, "gripper").declared and about(inference, "control rate").declared
    assert about(inference, "joint j0").claim == "revolute, limits [-2, 2]"
    assert [one.subject for one in inference.statements if one.problem] == ["action action[1]"]  # it never changes


def test_data_that_are_not_as_declared_are_said():
    inference = infer(arm(spec=declared(rate=30.0, high=(0.1, 0.5, 0.5, 1.0))))
    assert about(inference, "control rate").problem and about(inference, "action action[0]").problem
    assert "of them beyond the limits" in about(inference, "action action[0]").evidence
    lines = describe(inference).splitlines()
    assert lines[0] == f"lab/arm: 40 episodes, {inference.steps} steps"
    assert [line.startswith("LOOK ") for line in lines[1:5]] == [True, True, True, False]
    assert any(line.startswith("action action[3]: 0, ") for line in lines)


def test_what_float32_rounds_is_within_its_limits():
    at_limit = arm(with_action(0, lambda rng, steps: np.full(steps, 0.1)), spec=declared(high=(0.1, 0.5, 0.5, 1.0)))
    assert float(at_limit[0].action["action"][0, 0]) > 0.1
    assert not any("beyond" in one.evidence for one in infer(at_limit).statements if one.subject == "action action[0]")
    assert not any(one.problem for one in infer(at_limit).statements if "beyond" in one.evidence)


def test_damaged_episodes_are_listed_and_without_any_other_it_is_an_error():
    def damaged(broken):
        def change(number, episode):
            if number in broken:
                raise EpisodeRejected(f"episode {number}", "torn")
            return episode

        return change

    inference = infer(arm(damaged({0, 7})))
    assert inference.episodes == 38 and [where for where, *_ in inference.rejected] == ["episode 0", "episode 7"]
    assert "left out: episode 7: torn" in describe(inference)
    with pytest.raises(SourceError, match="lab/arm: none of 40 episodes can be read. The first: episode 0: torn"):
        infer(arm(damaged(range(40))))
