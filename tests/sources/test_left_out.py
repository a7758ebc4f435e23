"""Tests of what readers list as left out, of links, and of the share of loss."""

import dataclasses
import hashlib
import io
import json
import pickle
import shutil
import tarfile
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gato_jax.episodes import Continuous, Provenance, Text
from gato_jax.sources import (
    Fields,
    SourceError,
    open_dialogues,
    open_documents,
    open_hdf5,
    open_image_text,
    open_lerobot,
    open_mcap,
    open_parquet,
    open_rlds,
    open_splits,
    write_bridge_dataset,
)
from gato_jax.sources.conversion import TooManyRejectedError, convert
from gato_jax.sources.files import find_files, has_suffix, resolve_within
from gato_jax.sources.reader import Rejection, find_omissions, weigh_damaged_files
from tests.sources.made_hdf5 import robomimic
from tests.sources.made_lerobot import change_info, unpack
from tests.sources.made_mcap import FIELDS as TOPICS
from tests.sources.made_mcap import arm_messages, write_mcap

NUMBERS = Fields(
    suite="made",
    task="numbers",
    observation={"state": ("state", Continuous(shape=(2,)))},
    action={"action": ("action", Continuous(shape=(), low=-1.0, high=1.0))},
    provenance=Provenance(source="made", licence="MIT", kind="simulated"),
)


def names(reader) -> dict[str, str]:
    """Return {last part of the location: reason} of what a reader leaves out."""
    return {one.location.rpartition("/")[2]: one.reason for one in pickle.loads(pickle.dumps(reader)).left_out}


def as_hub_cache(folder: Path) -> Path:
    """Move all files of a folder into a cache of the Hub, and return the folder of links to them."""
    snapshot = folder.parent / f"datasets--made--{folder.name}" / "snapshots" / "0123abcd"
    blobs = snapshot.parent.parent / "blobs"
    blobs.mkdir(parents=True)
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        blob = blobs / hashlib.sha256(file.read_bytes()).hexdigest()
        shutil.copyfile(file, blob)
        link = snapshot / file.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        depth = len(link.relative_to(snapshot).parts) + 1
        link.symlink_to(Path(*[".."] * depth) / "blobs" / blob.name)
    return snapshot


def write_table(file: Path, episodes=(2, 3), **columns) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    steps = sum(episodes)
    table = {"episode_index": np.repeat(np.arange(len(episodes)), episodes), "action": np.zeros(steps, np.float32)}
    table |= {"state": pa.array([[0.5, 1.0]] * steps, pa.list_(pa.float32(), 2))}
    pq.write_table(pa.table(table | columns), file)
    return file


def test_links_are_followed_within_the_folder_and_refused_elsewhere(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    for file in ("a/1.h5", "a/.hidden.h5", ".store/2.h5", "notes/x.txt", "notes/y.txt"):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    outside.mkdir()
    (outside / "3.h5").touch()
    for link, target in {
        "copy.h5": "a/1.h5",  # the same file twice
        "again": "a",  # the same folder twice
        "stored": ".store",  # a folder that is not searched by itself
        "a/loop": "..",
        "escape": outside,
        "escape.h5": outside / "3.h5",
        "broken.h5": "nowhere",
        "circle.h5": "circle.h5",
    }.items():
        (root / link).symlink_to(target)
    found = find_files(root, has_suffix(".h5"))
    assert [str(file.relative_to(root)) for file in found.files] == ["a/1.h5", "stored/2.h5"]
    rejected = {one.location.rpartition("/")[2]: one.reason for one in found.rejected}
    assert rejected.keys() == {"escape.h5", "broken.h5", "circle.h5"}
    assert "lies outside of its folder. Copy" in rejected["escape.h5"] and "does not exist" in rejected["broken.h5"]
    left_out = {one.location.removeprefix(f"{root}/"): one.reason for one in found.left_out}
    assert left_out.keys() == {"copy.h5", "again", "a/loop", "escape", "a/.hidden.h5", ".store"}
    assert left_out["copy.h5"] == f"it is a link to {root / 'a/1.h5'}, which is read"
    assert "which contains it" in left_out["a/loop"] and "are read already" in left_out["again"]
    for name in ("escape.h5", "escape/3.h5", "../outside/3.h5"):
        with pytest.raises(SourceError, match="lies outside of its folder"):
            resolve_within(root, name)


def test_many_links_to_one_folder_do_not_multiply_its_files(tmp_path):
    (tmp_path / "all").mkdir()
    for level in range(12):
        folder = tmp_path / "all" / f"{level}"
        folder.mkdir()
        (folder / f"{level}.h5").touch()
        for number in range(4):
            (folder / f"next{number}").symlink_to(f"../{level + 1}" if level < 11 else "../0")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "data").symlink_to("../all/0")
    found = find_files(tmp_path / "root", has_suffix(".h5"), within=tmp_path)
    assert len(found.files) == 12


def test_a_cache_of_the_hub_is_read_by_every_reader(tmp_path, arm_episode):
    made = tmp_path / "made"
    made.mkdir()
    robomimic(made / "lift.hdf5")
    write_table(made / "data" / "train-00000-of-00001.parquet")
    write_mcap(made / "bags" / "one.mcap", arm_messages())
    (made / "texts.jsonl").write_text("".join(json.dumps({"text": f"text {n}"}) + "\n" for n in range(30)))
    with tarfile.open(made / "0.tar", "w") as shard:
        for number in range(8):
            for name, data in ((f"{number}.jpg", b"image"), (f"{number}.txt", b"text"), (f"{number}.cls", b"1")):
                (member := tarfile.TarInfo(name)).size = len(data)
                shard.addfile(member, io.BytesIO(data))
    cache = as_hub_cache(made)
    for root in (made, cache):
        assert len(open_hdf5(root)) == 3
        assert open_parquet(root / "data", fields=NUMBERS).lengths.tolist() == [2, 3]
        assert len(open_mcap(root, fields=TOPICS)) == 1 and len(open_mcap(root, fields=TOPICS)[0]) > 5
        assert len(open_documents(root / "texts.jsonl")) + len(open_documents(root / "texts.jsonl", "test")) == 30
        shard = open_image_text(root)
        assert (
            names(shard)[f"{root.name}: *.cls"] == "a sample is one image and one text; 8 samples have this member too"
        )
        assert "bags" in names(shard) and "lift.hdf5" in names(shard)
    for name in ("v3_0_video", "v2_1_image"):
        folder = unpack(name, tmp_path)
        assert open_lerobot(as_hub_cache(folder)).lengths.tolist() == open_lerobot(folder).lengths.tolist()
    bridge = write_bridge_dataset(tmp_path / "bridge", {"train": [arm_episode(0)]}, control_rate_hz=5.0)
    assert open_rlds(as_hub_cache(bridge), name="bridge_dataset").lengths.tolist() == [6]


def test_hdf5_lists_fields_episodes_and_files(tmp_path):
    file = robomimic(tmp_path / "lift.hdf5", masks={"train": [0, 1, 0], "valid": [1]})
    with h5py.File(file, "a") as root:
        demo = root["data/demo_0"]
        demo["obs/flag"], demo["obs/pose"] = np.zeros(5, bool), np.zeros((5, 4, 4))
        demo["obs/touch"] = np.zeros((5, 3, 3), np.uint16)
        root["notes"] = "by hand"
        demo["linked"] = h5py.ExternalLink("/etc/passwd", "x")
    robomimic(tmp_path / "more.hdf5", masks={"valid": [0]})
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "0.mp4").touch()
    (tmp_path / "readme.txt").touch()
    train = open_hdf5(tmp_path, "train")
    said = names(train)
    assert "it is bool, in 1 of 2 episodes" in said["flag"] and "(4, 4)" in said["pose"]
    assert "it is uint16 (3, 3)" in said["touch"] and f"{tmp_path.name}: linked" in said
    assert said["demo_2"] == "it belongs to no split, not to 'train'"
    assert said["demo_0"] == "the split lists it 2 times, and it is read once" and len(train) == 2
    assert said["videos"] == "its only file is not read: a recording is *.hdf5 or *.h5"
    assert "a recording is" in said["readme.txt"] and "outside of the episodes" in said["lift.hdf5: notes"]
    assert said["more.hdf5"] == "it has no split 'train'; its splits: 'valid'"
    valid = open_hdf5(tmp_path, "valid")
    assert "more.hdf5" not in {one.location.rpartition("/")[2] for one in find_omissions([train, valid])}
    assert "demo_0" in names(valid) and "belongs to 'train'" not in str(find_omissions([train, valid]))


def test_parquet_lists_columns_splits_and_files(tmp_path):
    extra = {"flag": [True] * 5, "arm": [{"joint": 1.0, "force": [1.0, 2.0]}] * 5}
    write_table(tmp_path / "train.parquet", **extra)
    write_table(tmp_path / "test.parquet")
    (tmp_path / "data.csv").touch()
    train, test = (open_parquet(tmp_path, split, fields=NUMBERS) for split in ("train", "test"))
    said = names(train)
    assert said["test.parquet"] == "it belongs to split 'test', not to 'train'" and "data.csv" in said
    assert any(reason == "no field names it; it is bool" for reason in said.values())
    assert {"joint", "force"} <= said.keys()
    both = [one.location.rpartition("/")[2] for one in find_omissions([train, test])]
    assert "test.parquet" not in both and both.count("data.csv") == 1


def test_mcap_lists_topics_and_records(tmp_path):
    write_mcap(tmp_path / "one.mcap", arm_messages(), metadata={"robot": {"arm": "left"}})
    fields = dataclasses.replace(
        TOPICS, observation={key: value for key, value in TOPICS.observation.items() if "wrist" not in value[0]}
    )
    said = {one.location.partition(": ")[2]: one.reason for one in open_mcap(tmp_path, fields=fields).left_out}
    assert said["/wrist/compressed"].startswith("no field names it; it is image")
    assert "/joint_states:velocity" in said and "metadata robot" in said
    with pytest.raises(
        SourceError, match=r"--propose_fields=FILE.*/joint_states:position \(float64 \(3,\), 60 messages"
    ):
        open_mcap(tmp_path)


def test_rlds_lists_splits_and_features_and_counts_missing_files_by_their_episodes(tmp_path, arm_episode):
    splits = {"train": [arm_episode(seed) for seed in range(3)], "test": [arm_episode(9)]}
    directory = write_bridge_dataset(tmp_path, splits, control_rate_hz=5.0)
    fields = open_rlds(directory).fields
    few = dataclasses.replace(
        fields,
        observation={key: value for key, value in fields.observation.items() if "state" not in key},
        suite="few",
    )
    (directory / "notes.txt").touch()
    train, test = (open_rlds(directory, split, fields=few) for split in ("train", "test"))
    said = {one.location.removeprefix(str(directory)): one.reason for one in train.left_out}
    assert "its 1 records belong to no split that is read" == said[": split 'test'"]
    assert "/notes.txt" in said and "float32 (7,)" in said[": observation/state"]
    assert ": split 'test'" not in str(find_omissions([train, test]))
    info = json.loads((directory / "dataset_info.json").read_text())
    info["splits"][0]["shardLengths"] = ["3", "5"]
    (directory / "dataset_info.json").write_text(json.dumps(info))
    reader = open_rlds(directory, fields=few)
    assert sum(one.episodes for one in reader.rejected) == 5
    with pytest.raises(TooManyRejectedError, match="5 of 8 episodes are rejected, expected at most a share of 0.5"):
        convert([reader], tmp_path / "out", max_rejected=0.5)


def test_lerobot_lists_episodes_beyond_its_splits_and_counts_those_that_are_lost(tmp_path):
    root = unpack("v2_1_image", tmp_path)
    count = len(open_lerobot(root))
    (root / "data" / "chunk-000" / "episode_000099.parquet").touch()
    change_info(root, lambda info: info["splits"].update(train=f"0:{count - 1}"))
    reader = open_lerobot(root)
    said = names(reader)
    assert said[f"v2_1_image: episode {count - 1}"] == "it is in no split of info.json, not in 'train'"
    assert said["episode_000099.parquet"] == "no episode of the metadata names it"
    change_info(root, lambda info: info["splits"].update(train=f"0:{count + 9}"))
    assert [one.episodes for one in open_lerobot(root).rejected] == [9]


def test_texts_of_the_other_split_are_counted_and_an_empty_split_is_no_failure(tmp_path):
    file = tmp_path / "texts.jsonl"
    file.write_text("".join(json.dumps({"text": f"text {number}", "url": ""}) + "\n" for number in range(40)))
    train = open_documents(file)
    said = names(train)
    assert said["texts.jsonl: split 'test'"].startswith(f"{40 - len(train)} of 40 texts belong to it, by their hashes")
    assert said["texts.jsonl: url"] == "a text is read from text alone; 40 records have it"
    file.write_text(json.dumps({"turns": ["a", "b"]}) + "\n")
    opened = open_splits(f"dialogue:{tmp_path}", ["train", "test"])
    assert len(opened.readers) == 1 and opened.empty == ("test",)
    with pytest.raises(SourceError, match="split 'test' is empty in 1 files: all 1 texts belong to 'train'"):
        open_dialogues(tmp_path, "test")


def test_a_damaged_file_counts_as_many_episodes_as_the_others_have(tmp_path):
    for number in range(3):
        robomimic(tmp_path / f"{number}.hdf5", lengths=(5, 6, 5, 5))
    (tmp_path / "1.hdf5").write_bytes((tmp_path / "1.hdf5").read_bytes()[:2000])
    assert [one.episodes for one in open_hdf5(tmp_path).rejected] == [4]
    one = Rejection("a.h5, episode 3", "it is empty")
    assert weigh_damaged_files([one], [Path("a.h5")], 9) == [one]


def test_a_slip_in_the_fields_fails_before_anything_is_written(tmp_path):
    write_table(tmp_path / "data" / "train.parquet")
    wrong = dataclasses.replace(NUMBERS, observation={"state": ("state", Continuous(shape=(3,)))})
    with pytest.raises(TooManyRejectedError, match="none of 2 episodes that were tried can be read") as error:
        convert([open_parquet(tmp_path / "data", fields=wrong)], tmp_path / "out")
    assert "Correct the fields or the recording; nothing was written" in str(error.value)
    assert not list((tmp_path / "out").rglob("*.json"))
    said = dataclasses.replace(wrong, observation={"said": ("state", Text())})
    with pytest.raises(TooManyRejectedError):
        convert([open_parquet(tmp_path / "data", fields=said)], tmp_path / "out")
    done = convert([open_parquet(tmp_path / "data", fields=NUMBERS)], tmp_path / "out")
    assert done.splits == {"train": 2}
