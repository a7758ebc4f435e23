"""Conversions that were killed, damaged, repeated or begun twice: they go on, are kept, or are refused."""

import dataclasses
import math
import os
import resource
import shutil
from collections import Counter
from pathlib import Path

import pytest

from gato_jax.episodes import StoreError, open_dataset
from gato_jax.runtime import FolderInUseError, writer_lock
from gato_jax.sources.conversion import (
    ConversionError,
    Deduplicate,
    ExpertShare,
    shard_worker,
)
from tests.sources.made_reader import (
    NAME,
    SPEC,
    open_made,
    write_recording,
)
from tests.sources.test_conversion import converted, never


class Killed(BaseException):
    """Exception that stands for the death of the process."""


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.mark.parametrize("apart", [15, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(tmp_path, made, without_beam, monkeypatch, apart):
    """Of the moments at which something on the disk changes, one in fifteen, or each."""
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
    for moment in range(0, moments, apart):
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
