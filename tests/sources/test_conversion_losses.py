"""What a conversion leaves out: rejected episodes and actions beyond their limits, and the shares that stop it."""

import dataclasses
import json
import math

import numpy as np
import pytest

from gato_jax.episodes import Continuous, open_dataset
from gato_jax.sources.conversion import (
    ConversionError,
    TooManyRejectedError,
    shard_worker,
)
from tests.sources.made_reader import (
    DAMAGE,
    NAME,
    SPEC,
    made_episode,
    open_made,
    write_recording,
)
from tests.sources.test_conversion import assert_equal, converted, never


def test_damaged_episodes_are_left_out_and_listed(tmp_path):
    damaged = dict(zip(range(1, 20, 2), DAMAGE, strict=False))
    reader = open_made(write_recording(tmp_path / "made.json", train=20, damaged=damaged, lost=2))
    done = converted(reader, tmp_path / "out", max_rejected=0.5)
    where = {"unreadable": "StackCubes.h5, demo_{}"}
    assert [one[:2] for one in done.rejected] == [
        ("StackCubes.h5, demo_20", "its header is cut short"),
        ("StackCubes.h5, demo_21", "its header is cut short"),
        *(
            (where.get(kind, "laboratory/StackCubes: episode {} of split 'train'").format(position), DAMAGE[kind])
            for position, kind in damaged.items()
        ),
    ]
    dataset = open_dataset(done.directory)
    kept = [position for position in range(20) if position not in damaged]
    assert len(dataset) == len(kept)
    for number, position in enumerate(kept):
        assert_equal(dataset[number], made_episode(position))
    listed = json.loads((done.directory / "rejected.json").read_text())
    assert listed == {"rejected": [one.to_json() for one in done.rejected], "left_out": [], "filtered": {}}


def test_a_shard_of_which_nothing_is_left_has_no_file(tmp_path):
    reader = open_made(write_recording(tmp_path / "made.json", damaged=dict.fromkeys(range(3, 6), "nan")))
    dataset = open_dataset(converted(reader, tmp_path / "out", max_rejected=0.3).directory)
    assert dataset.returns.tolist() == [0, 1, 2, 6, 6, 8, 9]
    assert dataset.index.file.tolist() == [f"{NAME}-train.array_record-{n:05}-of-00003" for n in range(3)]


def test_too_many_rejected_stop_it_and_nothing_is_done_twice(tmp_path, monkeypatch):
    damaged = {1: "nan", 2: "nan", 5: "shape"}
    reader = open_made(write_recording(tmp_path / "made.json", train=9, damaged=damaged, lost=1))
    with pytest.raises(TooManyRejectedError) as refusal:
        converted(reader, tmp_path / "out", max_rejected=0.3)
    said = str(refusal.value)
    assert "4 of 10 episodes are rejected, expected at most a share of 0.3. The most frequent reason, in 2, " in said
    assert f"{DAMAGE['nan']} (first at laboratory/StackCubes: episode 1 of split 'train')" in said
    assert "raise max_rejected (--max_rejected), and run again: converted shards are kept" in said
    folder = tmp_path / "out" / NAME
    assert f"All are listed in {folder / '1.0.0.converting' / 'rejected.json'}. Correct the recording" in said
    listed = json.loads((folder / "1.0.0.converting" / "rejected.json").read_text())
    assert listed["rejected"] == [one.to_json() for one in refusal.value.rejected] and len(listed["rejected"]) == 4
    assert not (folder / "1.0.0").exists()
    monkeypatch.setattr(shard_worker.ShardWorker, "convert", never)
    assert converted(reader, tmp_path / "out", max_rejected=0.4).episodes == 6
    assert [one.name for one in folder.iterdir()] == ["1.0.0"]


def test_of_few_episodes_one_is_more_than_the_share(tmp_path):
    reader = open_made(write_recording(tmp_path / "made.json", train=5, damaged={1: "nan"}))
    with pytest.raises(
        TooManyRejectedError, match=r"1 of 5 episodes is rejected, .* of 0.1 \(one of 5 is already more"
    ):
        converted(reader, tmp_path / "out")


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_the_share_that_may_be_rejected_is_between_0_and_1(tmp_path, made, share):
    with pytest.raises(ConversionError, match=r"max_rejected is .*, expected a share of the episodes in \[0, 1\]"):
        converted(made, tmp_path / "out", max_rejected=share)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({}, "-inf and inf at element 0"),
        ({"low": -1.0, "high": (1.0, -1.0)}, "-1 and -1 at element 1"),
        ({"low": -3.4028235e38, "high": 3.4028235e38}, "-3.40282e+38 and 3.40282e+38 at element 0"),
        ({"low": -1.0, "high": (1.0, 1.7976931348623157e308)}, "-1 and 1.79769e+308 at element 1"),
    ],
)
def test_actions_that_cannot_be_scaled_are_refused_before_anything_is_read(tmp_path, made, monkeypatch, limits, said):
    action = {**SPEC.action, "torque": Continuous(shape=(2,), **limits)}
    reader = dataclasses.replace(made, spec=dataclasses.replace(SPEC, action=action))
    monkeypatch.setattr(shard_worker.ShardWorker, "convert", never)
    with pytest.raises(ConversionError, match="laboratory/StackCubes: action 'torque' has limits ") as refusal:
        converted(reader, tmp_path / "out")
    assert said in str(refusal.value) and "Set both in the fields" in str(refusal.value)
    assert not (tmp_path / "out").exists()


def with_limits(reader, low, high):
    action = {**SPEC.action, "torque": Continuous(shape=(2,), low=low, high=high)}
    return dataclasses.replace(reader, spec=dataclasses.replace(SPEC, action=action))


def test_actions_outside_of_their_limits_are_counted_and_listed(tmp_path, made, without_beam):
    torques = np.concatenate([made_episode(position).action["torque"] for position in range(10)])
    low, high = float(torques[:, 0].min()), float(np.median(torques[:, 0]))
    result = converted(with_limits(made, (low, -1.0), (high, 1.0)), tmp_path / "out")
    (clipped,) = result.clipped
    assert (clipped["action"], clipped["element"], clipped["steps"]) == ("torque", 0, len(torques))
    assert clipped["outside"] == int((torques[:, 0] > high + 1e-6 * (high - low)).sum()) > 0
    assert (clipped["minimum"], clipped["maximum"]) == (low, float(torques[:, 0].max()))
    again = converted(with_limits(made, (low, -1.0), (high, 1.0)), tmp_path / "out")
    assert again.reused and again.clipped == result.clipped
    assert not converted(made, tmp_path / "wide").clipped


def test_limits_that_leave_few_bins_to_the_data_are_refused_with_its_range(tmp_path, made, without_beam):
    torques = np.concatenate([made_episode(position).action["torque"] for position in range(10)])
    wide = with_limits(made, -1.0, (1.0, 500.0))
    with pytest.raises(
        ConversionError, match=r"limits -1 and 500 of element 1 leave .* of 1024 bins .* 8 or"
    ) as refusal:
        converted(wide, tmp_path / "out")
    reach = ", ".join(f"{value:g}" for value in torques.max(0))
    assert f"to [{reach}]: set low and high to that in the fields" in str(refusal.value)
    assert converted(made, tmp_path / "out").episodes == 10  # nothing is left that had to be overwritten
    assert converted(wide, tmp_path / "accepted", min_action_bins=0).episodes == 10
