"""Tests of the conversion of recordings: files, rejections, interruption, a full disk, and changed sources."""

import dataclasses
import functools
import threading
import types
from typing import Any

import numpy as np
import pytest

from gato_jax.episodes import DatasetError, StoreError, open_dataset, write_dataset
from gato_jax.runtime.beam import BeamError
from gato_jax.sources import chatterbot_dialogues
from gato_jax.sources.conversion import (
    ConversionError,
    Deduplicate,
    ExpertShare,
    SuccessOnly,
    convert,
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
    from gato_jax.runtime.beam import processes  # brings Apache Beam, which takes seconds

    failed = threading.Event()
    errors = []

    def abort(error):
        errors.append(error)
        failed.set()

    kind: Any = processes.WatchedWorkerHandler
    handler = object.__new__(kind)
    handler.worker_thread = threading.Thread(target=int)  # that ends at once
    handler.control_conn = types.SimpleNamespace(abort=abort)
    handler._stopped = threading.Event()
    monkeypatch.setattr(kind.__bases__[0], "start_worker", lambda self: self.worker_thread.start())
    monkeypatch.setattr(kind.__bases__[0], "stop_worker", lambda self: self.worker_thread.join())
    monkeypatch.setattr(processes, "_REPEAT_SECONDS", 0.0)
    handler.start_worker()
    assert failed.wait(60)
    handler.stop_worker()
    with pytest.raises(BeamError, match="a worker process was killed or crashed"):
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
