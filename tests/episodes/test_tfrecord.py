"""TFRecord files against TensorFlow's own, CRCs, and damage; our datasets in that format."""

import json
import struct
import sys

import numpy as np
import pytest

from gato_jax.episodes import DatasetError, open_dataset, write_dataset
from gato_jax.episodes.record_files import open_records
from gato_jax.episodes.tfrecord import RecordError, TFRecords, TFRecordWriter
from tests.warm_python import TENSORFLOW, run_warm

SIZES = (0, 1, 3, 4, 5, 63, 64, 65, 1000, 4097, 100_003)
# Writes records of SIZES bytes to sys.argv[1]; says whether TensorFlow reads those in sys.argv[2] as the same.
IN_TENSORFLOW = """
import json, sys
import numpy as np
import tensorflow as tf
records = [np.random.default_rng(size).bytes(size) for size in json.loads(sys.argv[3])]
with tf.io.TFRecordWriter(sys.argv[1]) as writer:
    for record in records:
        writer.write(record)
print([record for record in tf.data.TFRecordDataset(sys.argv[2]).as_numpy_iterator()] == records)
"""


@pytest.fixture
def file(tmp_path):
    """A file of three records."""
    writer = TFRecordWriter(tmp_path / "made.tfrecord-00000")
    for number in range(3):
        writer.write(bytes([number]) * 100)
    writer.close()
    return tmp_path / "made.tfrecord-00000"


def test_a_file_is_what_tensorflow_writes_and_is_read_by_it(tmp_path):
    records = [np.random.default_rng(size).bytes(size) for size in SIZES]
    ours, theirs = tmp_path / "ours.tfrecord", tmp_path / "theirs.tfrecord"
    writer = TFRecordWriter(ours)
    for record in records:
        writer.write(record)
    writer.close()
    result = run_warm(["-c", IN_TENSORFLOW, theirs, ours, json.dumps(SIZES)], TENSORFLOW)
    assert result.returncode == 0 and result.stdout.strip() == "True", result.stderr[-2000:]
    assert ours.read_bytes() == theirs.read_bytes()
    read = TFRecords(theirs)
    assert [read[position] for position in range(len(read))] == records and read.problem is None


@pytest.mark.parametrize("position", range(0, 348, 5))
def test_any_flipped_bit_is_seen(file, position):
    content = bytearray(file.read_bytes())
    content[position] ^= 16
    file.write_bytes(content)
    records, record = TFRecords(file), position // 116
    if position % 116 < 12:  # a length: what follows cannot be found
        assert len(records) == record and f"the length of record {record} is damaged" in records.problem
    else:
        with pytest.raises(RecordError, match=f"{file}: record {record} is damaged"):
            records[record]
    assert all(records[number] == bytes([number]) * 100 for number in range(record))


@pytest.mark.parametrize("size", [1, 11, 12, 60, 115, 117, 347])
def test_of_a_file_that_was_cut_short_the_whole_records_are_read(file, size):
    file.write_bytes(file.read_bytes()[:size])
    records = TFRecords(file)
    assert len(records) == size // 116 and f"cut short at byte {size}, inside record {size // 116}" in records.problem


def test_a_length_beyond_the_file_is_no_request_for_memory(file):
    content = bytearray(file.read_bytes())
    content[:8] = struct.pack("<Q", 2**63)
    file.write_bytes(content)
    assert len(TFRecords(file)) == 0


def test_a_missing_file_is_an_error_in_either_format(tmp_path):
    for name in ("none.tfrecord-00000", "none.array_record-00000"):
        with pytest.raises(FileNotFoundError):
            open_records(tmp_path / name)


def test_a_dataset_in_tfrecord_files_holds_the_same(tmp_path, spec, make_episode):
    episodes = [make_episode(spec, seed, 4 + seed) for seed in range(3)]
    datasets = {
        file_format: open_dataset(
            write_dataset(tmp_path / file_format, spec, {"train": episodes}, file_format=file_format)
        )
        for file_format in ("array_record", "tfrecord")
    }
    assert len({dataset.fingerprint for dataset in datasets.values()}) == 1
    assert [path.name for path in datasets["tfrecord"].directory.glob("*record-*")] == [
        "babyai__go_to_red_ball_v0-train.tfrecord-00000"
    ]
    for left, right in zip(*datasets.values(), strict=True):
        for side in ("observation", "action"):
            for key, values in getattr(left, side).items():
                np.testing.assert_array_equal(getattr(right, side)[key], values)
    assert "tensorflow" not in sys.modules


def test_damage_to_a_dataset_in_tfrecord_files_is_named(tmp_path, spec, make_episode):
    directory = write_dataset(tmp_path, spec, {"train": [make_episode(spec, 1)] * 2}, file_format="tfrecord")
    (file,) = directory.glob("*.tfrecord-*")
    content = bytearray(file.read_bytes())
    content[-50] ^= 1
    file.write_bytes(content)
    dataset = open_dataset(directory)
    assert len(dataset[0]) == 5
    with pytest.raises(DatasetError, match="episode 1 of split 'train' cannot be read.*its CRC differs"):
        dataset[1]
