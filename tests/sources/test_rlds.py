"""Tests of the RLDS reader: bridge_dataset written and read in both file formats, damaged files, and locations."""

import dataclasses
import io
import json
import os
import pickle
import shutil
import sys

import numpy as np
import PIL.Image
import pytest

from gato_jax.episodes import Continuous, Provenance, StoreError
from gato_jax.episodes.record_files import open_records, record_writer
from gato_jax.episodes.tfds_writer import atomic_dataset, write_examples
from gato_jax.runtime.paths import as_path
from gato_jax.sources import EpisodeReader, NoSplitError, SourceError, open_rlds, open_source, write_bridge_dataset
from gato_jax.sources.reader import EpisodeRejected
from gato_jax.sources.rlds.bridge_writer import bridge_features
from gato_jax.sources.rlds.tables import RLDS_DATASETS
from tests.warm_python import TENSORFLOW, run_warm

# Writes the records of sys.argv[1] with TensorFlow as TFRecord files to sys.argv[2].
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
FIELDS = RLDS_DATASETS["bridge_dataset"].fields


@pytest.fixture(scope="module")
def directory(tmp_path_factory, arm_episode):
    splits = {"train": (arm_episode(seed, 6 + seed) for seed in range(4)), "test": [arm_episode(9)]}
    return write_bridge_dataset(tmp_path_factory.mktemp("bridge"), splits, control_rate_hz=25.0)


@pytest.fixture
def copy(directory, tmp_path):
    return shutil.copytree(directory, tmp_path / "bridge_dataset" / "1.0.0")


@pytest.fixture(scope="module")
def tfrecord(directory, tmp_path_factory):
    """The same dataset as TFRecord files, written by TensorFlow, in two shards."""
    root = tmp_path_factory.mktemp("tfrecord") / "bridge_dataset" / "1.0.0"
    root.mkdir(parents=True)
    info = json.loads((directory / "dataset_info.json").read_text())
    (train,) = [split for split in info["splits"] if split["name"] == "train"]
    train |= {"shardLengths": ["2", "2"], "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"}
    (root / "dataset_info.json").write_text(json.dumps(info | {"fileFormat": "tfrecord", "splits": [train]}))
    for name in ("features.json", "provenance.json"):
        shutil.copy(directory / name, root)
    written = run_warm(["-c", WRITE_TFRECORD, *directory.glob("*-train.array*"), root], TENSORFLOW)
    assert written.returncode == 0, written.stderr[-2000:]
    return root


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
    assert isinstance(dataset, EpisodeReader) and len(dataset) == 4 and not dataset.rejected
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
        assert read.reward.tolist() == [0.0] * (steps - 1) + [1.0] and read.discount.tolist() == [1.0] * steps
        assert read.is_first.tolist() == [True] + [False] * (steps - 1)
        assert read.is_last.tolist() == read.is_terminal.tolist() == [False] * (steps - 1) + [True]


def test_provenance_cannot_be_mistaken(directory, copy):
    import tensorflow_datasets as tfds

    for episode in tfds.builder_from_directory(directory).as_data_source("train"):
        metadata = episode["episode_metadata"]
        assert metadata["file_path"].startswith(b"simulated/gymnasium-robotics 1.4.2/fetch/pick_and_place/seed_")
        assert [metadata[f"has_image_{number}"] for number in range(4)] == [True, True, False, False]
    assert open_rlds(directory)[0].provenance.kind == "simulated"
    (copy / "provenance.json").unlink()  # the public release has no such file
    real = open_rlds(copy)
    assert real[0].provenance.kind == "real" and real[0].provenance.licence == "CC-BY-4.0"
    assert real.spec.control_rate_hz == 5.0
    assert real.spec.embodiment.robot == "WidowX 250" and real.fingerprint != open_rlds(directory).fingerprint
    (copy / "provenance.json").write_text("{}")
    with pytest.raises(SourceError, match="provenance.json: it holds no provenance"):
        open_rlds(copy)


def test_images_are_averaged_to_the_size_asked_for(directory, arm_episode):
    dataset = open_rlds(directory, fields=FIELDS.with_image_size(16, 32))
    assert dataset.spec.observation["image_0"].shape == (16, 32, 3)
    written = arm_episode(0, 6).observation["image_0"][0].reshape(16, 4, 32, 2, 3).mean((1, 3))
    assert np.abs(dataset[0].observation["image_0"][0] - written).mean() < 1.5
    assert pickle.loads(pickle.dumps(dataset))[0].observation["image_0"].shape == (6, 16, 32, 3)
    assert dataset.fingerprint != open_rlds(directory).fingerprint


def test_tfrecord_files_of_tensorflow_hold_the_same(directory, tfrecord):
    from_tfrecord, from_array_record = open_rlds(tfrecord), open_rlds(directory)
    assert len(from_tfrecord) == 4 and "tensorflow" not in sys.modules
    for left, right in zip(from_tfrecord, from_array_record, strict=True):
        np.testing.assert_array_equal(left.observation["image_0"], right.observation["image_0"])
        np.testing.assert_array_equal(left.action["action"], right.action["action"])


def test_of_a_tfrecord_file_that_was_cut_short_the_records_before_are_read(tfrecord, tmp_path):
    copy = shutil.copytree(tfrecord, tmp_path / "bridge_dataset" / "1.0.0")
    file = copy / "bridge_dataset-train.tfrecord-00001-of-00002"
    file.write_bytes(file.read_bytes()[:-100])
    dataset = open_rlds(copy)
    assert dataset.lengths.tolist() == [6, 7, 8] and len(dataset[2]) == 8
    (rejection,) = dataset.rejected
    assert rejection.location == str(file) and "cut short at byte" in rejection.reason and "1 of 2" in rejection.reason


def test_a_flipped_byte_of_a_tfrecord_file_costs_its_own_record(tfrecord, tmp_path):
    copy = shutil.copytree(tfrecord, tmp_path / "bridge_dataset" / "1.0.0")
    opened = open_rlds(copy)  # lengths are known before the byte flips
    file = copy / "bridge_dataset-train.tfrecord-00000-of-00002"
    content = bytearray(file.read_bytes())
    content[2000] ^= 1
    file.write_bytes(content)
    with pytest.raises(EpisodeRejected, match=r"00000-of-00002, record 0: .*its CRC differs"):
        pickle.loads(pickle.dumps(opened))[0]
    (copy / "episode_lengths-train.npz").unlink()
    dataset = open_rlds(copy)
    assert dataset.lengths.tolist() == [7, 8, 9] and "record 0 is damaged" in dataset.rejected[0].reason
    np.testing.assert_array_equal(dataset[0].action["action"], open_rlds(tfrecord)[1].action["action"])
    content[2] ^= 1  # within the length of the first record
    file.write_bytes(content)
    (copy / "episode_lengths-train.npz").unlink()
    assert "the length of record 0 is damaged" in open_rlds(copy).rejected[0].reason


def test_damage_to_an_array_record_file_is_named(copy):
    opened = open_rlds(copy)
    (file,) = copy.glob("*-train.array*")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(EpisodeRejected, match=r"array_record-\d+, record \d: .*is damaged"):
        list(opened)
    dataset = open_rlds(copy)  # the lengths are counted again, because the content has changed
    assert len(dataset) == 3 and f"{file}: record" in dataset.rejected[0].reason
    assert all(len(episode) for episode in dataset)
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(SourceError, match=r"no readable episode.*array_record-\d+.*[Cc]opy the file again"):
        open_rlds(copy)


@pytest.mark.parametrize("feature", ["observation/image_0", "is_terminal"])
def test_a_record_without_a_declared_feature_is_rejected(copy, feature):
    from tensorflow_datasets import proto

    (file,) = copy.glob("*-train.array*")
    records = open_records(file)
    examples = [proto.tf_example_pb2.Example.FromString(records[number]) for number in range(4)]
    del examples[1].features.feature[f"steps/{feature}"]
    file.unlink()
    writer = record_writer(file, "array_record")
    for example in examples:
        writer.write(example.SerializeToString())
    writer.close()
    dataset = open_rlds(copy)
    with pytest.raises(EpisodeRejected, match=f"record 1: it has no field '{feature}' .*this record lacks it"):
        dataset[1]
    assert [len(dataset[number]) for number in (0, 2, 3)] == [6, 8, 9]


def test_a_missing_file_is_listed_and_the_others_are_read(tfrecord, tmp_path):
    copy = shutil.copytree(tfrecord, tmp_path / "bridge_dataset" / "1.0.0")
    (copy / "bridge_dataset-train.tfrecord-00000-of-00002").unlink()
    dataset = open_rlds(copy)
    assert dataset.lengths.tolist() == [8, 9] and "record file 0 is missing" in dataset.rejected[0].reason


def _steps(number, change):
    """Return an example of bridge_dataset whose steps were changed by `change`."""
    picture = io.BytesIO()
    PIL.Image.new("RGB", (256, 256)).save(picture, format="jpeg")
    steps = [
        {
            "observation": {f"image_{camera}": io.BytesIO(picture.getvalue()) for camera in range(4)}
            | {"state": np.zeros(7, np.float32)},
            "action": np.full(7, number, np.float32),
            "discount": np.float32(1),
            "reward": np.float32(0),
            "is_first": t == 0,
            "is_last": t == 2,
            "is_terminal": t == 2,
            "language_instruction": "put it there",
            "language_embedding": np.zeros(512, np.float32),
        }
        for t in range(3)
    ]
    change(steps)
    flags = {"has_language": True, **{f"has_image_{camera}": True for camera in range(4)}}
    return {"steps": steps, "episode_metadata": {"file_path": "", "episode_id": number, **flags}}


FAULTS = {
    "action 'action'.*is nan at step 1": lambda steps: steps[1].update(action=np.full(7, np.nan, np.float32)),
    "reward.*is inf at step 2": lambda steps: steps[2].update(reward=np.float32(np.inf)),
    "is_first is true at step 1 of 3": lambda steps: steps[1].update(is_first=True),
    "is_last is true at step 0 of 3": lambda steps: steps[0].update(is_last=True),
    "128 high and 128 wide, expected 256 and 256": lambda steps: steps[1]["observation"].update(image_0=_small()),
    "image_1.* at step 0 cannot be decoded": lambda steps: steps[0]["observation"].update(image_1=io.BytesIO(b"no")),
}


def _small():
    picture = io.BytesIO()
    PIL.Image.new("RGB", (128, 128)).save(picture, format="jpeg")
    return io.BytesIO(picture.getvalue())


def test_an_episode_that_is_not_as_it_should_be_is_refused_and_the_rest_is_read(tmp_path):
    changes = [lambda steps: None, *FAULTS.values(), lambda steps: steps.clear(), lambda steps: None]
    directory = tmp_path / "bridge_dataset" / "1.0.0"
    with atomic_dataset(directory) as staging:
        examples = [_steps(number, change) for number, change in enumerate(changes)]
        write_examples(staging, directory, bridge_features(), {"train": examples})
    sized = dataclasses.replace(FIELDS, recorded_sizes={"image_0": (256, 256)})
    dataset = open_rlds(directory, fields=sized)
    assert len(dataset) == len(changes) - 1
    assert dataset.rejected[0].reason == "it has no steps, expected 1 or more" and dataset.rejected[
        0
    ].location.endswith("record 7")
    for position, fault in enumerate(FAULTS, start=1):
        with pytest.raises(EpisodeRejected, match=fault):
            dataset[position]
    assert dataset[0].action["action"][0, 0] == 0 and dataset[-1].action["action"][0, 0] == 8


@pytest.mark.parametrize(
    ("side", "key", "field", "said"),
    [
        (
            "action",
            "action",
            ("actions", Continuous(shape=(7,), low=-1.0, high=1.0)),
            "no field 'actions'.*its fields include action",
        ),
        ("observation", "state", ("action", Continuous(shape=(6,))), r"shape \(7,\) at each step"),
        ("observation", "state", ("language_instruction", Continuous(shape=())), "has type .*expected numbers"),
        ("observation", "state", ("action/x", Continuous(shape=())), "below a field that holds a value"),
        (
            "observation",
            "state",
            ("code_points(language_instruction)", Continuous(shape=())),
            "cannot be decoded by code_points",
        ),
    ],
)
def test_fields_that_the_records_do_not_have_are_refused(directory, side, key, field, said):
    fields = dataclasses.replace(FIELDS, **{side: dict(getattr(FIELDS, side)) | {key: field}})
    with pytest.raises(EpisodeRejected, match=said):
        open_rlds(directory, fields=fields)[0]


def test_an_unknown_decoder_is_named(directory):
    fields = dataclasses.replace(
        FIELDS, observation=dict(FIELDS.observation) | {"state": ("rot13(action)", Continuous(shape=(7,)))}
    )
    with pytest.raises(SourceError, match="decoder is 'rot13', expected one of bgr_to_rgb"):
        open_rlds(directory, fields=fields)[0]


def test_lengths_are_counted_once(copy, capsys):
    (copy / "episode_lengths-train.npz").unlink(missing_ok=True)
    first = open_rlds(copy)
    assert "episode lengths, once" in capsys.readouterr().err
    assert open_rlds(copy).fingerprint == first.fingerprint and capsys.readouterr().err == ""
    (copy / "episode_lengths-train.npz").write_bytes(b"damaged")
    np.testing.assert_array_equal(open_rlds(copy).lengths, first.lengths)


def test_a_dataset_is_found_by_name_and_a_missing_one_says_how_to_get_it(copy, tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    shutil.copytree(copy, tmp_path / "bridge_dataset" / "0.9.0")
    assert open_rlds("bridge_dataset").fingerprint == open_rlds(copy).fingerprint  # the newest version
    with pytest.raises(SourceError, match=f"taco_play: it is neither a folder nor a dataset in {tmp_path}.*gsutil"):
        open_rlds("taco_play")
    with pytest.raises(SourceError, match="tfds build rlu_control_suite/fish_swim --file_format=array_record"):
        open_rlds("rlu_control_suite/fish_swim")


def test_a_dataset_in_a_bucket_is_read_where_it_lies(tfrecord, tmp_path, bucket, own_cache, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    address = f"{bucket}/bridge_dataset/1.0.0"
    for file in tfrecord.iterdir():
        if file.suffix != ".npz":
            (as_path(address) / file.name).upload(file)
    dataset, here = open_rlds(address), open_rlds(tfrecord)
    assert dataset.fingerprint == here.fingerprint and os.listdir(tmp_path / "gato_jax")
    np.testing.assert_array_equal(dataset[3].observation["image_0"], here[3].observation["image_0"])
    assert not (own_cache / "buckets").exists()
    assert "tensorflow" not in sys.modules


def test_errors_name_the_remedy(directory, copy, tmp_path):
    with pytest.raises(NoSplitError, match="no split 'val'. Its splits: train, test"):
        open_rlds(directory, "val")
    with pytest.raises(SourceError, match="nearest known: bridge_dataset"):
        open_rlds(directory, name="bridge_data")
    with pytest.raises(SourceError, match="dataset_info.json does not describe a TFDS dataset"):
        open_rlds(tmp_path)
    info = json.loads((copy / "dataset_info.json").read_text())
    (copy / "dataset_info.json").write_text(json.dumps(info | {"splits": [{"name": 7, "shardLengths": []}]}))
    with pytest.raises(SourceError, match="does not describe a TFDS dataset .the name of a split is 7, expected text"):
        open_rlds(copy)
    (copy / "dataset_info.json").write_text(json.dumps(info | {"fileFormat": "riegeli"}))
    with pytest.raises(SourceError, match="its file format is riegeli, expected array_record or"):
        open_rlds(copy)
    (copy / "dataset_info.json").write_text(json.dumps(info))
    (copy / "features.json").write_text("{")
    with pytest.raises(SourceError, match=r"its features.json cannot be read"):
        open_rlds(copy)[0]
    (file,) = copy.glob("*-train.array*")
    file.unlink()
    with pytest.raises(SourceError, match="no record files of split 'train'"):
        open_rlds(copy)


def test_writer_refuses_what_does_not_fit(tmp_path, arm_episode):
    episode = arm_episode()
    other = dataclasses.replace(episode, provenance=Provenance(source="else", licence="MIT", kind="real"))
    with pytest.raises(StoreError, match="episode 1 of split 'train'.*expected that of the episodes before"):
        write_bridge_dataset(tmp_path, {"train": [episode, other]}, control_rate_hz=25.0)
    odd = dataclasses.replace(
        episode, observation=episode.observation | {"image_1": np.zeros((7, 60, 60, 3), np.uint8)}
    )
    with pytest.raises(StoreError, match="sides that divide 256"):
        write_bridge_dataset(tmp_path, {"train": [odd]}, control_rate_hz=25.0)
    with pytest.raises(StoreError, match="KeyError"):
        write_bridge_dataset(tmp_path, {"train": [dataclasses.replace(episode, action={})]}, control_rate_hz=25.0)
    write_bridge_dataset(tmp_path, {"train": [episode]}, control_rate_hz=25.0)
    with pytest.raises(StoreError, match="already exists"):
        write_bridge_dataset(tmp_path, {"train": [episode]}, control_rate_hz=25.0)
