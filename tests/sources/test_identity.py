"""The identity of recordings: each changed byte of a file that is read gives another fingerprint, in every reader."""

import dataclasses
import json
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gato_jax.batching import cached_records
from gato_jax.episodes import Continuous, DatasetError, Provenance, open_dataset, write_dataset
from gato_jax.sources import open_source, write_bridge_dataset
from gato_jax.sources.conversion import ConversionError, convert
from gato_jax.sources.fields import Fields
from gato_jax.sources.mcap import open_mcap
from gato_jax.sources.reader import GeneratedEpisodes
from tests.runtime.test_content_digests import flip
from tests.sources.conftest import make_arm_episode
from tests.sources.made_hdf5 import robomimic
from tests.sources.made_images import encode, pixels
from tests.sources.made_lerobot import unpack, video_file
from tests.sources.made_mcap import arm_messages, write_mcap
from tests.sources.test_image_text import samples, write_coco, write_shard
from tests.sources.test_mcap import FIELDS as TOPICS
from tests.tokenization.made_tasks import CONTROL, random_episode
from tests.training.made_run import TOKENIZATION

ROWS = Fields(
    suite="real",
    task="reach",
    observation={"state": ("state", Continuous(shape=()))},
    action={"action": ("action", Continuous(shape=(), low=-1.0, high=1.0))},
    provenance=Provenance(source="a laboratory", licence="MIT", kind="real"),
)


def change_action(file):
    """Change an action in the middle of an HDF5 file in place."""
    with h5py.File(file, "r+") as root:
        actions: Any = root["data/demo_1/actions"]
        actions[3, 2] += 0.25


def rows(folder):
    pq.write_table(pa.table({"state": [0.5] * 9, "action": np.linspace(-1, 1, 9)}), folder / "a.parquet")
    return f"parquet:{folder}", folder / "a.parquet", ROWS


def video(folder):
    root = unpack("v2_1_video", folder)
    return f"lerobot:{root}", video_file(root, "observation.images.front", 1), None


def topics(folder):
    return f"mcap:{folder}", write_mcap(folder / "a.mcap", arm_messages()), TOPICS


def records(folder):
    directory = write_bridge_dataset(folder, {"train": [make_arm_episode(0)]}, control_rate_hz=25.0)
    return f"rlds:{directory}", next(directory.glob("*record-*")), None


def coco(folder):
    write_coco(folder)
    return f"image_text:{folder}", folder / "train2017" / f"{2:012}.jpg", None


def shard(folder):
    return f"image_text:{folder}", write_shard(folder / "0.tar", samples(range(8))), None


def imagefolder(folder):
    (folder / "train").mkdir()
    (folder / "train/a.jpg").write_bytes(encode(pixels(0)))
    (folder / "train/metadata.jsonl").write_text(json.dumps({"file_name": "a.jpg", "text": "a shade"}))
    return f"image_text:{folder}", folder / "train/a.jpg", None


def documents(folder):
    file = folder / "a.jsonl"
    file.write_text("".join(json.dumps({"text": f"document {number} " + "x" * 99}) + "\n" for number in range(9)))
    return f"documents:{folder}", file, None


@pytest.mark.parametrize("make", [rows, video, topics, records, coco, shard, imagefolder, documents])
def test_a_byte_in_the_middle_of_a_file(make, tmp_path, own_cache):
    source, file, fields = make(tmp_path)

    def identify():
        return open_source(source, fields=fields).fingerprint

    before = identify()
    assert identify() == before
    middle = file.stat().st_size // 2
    flip(file, middle)
    try:
        assert identify() != before
    except ValueError as error:  # the damage is found on opening
        assert file.name in str(error)
    flip(file, middle)
    assert identify() == before


def test_a_changed_action_is_converted_again(tmp_path, own_cache):
    file = robomimic(tmp_path / "low_dim.hdf5", lengths=(30, 30, 30))
    assert file.stat().st_size > 200_000

    def changed():
        return convert([open_source(f"hdf5:{file}")], tmp_path / "out", overwrite=not (tmp_path / "out").exists())

    done = changed()
    assert changed().reused
    change_action(file)
    with pytest.raises(ConversionError, match="(?s)exists already, made of other data.*fingerprint"):
        changed()
    assert open_dataset(done.directory).fingerprint  # as it was written


def test_a_changed_action_is_tokenized_again(tmp_path, own_cache):
    file = robomimic(tmp_path / "low_dim.hdf5")
    entries = []
    for change in (None, change_action, None):
        if change:
            change(file)
        entries.append(cached_records(open_source(f"hdf5:{file}"), TOKENIZATION, workers=1).directory)
    assert entries[0] != entries[1] == entries[2]


def test_a_dataset_that_was_changed_is_refused(tmp_path, own_cache):
    directory = write_dataset(tmp_path, CONTROL, {"train": [random_episode(CONTROL, 0, steps=30)]})
    (file,) = directory.glob("*record-*")
    flip(file, file.stat().st_size // 2)
    with pytest.raises(DatasetError, match=f"{file.name}: the digest of its content is .*: changed or damaged"):
        open_dataset(directory).verify()


def test_a_conversion_is_kept_only_if_its_records_are_whole(tmp_path, own_cache):
    file = robomimic(tmp_path / "low_dim.hdf5")
    done = convert([open_source(f"hdf5:{file}")], tmp_path / "out")
    (records,) = done.directory.glob("*record-*")
    flip(records, records.stat().st_size // 2)
    with pytest.raises(ConversionError, match=f"{records.name}: the digest .* Convert it again"):
        convert([open_source(f"hdf5:{file}")], tmp_path / "out")


def test_provenance_is_part_of_the_identity(tmp_path, own_cache):
    episode = random_episode(CONTROL, 0, steps=3)
    other = dataclasses.replace(episode, provenance=dataclasses.replace(episode.provenance, licence="CC-BY-NC-4.0"))
    datasets = [
        open_dataset(write_dataset(tmp_path / str(number), CONTROL, {"train": [one]}))
        for number, one in enumerate((episode, other, episode))
    ]
    prints = [dataset.fingerprint for dataset in datasets]
    assert prints[0] == prints[2] != prints[1]
    made = [
        GeneratedEpisodes(spec=CONTROL, split="train", provenance=one.provenance, items=(), make=lambda _: ({}, {}))
        for one in (episode, other)
    ]
    assert made[0].fingerprint != made[1].fingerprint


def test_a_repaired_file_adds_its_episodes_to_the_identity(tmp_path, own_cache):
    write_mcap(tmp_path / "a.mcap", arm_messages())
    whole = write_mcap(tmp_path / "b.mcap", arm_messages()).read_bytes()
    (tmp_path / "b.mcap").write_bytes(whole[:-100])
    partial = open_mcap(tmp_path, fields=TOPICS)
    (tmp_path / "b.mcap").write_bytes(whole)
    assert (len(partial), len(open_mcap(tmp_path, fields=TOPICS))) == (1, 2)
    assert partial.fingerprint != open_mcap(tmp_path, fields=TOPICS).fingerprint
