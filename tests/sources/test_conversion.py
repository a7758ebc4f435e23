"""Tests of the conversion of recordings: files, rejections, interruption, a full disk, and changed sources."""

import dataclasses
import functools
import json
import math
import os
import resource
import shutil
import threading
import types
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gato_jax.episodes import Continuous, DatasetError, StoreError, open_dataset, write_dataset
from gato_jax.runtime import FolderInUseError, writer_lock
from gato_jax.sources import chatterbot_dialogues
from gato_jax.sources.conversion import (
    ConversionError,
    Deduplicate,
    ExpertShare,
    SuccessOnly,
    TooManyRejectedError,
    convert,
    pipeline,
    shard_worker,
)
from gato_jax.sources.conversion.shards import plan_shards
from gato_jax.sources.embodiments import EmbodimentSelector
from tests.sources.made_reader import (
    DAMAGE,
    NAME,
    SPEC,
    instructed,
    length,
    made_episode,
    open_made,
    write_recording,
)


class Killed(BaseException):
    """Exception that stands for the death of the process."""


@pytest.fixture
def made(tmp_path):
    """Return a reader of ten training episodes, three in a shard."""
    return open_made(write_recording(tmp_path / "made.json", train=10))


@pytest.fixture
def without_beam(monkeypatch):
    """Process shards in a loop instead of with Beam, which needs a third of a second for each run."""

    def run_here(work, kind, shards, options):
        for shard in shards:
            work(shard)

    monkeypatch.setattr(pipeline, "run_on_beam", run_here)


IN_THIS_PROCESS = ("--direct_running_mode=in_memory", "--direct_num_workers=1")


def converted(reader, folder, **settings):
    readers = reader if isinstance(reader, list) else [reader]
    return convert(readers, folder, **{"shard_episodes": 3, "beam_options": IN_THIS_PROCESS, **settings})


def test_episodes_that_leave_the_workspace_are_dropped_and_counted(tmp_path, without_beam):
    reader = open_made(write_recording(tmp_path / "made.json", train=20, damaged={0: "nan", 3: "unreadable"}))
    selector = EmbodimentSelector.parse("dof=3,workspace=joints[1:3]/-1.5:1.5/-1.4:2")
    box = selector.workspace
    sound = [position for position in range(20) if position not in (0, 3)]
    inside = [position for position in sound if box.first_violation(made_episode(position)) is None]
    assert 2 < len(inside) < 17
    settings = {"selector": selector, "max_rejected": 0.2}
    result = converted(reader, tmp_path / "all", **settings)
    assert result.episodes == len(inside) and result.filtered == {"select": 18 - len(inside)}
    returns = open_dataset(result.directory).returns.tolist()
    assert returns == [made_episode(position).episode_return for position in inside]
    assert len(result.rejected) == 2
    both = converted(reader, tmp_path / "unique", filters=[Deduplicate()], **settings)
    twice = 7 in inside  # it repeats episode 6
    assert both.filtered == {"deduplicate": 1, "select": 18 - len(inside) - (not twice)}
    with pytest.raises(ConversionError, match="exists already"):
        converted(reader, tmp_path / "all", max_rejected=0.2)


def test_a_recording_that_is_not_selected_leaves_nothing(tmp_path, made, without_beam):
    with pytest.raises(ConversionError, match="no episode is selected: its robot is not declared, not panda; it has 3"):
        converted(made, tmp_path / "out", selector=EmbodimentSelector.parse("robot=panda,dof=7"))
    with pytest.raises(ConversionError, match=r"all 10 episodes leave the workspace of 'joints'.*Widen it"):
        converted(made, tmp_path / "out", selector=EmbodimentSelector.parse("workspace=joints[0:1]/8:9"))
    assert not list((tmp_path / "out").rglob("*.*record*")) and converted(made, tmp_path / "out").episodes == 10


def never(self, shard):
    raise AssertionError(f"{shard} is read again")


def unrewarded(read, position):
    episode = read(position)
    return dataclasses.replace(episode, reward=np.zeros_like(episode.reward), success=None)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def assert_equal(one, other):
    for name, value in vars(one).items():
        if isinstance(value, dict):
            assert value.keys() == getattr(other, name).keys()
            for key in value:
                np.testing.assert_array_equal(value[key], getattr(other, name)[key])
        elif isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, getattr(other, name))
        else:
            assert value == getattr(other, name)


@pytest.mark.parametrize("file_format", ["array_record", "tfrecord"])
def test_a_dataset_is_what_write_dataset_writes(tmp_path, made, file_format):
    import tensorflow_datasets as tfds

    done = converted(made, tmp_path / "out", file_format=file_format)
    assert done.directory == tmp_path / "out" / NAME / "1.0.0" and not done.rejected and done.filtered == {}
    assert (done.episodes, done.steps) == (10, sum(map(length, [*range(7), 6, 8, 9])))
    dataset = open_dataset(done.directory)
    for position in (9, 0, 5, 2):  # at random
        assert_equal(dataset[position], made_episode(position))
    other = open_dataset(write_dataset(tmp_path / "other", SPEC, {"train": made}, file_format=file_format))
    for name in ("length", "final_observation", "episode_return", "success", "seed", "digest", "offset"):
        np.testing.assert_array_equal(getattr(dataset.index, name), getattr(other.index, name))
    assert dataset.fingerprint == other.fingerprint
    assert dataset.index.file.tolist() == [f"{NAME}-train.{file_format}-{n:05}-of-00004" for n in range(4)]
    ours, theirs = (tfds.builder_from_directory(one.directory).info for one in (done, other))
    assert ours.splits["train"].shard_lengths == [3, 3, 3, 1]
    assert ours.splits["train"].num_bytes == theirs.splits["train"].num_bytes
    assert (done.directory / "features.json").read_bytes() == (other.directory / "features.json").read_bytes()
    if file_format == "array_record":
        builder: Any = tfds.builder_from_directory(done.directory)
        episode = builder.as_data_source("train")[8]
        assert [step["reward"] for step in episode["steps"]] == made_episode(8).reward.tolist()


def test_splits_lie_beside_each_other(tmp_path):
    file = write_recording(tmp_path / "made.json", train=4, test=5)
    done = converted([open_made(file, "train"), open_made(file, "test")], tmp_path / "out")
    assert done.episodes == 9
    for split, count in (("train", 4), ("test", 5)):
        dataset, reader = open_dataset(done.directory, split), open_made(file, split)
        assert len(dataset) == count
        assert_equal(dataset[3], reader[3])


def test_readers_that_contradict_each_other_are_refused(tmp_path, made):
    with pytest.raises(ConversionError, match=r"the splits are \['train', 'train'\], expected one or more, each once"):
        converted([made, made], tmp_path / "out")
    other = dataclasses.replace(made, split="test", spec=dataclasses.replace(SPEC, control_rate_hz=20.0))
    with pytest.raises(
        ConversionError, match="split 'test' has another task spec than split 'train'. Convert it separately"
    ):
        converted([made, other], tmp_path / "out")
    assert not (tmp_path / "out").exists()


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


@pytest.mark.parametrize(
    ("judge", "said"),
    [
        (ExpertShare(), "expert_share: all rewards of all episodes are zero. Set Fields.reward, or"),
        (SuccessOnly(), "success_only: the success of every episode is unknown. Set Fields.success, or"),
    ],
)
def test_a_filter_on_what_was_not_recorded_is_refused(tmp_path, made, judge, said):
    reader = dataclasses.replace(made, read=functools.partial(unrewarded, made.read))
    with pytest.raises(ConversionError, match=f"laboratory/StackCubes: {said} omit the filter"):
        converted(reader, tmp_path / "out", filters=[judge])


def test_a_split_of_which_nothing_is_left_is_omitted_and_counted(tmp_path):
    file = write_recording(tmp_path / "made.json", train=30, test=1, damaged={})
    readers = [open_made(file, "train"), open_made(file, "test")]
    done = converted(readers, tmp_path / "out", filters=[SuccessOnly()])
    kept = sum(episode.success is True for episode in readers[0])
    assert done.splits == {"train": kept, "test": 0} and done.episodes == kept > 0
    assert len(open_dataset(done.directory, "train")) == kept
    with pytest.raises(DatasetError, match="test"):
        open_dataset(done.directory, "test")
    again = converted(readers, tmp_path / "out", filters=[SuccessOnly()])
    assert again.reused and again == done


def test_a_dataset_of_which_nothing_is_left_is_refused(tmp_path):
    reader = open_made(write_recording(tmp_path / "made.json", train=1), "train")
    with pytest.raises(StoreError, match="split 'train' would hold no episodes. Name a split that has some"):
        converted(reader, tmp_path / "out", filters=[SuccessOnly()])


def test_filters_judge_all_episodes_and_are_counted_apart(tmp_path, made):
    filters = [Deduplicate(), SuccessOnly(), ExpertShare(share=0.5)]
    done = converted(made, tmp_path / "out", filters=filters)
    # 7 is 6 again; 0, 3, 6 and 9 failed, but what of 6 and 9 are the first; of 9, the best return, half is 4.5
    assert done.filtered == {"deduplicate": 1, "success_only": 4, "expert_share": 3} and not done.rejected
    assert open_dataset(done.directory).returns.tolist() == [5.0, 8.0]


def test_damaged_episodes_are_not_judged(tmp_path):
    reader = open_made(write_recording(tmp_path / "made.json", damaged={9: "infinite"}))
    done = converted(reader, tmp_path / "out", filters=[ExpertShare()])
    assert done.filtered == {"expert_share": 8} and [one.reason for one in done.rejected] == [DAMAGE["infinite"]]
    assert open_dataset(done.directory).returns.tolist() == [8.0]


def test_what_our_own_datasets_know_of_their_episodes_is_not_read_again(tmp_path, made, monkeypatch):
    dataset = open_dataset(write_dataset(tmp_path / "first", SPEC, {"train": made}))
    monkeypatch.setattr(shard_worker.ShardWorker, "survey", never)
    done = converted(dataset, tmp_path / "out", filters=[ExpertShare()])
    assert done.filtered == {"expert_share": 8} and open_dataset(done.directory).returns.tolist() == [8.0, 9.0]


def test_a_transform_makes_what_is_written(tmp_path, made):
    done = converted(made, tmp_path / "out", transform=instructed("stack"))
    assert open_dataset(done.directory)[4].observation["instruction"][0] == "stack 4"


def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(tmp_path, made, without_beam, monkeypatch):
    settings = {"filters": [Deduplicate()], "max_rejected": 1.0}
    reader = open_made(write_recording(tmp_path / "made.json", damaged={4: "nan"}))
    whole = contents(converted(reader, tmp_path / "whole", **settings).directory)
    calls, last = [], [math.inf]

    def count(name):
        original = getattr(os, name)

        def call(*arguments, **named):
            calls.append(name)
            if len(calls) > last[0]:  # dead: nothing that is done on the way out reaches the disk
                raise Killed
            return original(*arguments, **named)

        monkeypatch.setattr(os, name, call)

    for name in ("replace", "rename", "unlink", "mkdir", "rmdir"):
        count(name)
    converted(reader, tmp_path / "counted", **settings)
    moments = len(calls)
    assert Counter(calls)["replace"] == 1 + 4 + 4 + 4 + 4 + 3 and "rename" in calls
    for moment in range(moments):
        calls.clear()
        last[0], folder = moment, tmp_path / f"killed{moment}"
        with pytest.raises(Killed):
            converted(reader, folder, **settings)
        last[0] = math.inf
        done = converted(reader, folder, **settings)
        assert contents(folder) == {f"{NAME}/1.0.0/{name}": content for name, content in whole.items()}, moment
        assert done.filtered == {"deduplicate": 1} and len(done.rejected) == 1


def killed_before_the_end(reader, folder, monkeypatch) -> Path:
    """Interrupt the conversion after all shards are finished, before they become a dataset."""
    with monkeypatch.context() as patch:
        patch.setattr("gato_jax.sources.conversion.job.assemble_dataset", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            converted(reader, folder)
    return folder / NAME / "1.0.0.converting"


@pytest.mark.parametrize("fault", ["flipped", "truncated", "missing", "entry cut short"])
def test_only_a_finished_shard_that_is_damaged_is_made_anew(tmp_path, made, without_beam, monkeypatch, fault):
    whole = contents(converted(made, tmp_path / "whole").directory)
    work = killed_before_the_end(made, tmp_path / "out", monkeypatch)
    file = work / "dataset" / "train-00001.array_record"
    content = file.read_bytes()
    match fault:
        case "flipped":
            file.write_bytes(bytes([*content[:100], content[100] ^ 1]) + content[101:])
        case "truncated":
            file.write_bytes(content[:-1])
        case "missing":
            file.unlink()
        case _:
            entry = work / "convert" / "train-00001.json"
            entry.write_text(entry.read_text()[:-9])
    shards, convert_shard = [], shard_worker.ShardWorker.convert

    def watched(self, shard):
        shards.append(shard.number)
        return convert_shard(self, shard)

    monkeypatch.setattr(shard_worker.ShardWorker, "convert", watched)
    assert contents(converted(made, tmp_path / "out").directory) == whole
    assert shards == [1] and not work.exists()


def test_another_source_or_other_settings_are_refused_with_the_difference(tmp_path, made, without_beam, monkeypatch):
    work = killed_before_the_end(made, tmp_path / "out", monkeypatch)
    before = contents(work)
    other = open_made(write_recording(tmp_path / "other.json", train=11, salt=1))
    for reader, settings, lines in [
        (
            other,
            {},
            ["splits.train.episodes: 11 here, 10 in conversion.json", "splits.train.fingerprint: 'train-11-1'"],
        ),
        (made, {"shard_episodes": 4}, ["shard_episodes: 4 here, 3 in"]),
        (made, {"filters": [ExpertShare()]}, ["filters.expert_share.share: 0.8 here, missing in"]),
        (made, {"file_format": "tfrecord"}, ["file_format: 'tfrecord' here, 'array_record' in"]),
        (dataclasses.replace(made, spec=dataclasses.replace(SPEC, control_rate_hz=5.0)), {}, ["task.control_rate_hz"]),
    ]:
        with pytest.raises(ConversionError) as refusal:
            converted(reader, tmp_path / "out", **settings)
        assert "an unfinished conversion of other data or fields, or with other settings" in str(refusal.value)
        assert "continue with the same, choose another output, or start again (--overwrite)" in str(refusal.value)
        assert all(line in str(refusal.value) for line in lines), refusal.value
    assert contents(work) == before


def test_begun_anew_and_killed_nothing_of_the_old_one_is_left(tmp_path, made, without_beam, monkeypatch):
    other = open_made(write_recording(tmp_path / "other.json", train=11, salt=1))
    whole = contents(converted(other, tmp_path / "whole").directory)
    work = killed_before_the_end(made, tmp_path / "out", monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *_, **__: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            converted(other, tmp_path / "out", overwrite=True)
    assert list((work / "convert").iterdir())
    assert contents(converted(other, tmp_path / "out").directory) == whole and not work.exists()


def test_a_finished_one_is_kept_or_replaced(tmp_path, made, without_beam, monkeypatch):
    done = converted(made, tmp_path / "out")
    times = {file: file.stat().st_mtime_ns for file in done.directory.iterdir()}
    monkeypatch.setattr(shard_worker.ShardWorker, "convert", never)
    again = converted(made, tmp_path / "out")
    assert again == done and again.reused and not done.reused
    assert {file: file.stat().st_mtime_ns for file in done.directory.iterdir()} == times
    file = done.directory / open_dataset(done.directory).index.file[1]
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(
        ConversionError, match=r"the converted dataset is damaged .*truncated.*. Convert it again \(--overwrite\)"
    ):
        converted(made, tmp_path / "out")
    monkeypatch.undo()
    with pytest.raises(ConversionError, match=r"1.0.0: exists already, made of other data .*") as refusal:
        converted(made, tmp_path / "out", shard_episodes=4)
    assert "shard_episodes: 4 here, 3 in conversion.json" in str(refusal.value)
    assert "choose another output, or replace it (--overwrite)" in str(refusal.value)
    assert converted(made, tmp_path / "out", filters=[Deduplicate()], overwrite=True).episodes == 9
    assert [folder.name for folder in (tmp_path / "out" / NAME).iterdir()] == ["1.0.0"]


@pytest.mark.parametrize("file_format", ["array_record", "tfrecord"])
def test_a_disk_that_is_full_is_one_sentence_and_costs_nothing(tmp_path, made, file_format):
    """Limit the size of files, by the kernel, to less than that of a shard."""
    whole = contents(converted(made, tmp_path / "whole", file_format=file_format).directory)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    smallest = min(len(content) for name, content in whole.items() if "record-" in name)
    resource.setrlimit(resource.RLIMIT_FSIZE, (smallest // 2, limit[1]))
    try:
        with pytest.raises(StoreError, match="1.0.0: cannot be written .*; free space there, make it writable"):
            converted(made, tmp_path / "out", file_format=file_format)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert not list((tmp_path / "out" / NAME / "1.0.0.converting" / "convert").iterdir())
    assert contents(converted(made, tmp_path / "out", file_format=file_format).directory) == whole


def test_a_place_where_nothing_can_be_written_is_refused(tmp_path, made):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=f"file/{NAME}/1.0.0: cannot be written"):
        converted(made, tmp_path / "file")


def test_two_processes_do_not_convert_into_one_place(tmp_path, made):
    with writer_lock(tmp_path / "out" / NAME / "1.0.0.converting"):
        with pytest.raises(FolderInUseError, match=f"process {os.getpid()} on .*, started at .* is writing there"):
            converted(made, tmp_path / "out")
    assert converted(made, tmp_path / "out").episodes == 10


def test_a_conversion_that_another_process_finishes_meanwhile_is_kept_or_refused(tmp_path, made, monkeypatch):
    """The other one ends between the look at the folder and the lock on it."""

    def overtaken(**settings):
        def check(options):
            monkeypatch.undo()
            converted(made, tmp_path / "out")

        monkeypatch.setattr("gato_jax.sources.conversion.job.check_options", check)
        return converted(made, tmp_path / "out", **settings)

    assert overtaken().reused
    whole = contents(tmp_path / "out" / NAME / "1.0.0")
    shutil.rmtree(tmp_path / "out")
    with pytest.raises(ConversionError, match="1.0.0: exists already, made"):
        overtaken(shard_episodes=4)
    assert contents(tmp_path / "out" / NAME / "1.0.0") == whole
    assert os.listdir(tmp_path / "out" / NAME) == ["1.0.0"]


def test_episodes_that_are_made_are_converted_too(tmp_path):
    reader = chatterbot_dialogues("test")
    done = convert([reader], tmp_path)
    assert done.episodes == len(reader) and len(open_dataset(done.directory, "test")) == len(reader)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--runer=FlinkRunner", "Apache Beam has no option runer"),
        ("--direct_num_workers=two", "Apache Beam: argument --direct_num_workers: invalid int value: 'two'"),
    ],
)
def test_options_that_beam_does_not_know_are_refused(tmp_path, made, option, said):
    with pytest.raises(ConversionError, match=said):
        converted(made, tmp_path / "out", beam_options=[option])
    assert not (tmp_path / "out").exists()


def test_what_a_dead_worker_of_beam_was_to_do_fails(monkeypatch):
    from gato_jax.sources.conversion import beam_processes  # brings Apache Beam, which takes seconds

    failed = threading.Event()
    errors = []

    def abort(error):
        errors.append(error)
        failed.set()

    kind: Any = beam_processes.WatchedWorkerHandler
    handler = object.__new__(kind)
    handler.worker_thread = threading.Thread(target=int)  # that ends at once
    handler.control_conn = types.SimpleNamespace(abort=abort)
    handler._stopped = threading.Event()
    monkeypatch.setattr(kind.__bases__[0], "start_worker", lambda self: self.worker_thread.start())
    monkeypatch.setattr(kind.__bases__[0], "stop_worker", lambda self: self.worker_thread.join())
    monkeypatch.setattr(beam_processes, "_REPEAT_SECONDS", 0.0)
    handler.start_worker()
    assert failed.wait(60)
    handler.stop_worker()
    with pytest.raises(ConversionError, match="a worker process was killed or crashed"):
        raise errors[0]


def test_shards_cover_every_episode_once_and_are_neither_long_nor_large():
    lengths = np.random.default_rng(0).integers(1, 100_000, 5000)
    shards = plan_shards(SPEC, "train", lengths, 50)
    assert [shard.start for shard in shards] == [0, *(shard.stop for shard in shards[:-1])] and shards[-1].stop == 5000
    step_bytes = 8 * 8 * 3 + 3 * 4 + 8 + 2 * 4
    sizes = [int(lengths[shard.start : shard.stop].sum()) * step_bytes for shard in shards]
    assert all(size <= 64 << 20 or len(shard) == 1 for size, shard in zip(sizes, shards, strict=True))
    assert max(map(len, shards)) == 50 or np.mean(sizes) > 30 << 20
    assert [len(shard) for shard in plan_shards(SPEC, "train", np.full(101, 1), 50)] == [50, 50, 1]
    assert plan_shards(SPEC, "train", np.zeros(0, np.int64)) == []
