"""Tests of the selection of recordings by robot, with one robot held out, and of two control rates in one batch."""

import dataclasses

import numpy as np
import pytest

from gato_jax.batching import Mixture, write_records
from gato_jax.episodes import Continuous, Discrete, Embodiment, Gripper, Joint, TaskSpec
from gato_jax.sources import EpisodeReader, SourceError
from gato_jax.sources.embodiments import EmbodimentSelector, Workspace, degrees_of_freedom, leave_one_out
from gato_jax.sources.reader import EpisodeRejected
from gato_jax.tokenization import Tokenization
from tests.episodes.unchecked import unchecked
from tests.sources.made_readers import MadeEpisodes

BOX = Workspace(key="state", low=(-1.0, -1.0, 0.0), high=(1.0, 1.0, 0.5))


def spec_of(robot="WidowX", *, task="pick", size=7, gripper=(6,), joints=0, rate=5.0):
    return TaskSpec(
        suite="lab", task=task,
        observation={"state": Continuous(shape=(4,))},
        action={"action": Continuous(shape=(size,), low=-1.0, high=1.0)},
        control_rate_hz=rate,
        embodiment=Embodiment(
            robot=robot,
            joints=tuple(Joint(name=f"j{number}", kind="revolute", low=-3.0, high=3.0) for number in range(joints)),
            gripper=Gripper(kind="continuous", action="action", elements=gripper) if gripper else None,
        ),
    )  # fmt: skip


def recording(spec, outside=(), broken=()):
    """Return a reader of five episodes, some of which leave the workspace at step 1 or are damaged."""

    def change(number, episode):
        if number in broken:
            raise EpisodeRejected(f"episode {number}", "torn")
        state = np.full((len(episode), 4), 0.25, np.float32)
        state[1, 2] = 0.75 if number in outside else 0.25
        return dataclasses.replace(episode, observation={"state": state})

    return MadeEpisodes(spec=spec, count=5, change=change)


@pytest.mark.parametrize(
    "spec, count",
    [
        (spec_of(), 6),
        (spec_of(joints=5), 5),
        (spec_of(gripper=()), 7),
        (dataclasses.replace(spec_of(), embodiment=None), 7),
        (
            dataclasses.replace(
                spec_of(),
                action={"arm": Continuous(shape=(3,), low=-1.0, high=1.0), "hand": Discrete(n=2)},
                embodiment=Embodiment(robot="arm", gripper=Gripper(kind="binary", action="hand")),
            ),
            3,
        ),
    ],
)
def test_degrees_of_freedom_are_the_joints_or_the_action_without_the_gripper(spec, count):
    assert degrees_of_freedom(spec) == count


@pytest.mark.parametrize(
    "selector, reason",
    [
        (EmbodimentSelector(robot="Franka"), "its robot is WidowX, not Franka"),
        (EmbodimentSelector(degrees_of_freedom=7), "it has 6 degrees of freedom, not 7"),
        (EmbodimentSelector(gripper="binary"), "its gripper is continuous, not binary"),
        (EmbodimentSelector(gripper="none"), "its gripper is continuous, not none"),
        (EmbodimentSelector(robot="Franka", degrees_of_freedom=7), "not Franka; it has 6 degrees"),
        (
            EmbodimentSelector(workspace=dataclasses.replace(BOX, key="sate")),
            "no continuous observation 'sate'; nearest: 'state'",
        ),
        (EmbodimentSelector(workspace=dataclasses.replace(BOX, elements=(2, 3, 4))), "'state' has elements 0 to 3"),
    ],
)
def test_a_recording_that_does_not_match_says_why(selector, reason):
    selected = selector.select(recording(spec_of()))
    assert selected.episodes is None and selected.excluded[0].location == "lab/pick"
    assert reason in selected.excluded[0].reason


def test_a_recording_that_matches_is_taken_whole_and_unread():
    reader = recording(spec_of(), broken=range(5))
    for selector in (
        EmbodimentSelector(),
        EmbodimentSelector(robot="WidowX", degrees_of_freedom=6, gripper="continuous"),
    ):
        assert selector.select(reader).episodes is reader


def test_of_a_body_that_is_not_declared_nothing_is_assumed():
    reader = recording(dataclasses.replace(spec_of(), embodiment=None))
    reasons = EmbodimentSelector(robot="WidowX", gripper="none").select(reader).excluded[0].reason
    assert reasons == "its robot is not declared, not WidowX; its gripper is not declared, not none"


def test_episodes_that_leave_the_workspace_are_left_out_with_the_step():
    reader = recording(spec_of(), outside=(1,), broken=(3,))
    selected = EmbodimentSelector(robot="WidowX", workspace=BOX).select(reader)
    assert isinstance(selected.episodes, EpisodeReader) and len(selected.episodes) == 3
    np.testing.assert_array_equal(selected.episodes.lengths, reader.lengths[[0, 2, 4]])
    np.testing.assert_array_equal(selected.episodes[1].action["action"], reader[2].action["action"])
    assert [part[:2] for part in selected.excluded] == [
        ("lab/pick: episode 1", "its end effector is at [0.25, 0.25, 0.75] at step 1"), ("episode 3", "torn")
    ]  # fmt: skip
    assert selected.episodes.fingerprint != reader.fingerprint
    assert EmbodimentSelector(workspace=BOX).select(recording(spec_of(), outside=range(5))).episodes is None


def test_a_position_that_is_no_number_is_outside():
    reader = MadeEpisodes(
        spec=spec_of(),
        count=2,
        change=lambda number, episode: dataclasses.replace(
            episode, observation={"state": np.full((len(episode), 4), (0.0, np.nan)[number])}
        ),
    )
    selected = EmbodimentSelector(workspace=BOX).select(reader)
    assert [where for where, *_ in selected.excluded] == ["lab/pick: episode 1"]


@pytest.mark.parametrize(
    "made, said",
    [
        (lambda: Workspace(key="state", low=(0.0,), high=(1.0,)), "expected equal lengths"),
        (
            lambda: Workspace(key="state", low=(0.0, 0.0, 1.0), high=(1.0, 1.0, 1.0)),
            r"low is \(0.0, 0.0, 1.0\), expected less than high",
        ),
        (lambda: unchecked(EmbodimentSelector, gripper="suction"), "gripper is 'suction', expected binary"),
    ],
)
def test_a_selector_that_cannot_be_is_refused(made, said):
    with pytest.raises(SourceError, match=said):
        made()


@pytest.mark.parametrize(
    "text, selector",
    [
        ("robot=WidowX 250", EmbodimentSelector(robot="WidowX 250")),
        ("robot=Panda, Panda,dof=14", EmbodimentSelector(robot="Panda, Panda", degrees_of_freedom=14)),
        ("gripper=none, dof=0", EmbodimentSelector(gripper="none", degrees_of_freedom=0)),
        ("workspace=state/-1:1/-1:1e0/0:.5", EmbodimentSelector(workspace=BOX)),
        (
            "workspace=arm/tool[3:5]/-0.5:+2/1:2.",
            EmbodimentSelector(workspace=Workspace(key="arm/tool", low=(-0.5, 1.0), high=(2.0, 2.0), elements=(3, 4))),
        ),
    ],
)
def test_conditions_are_written_as_text(text, selector):
    assert EmbodimentSelector.parse(text) == selector


@pytest.mark.parametrize(
    "text, said",
    [
        ("", "a condition is '', expected NAME=VALUE, with NAME one of robot, dof, gripper, workspace"),
        ("panda", "a condition is 'panda'"),
        ("robot=panda,colour=red", "a condition is 'colour=red'"),
        ("robot=", "a condition is 'robot='"),
        ("dof=6,dof=7", "dof is given twice"),
        ("dof=six", "dof is 'six', expected a number of degrees of freedom"),
        ("gripper=suction", "gripper is 'suction', expected binary"),
        ("workspace=state", r"workspace is 'state', expected KEY/LOW:HIGH/..., with an interval for each element"),
        ("workspace=state[0:3]/0:1/0:1", "expected KEY/LOW:HIGH/..., with an interval for each element"),
        ("workspace=state/0:1/2:1", "low is .*, expected less than high"),
    ],
)
def test_text_that_is_no_condition_is_refused(text, said):
    with pytest.raises(SourceError, match=said):
        EmbodimentSelector.parse(text)


def test_one_robot_is_held_out():
    readers = [recording(spec_of(robot)) for robot in ("WidowX", "Franka", "WidowX", "UR5")]
    assert leave_one_out(readers, "WidowX") == ((readers[1], readers[3]), (readers[0], readers[2]))


@pytest.mark.parametrize(
    "robots, said",
    [
        (["WidowX", "Franka"], "no recording is of 'widowx'; nearest: 'WidowX'"),
        (["widowx"], "every recording is of 'widowx'"),
        (["widowx", None], "lab/pick: its robot is not declared and may be 'widowx'"),
    ],
)
def test_a_robot_that_cannot_be_held_out_is_refused(robots, said):
    readers = [
        recording(spec_of(robot) if robot else dataclasses.replace(spec_of(), embodiment=None)) for robot in robots
    ]
    with pytest.raises(SourceError, match=said):
        leave_one_out(readers, "widowx")


def test_bodies_of_different_rates_and_sizes_are_in_one_batch(tmp_path):
    specs = [spec_of(rate=5.0), spec_of("Franka", task="place", size=9, gripper=(8,), rate=50.0)]
    records = {
        spec.name: write_records(tmp_path / spec.task, spec, recording(spec), f"data {spec.task}", Tokenization())
        for spec in specs
    }
    mixture = Mixture.uniform(records, batch_size=4, context=96, seed=0)
    assert {mixture.build(row)[0].dataset for row in range(4)} == {0, 1}
    assert [spec.control_rate_hz for spec in mixture.contract.tasks.values()] == [5.0, 50.0]
