"""The public form of bridge_dataset, written and read back, from ArrayRecord and from TFRecord files."""

import dataclasses
import json
import pickle
import shutil
import struct
import subprocess
import sys

import numpy as np
import pytest

from gato_jax.episodes import Provenance, StoreError
from gato_jax.sources import EpisodeReader, SourceError, open_rlds, open_source, write_bridge_dataset

# Writes the records of sys.argv[1] as TensorFlow writes TFRecord files, to sys.argv[2].
WRITE_TFRECORD = """
import sys
import tensorflow as tf
from array_record.python.array_record_data_source import ArrayRecordDataSource
source = ArrayRecordDataSource(sys.argv[1])
for shard in range(2):
    with tf.io.TFRecordWriter(f"{sys.argv[2]}/bridge_dataset-train.tfrecord-0000{shard}-of-00002") as file:
        for position in range(2 * shard, 2 * shard + 2):
            file.write(source[position])
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory, arm_episode):
    splits = {"train": (arm_episode(seed, 6 + seed) for seed in range(4)), "test": [arm_episode(9)]}
    return write_bridge_dataset(tmp_path_factory.mktemp("bridge"), splits, control_rate_hz=25.0)


@pytest.fixture
def copy(directory, tmp_path):
    return shutil.copytree(directory, tmp_path / "bridge_dataset" / "1.0.0")


def test_features_are_those_of_the_public_release(directory):
    import tensorflow_datasets as tfds

    features = tfds.builder_from_directory(directory).info.features
    image, boolean = ("Image", (256, 256, 3), "uint8", "jpeg"), ("Tensor", (), "bool", None)
    expected = {
        **{f"steps/observation/image_{number}": image for number in range(4)},
        "steps/observation/state": ("Tensor", (7,), "float32", None),
        "steps/action": ("Tensor", (7,), "float32", None),
        "steps/discount": ("Tensor", (), "float32", None),
        "steps/reward": ("Tensor", (), "float32", None),
        "steps/is_first": boolean,
        "steps/is_last": boolean,
        "steps/is_terminal": boolean,
        "steps/language_instruction": ("Text", (), "object", None),
        "steps/language_embedding": ("Tensor", (512,), "float32", None),
        "episode_metadata/file_path": ("Text", (), "object", None),
        "episode_metadata/episode_id": ("Tensor", (), "int32", None),
        "episode_metadata/has_language": boolean,
        **{f"episode_metadata/has_image_{number}": boolean for number in range(4)},
    }
    assert type(features["steps"]).__name__ == "Dataset"

    def flatten(tree, path):
        for key, feature in tree.items():
            if hasattr(feature, "items"):
                yield from flatten(feature, f"{path}/{key}")
            else:
                form = getattr(feature, "_encoding_format", None)
                shape, kind = feature.get_tensor_info().shape, np.dtype(feature.np_dtype).name
                yield f"{path}/{key}", (type(feature).__name__, shape, kind, form)

    found = dict(flatten(features["steps"].feature, "steps"))
    found |= dict(flatten(features["episode_metadata"], "episode_metadata"))
    assert {
        key: ("Tensor", *rest) if kind == "Scalar" else (kind, *rest) for key, (kind, *rest) in found.items()
    } == expected


def test_reads_back_what_was_written(directory, arm_episode):
    dataset = open_source(f"rlds:{directory}")
    assert isinstance(dataset, EpisodeReader) and len(dataset) == 4
    np.testing.assert_array_equal(dataset.lengths, [6, 7, 8, 9])
    assert dataset.spec.name == "open_x/bridge_dataset" and dataset.spec.control_rate_hz == 25.0
    assert dataset.spec.embodiment.robot == "simulated Fetch"
    for seed, read in enumerate(dataset):
        episode, steps = arm_episode(seed, 6 + seed), 6 + seed
        assert read.provenance == episode.provenance and not read.final_observation and read.task == dataset.spec.name
        np.testing.assert_array_equal(read.action["action"], episode.action["action"][:steps])
        np.testing.assert_array_equal(read.observation["state"], episode.observation["state"][:steps])
        assert read.observation["instruction"].tolist() == ["put the red block in the bowl"] * steps
        for camera in ("image_0", "image_1"):
            error = read.observation[camera].astype(int) - episode.observation[camera][:steps]
            assert np.abs(error).mean() < 1.5  # JPEG
        assert read.reward.tolist() == [0.0] * (steps - 1) + [1.0]
        assert read.is_first.tolist() == [True] + [False] * (steps - 1)
        assert read.is_last.tolist() == read.is_terminal.tolist() == [False] * (steps - 1) + [True]


def test_provenance_cannot_be_mistaken(directory, copy):
    import tensorflow_datasets as tfds

    for episode in tfds.builder_from_directory(directory).as_data_source("train"):
        metadata = episode["episode_metadata"]
        assert metadata["file_path"].startswith(b"simulated/gymnasium-robotics 1.4.2/fetch/pick_and_place/seed_")
        assert [metadata[f"has_image_{number}"] for number in range(4)] == [True, True, False, False]
    assert open_rlds(directory)[0].provenance.kind == "simulated"
    (copy / "provenance.json").unlink()  # as the public release is
    real = open_rlds(copy)
    assert real[0].provenance.kind == "real" and real[0].provenance.licence == "CC-BY-4.0"
    assert real.spec.control_rate_hz == 5.0
    assert real.spec.embodiment.robot == "WidowX 250" and real.fingerprint != open_rlds(directory).fingerprint
    (copy / "provenance.json").write_text("{}")
    with pytest.raises(SourceError, match="provenance.json: not a provenance"):
        open_rlds(copy)


def test_images_are_averaged_to_the_size_asked_for(directory, arm_episode):
    dataset = open_rlds(directory, image_size=(16, 32))
    assert dataset.spec.observation["image_0"].shape == (16, 32, 3)
    written = arm_episode(0, 6).observation["image_0"][0].reshape(16, 4, 32, 2, 3).mean((1, 3))
    assert np.abs(dataset[0].observation["image_0"][0] - written).mean() < 1.5
    assert pickle.loads(pickle.dumps(dataset))[0].observation["image_0"].shape == (6, 16, 32, 3)
    assert dataset.fingerprint != open_rlds(directory).fingerprint


def test_tfrecord_files_of_tensorflow(directory, tmp_path):
    info = json.loads((directory / "dataset_info.json").read_text())
    (train,) = [split for split in info["splits"] if split["name"] == "train"]
    train |= {"shardLengths": ["2", "2"], "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"}
    (tmp_path / "dataset_info.json").write_text(json.dumps(info | {"fileFormat": "tfrecord", "splits": [train]}))
    for name in ("features.json", "provenance.json"):
        shutil.copy(directory / name, tmp_path)
    arguments = [sys.executable, "-c", WRITE_TFRECORD, str(*directory.glob("*-train.array*")), str(tmp_path)]
    subprocess.run(arguments, check=True, capture_output=True, timeout=120)
    from_tfrecord, from_array_record = open_rlds(tmp_path), open_rlds(directory)
    assert len(from_tfrecord) == 4 and "tensorflow" not in sys.modules
    for left, right in zip(from_tfrecord, from_array_record, strict=True):
        np.testing.assert_array_equal(left.observation["image_0"], right.observation["image_0"])
        np.testing.assert_array_equal(left.action["action"], right.action["action"])
    file = tmp_path / "bridge_dataset-train.tfrecord-00001-of-00002"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(SourceError, match=r"tfrecord-00001-of-00002: cut short at byte \d+"):
        open_rlds(tmp_path)
    file.write_bytes(struct.pack("<Q", 2**63) + bytes(100))
    with pytest.raises(SourceError, match="tfrecord-00001-of-00002: cut short"):
        open_rlds(tmp_path)


def test_lengths_are_counted_once(copy, capsys):
    (copy / "episode_lengths-train.npz").unlink(missing_ok=True)
    first = open_rlds(copy)
    assert "episode lengths, once" in capsys.readouterr().err
    assert open_rlds(copy).fingerprint == first.fingerprint and capsys.readouterr().err == ""
    (copy / "episode_lengths-train.npz").write_bytes(b"damaged")
    np.testing.assert_array_equal(open_rlds(copy).lengths, first.lengths)


def test_errors_name_the_remedy(directory, copy, tmp_path):
    with pytest.raises(SourceError, match="no split 'val'; it has train, test"):
        open_rlds(directory, "val")
    with pytest.raises(SourceError, match="nearest known: bridge_dataset"):
        open_rlds(directory, name="bridge_data")
    with pytest.raises(SourceError, match="dataset_info.json: not a TFDS dataset"):
        open_rlds(tmp_path)
    (file,) = copy.glob("*-train.array*")
    file.unlink()
    with pytest.raises(SourceError, match="no record files of split 'train'"):
        open_rlds(copy)


def test_writer_refuses_what_does_not_fit(tmp_path, arm_episode):
    episode = arm_episode()
    other = dataclasses.replace(episode, provenance=Provenance(source="else", licence="MIT", kind="real"))
    with pytest.raises(StoreError, match="episode 1 of split 'train'.*not that of the episodes before"):
        write_bridge_dataset(tmp_path, {"train": [episode, other]}, control_rate_hz=25.0)
    odd = dataclasses.replace(
        episode, observation=episode.observation | {"image_1": np.zeros((7, 60, 60, 3), np.uint8)}
    )
    with pytest.raises(StoreError, match="sides must divide 256"):
        write_bridge_dataset(tmp_path, {"train": [odd]}, control_rate_hz=25.0)
    with pytest.raises(StoreError, match="KeyError"):
        write_bridge_dataset(tmp_path, {"train": [dataclasses.replace(episode, action={})]}, control_rate_hz=25.0)
    write_bridge_dataset(tmp_path, {"train": [episode]}, control_rate_hz=25.0)
    with pytest.raises(StoreError, match="already there"):
        write_bridge_dataset(tmp_path, {"train": [episode]}, control_rate_hz=25.0)
