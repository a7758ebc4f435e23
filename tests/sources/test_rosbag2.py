"""Tests of rosbag2's SQLite files, written by the package `rosbags`: the same numbers as in MCAP, and refusals."""

import json
import sqlite3
import sys
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import CompressionMode

from gato_jax.sources import open_source
from gato_jax.sources.mcap import open_mcap
from gato_jax.sources.packages import MissingPackageError
from gato_jax.sources.reader import EpisodeRejected, SourceError
from tests.sources.made_mcap import FIELDS, arm_messages, write_mcap
from tests.sources.made_rosbag2 import write_bag


def as_before_iron(file: Path) -> None:
    """Remove what files of ROS 2 Humble and earlier do not hold: the definitions of messages and the version."""
    with sqlite3.connect(file) as database:
        database.executescript("DROP TABLE message_definitions; DROP TABLE schema; DROP TABLE metadata;")
    database.close()


@pytest.mark.parametrize("form", ["definitions", "humble", "compressed"])
def test_sqlite_files_hold_the_same_episode_as_mcap(tmp_path, form):
    (expected,) = open_mcap(write_mcap(tmp_path / "a.mcap", arm_messages()), fields=FIELDS)
    file = write_bag(tmp_path / "bag", arm_messages(), CompressionMode.MESSAGE if form == "compressed" else None)
    if form == "humble":
        as_before_iron(file)
    (episode,) = open_source(f"rosbag2:{tmp_path / 'bag'}", fields=FIELDS)
    for key, values in {**expected.observation, **expected.action}.items():
        np.testing.assert_array_equal({**episode.observation, **episode.action}[key], values)
    assert episode.success is True and episode.provenance.recorded_at == expected.provenance.recorded_at
    assert len(open_mcap(tmp_path, fields=FIELDS)) == 2  # both formats below one folder


def test_a_recording_in_several_sqlite_files_is_one_episode(tmp_path):
    (expected,) = open_mcap(write_mcap(tmp_path / "a.mcap", arm_messages()), fields=FIELDS)
    said, run = arm_messages(), tmp_path / "run"
    run.mkdir()
    for number, part in enumerate((said[: len(said) // 2], said[len(said) // 2 :])):
        write_bag(tmp_path / "parts" / str(number), part).rename(run / f"run_{number}.db3")
    listed = {"relative_file_paths": ["run_0.db3", "run_1.db3"], "storage_identifier": "sqlite3"}
    (run / "metadata.yaml").write_text(json.dumps({"rosbag2_bagfile_information": listed}))
    (episode,) = open_mcap(run, fields=FIELDS)
    np.testing.assert_array_equal(episode.observation["front"], expected.observation["front"])
    np.testing.assert_array_equal(episode.action["arm"], expected.action["arm"])


def test_sqlite_files_that_cannot_be_read_are_rejected_with_the_remedy(tmp_path):
    write_mcap(tmp_path / "z.mcap", arm_messages())
    files = {name: write_bag(tmp_path / name, arm_messages()) for name in ("cut", "killed", "unknown", "empty")}
    files["cut"].write_bytes(files["cut"].read_bytes()[:4096])
    files["killed"].with_name("killed.db3-wal").write_bytes(b"messages")
    as_before_iron(files["unknown"])
    with sqlite3.connect(files["unknown"]) as database:
        database.execute("UPDATE topics SET type = 'our_lab/msg/Tool' WHERE name = '/tool'")
    with sqlite3.connect(files["empty"]) as database:
        database.execute("DELETE FROM messages")
    reader = open_mcap(tmp_path, fields=FIELDS)
    reasons = {Path(one.location).stem: one.reason for one in reader.rejected}
    assert len(reader) == 1 and set(reasons) == set(files)
    assert "is damaged or truncated" in reasons["cut"]
    assert "sqlite3 killed.db3 'PRAGMA wal_checkpoint(TRUNCATE)'" in reasons["killed"]
    assert "no definition of our_lab/msg/Tool" in reasons["unknown"] and "ros2 bag convert" in reasons["unknown"]
    assert "it has no messages of topic" in reasons["empty"]


def test_files_compressed_as_a_whole_are_rejected_with_the_remedy(tmp_path):
    file = write_bag(tmp_path / "bag", arm_messages(), CompressionMode.FILE)
    assert file.suffix == ".zstd"
    with pytest.raises(SourceError, match="Decompress it with `zstd -d "):
        open_mcap(tmp_path, fields=FIELDS)
    write_mcap(tmp_path / "a.mcap", arm_messages())
    reader = open_mcap(tmp_path, fields=FIELDS)
    assert len(reader) == 1 and [one.location for one in reader.rejected] == [str(file)]


def test_changed_messages_are_rejected_on_reading(tmp_path):
    file = write_bag(tmp_path / "bag", arm_messages())
    reader = open_mcap(file, fields=FIELDS)
    with sqlite3.connect(file) as database:
        database.execute("UPDATE messages SET data = X'0001' WHERE id % 3 = 0")
    with pytest.raises(EpisodeRejected, match="message .* of topic .* is damaged"):
        reader[0]


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        (
            "UPDATE messages SET topic_id = 2 WHERE id IN (SELECT id FROM messages WHERE topic_id = 1 LIMIT 4)",
            "message . of topic '/tool' is .* bytes longer than its type geometry_msgs/",
        ),
        (
            "UPDATE message_definitions SET encoded_message_definition = 'bool x' WHERE topic_type LIKE '%/Image'",
            "message 0 of topic '/front/image_raw' is .* bytes longer than its type sensor_msgs/msg/Image",
        ),
        (  # a text of 4,113 bytes, of which six are there
            "UPDATE messages SET data = X'0001000011100000737461636B00' WHERE topic_id = 3",
            "message 0 of topic '/instruction' is shorter than its type std_msgs/msg/String",
        ),
    ],
)
def test_messages_of_another_length_than_their_type_are_rejected(tmp_path, statement, reason):
    file = write_bag(tmp_path / "bag", arm_messages())
    with sqlite3.connect(file) as database:
        assert database.execute(statement).rowcount
    with pytest.raises(EpisodeRejected, match=reason):
        list(open_mcap(file, fields=FIELDS))


def test_without_the_package_the_message_says_how_to_install_it(tmp_path, monkeypatch):
    file = write_bag(tmp_path / "bag", arm_messages())
    monkeypatch.setitem(sys.modules, "rosbags.rosbag2", None)
    with pytest.raises(MissingPackageError, match="rosbags is not installed. Run pip install rosbags"):
        open_mcap(file, fields=FIELDS)
