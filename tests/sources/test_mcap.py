"""Tests of the MCAP reader on files that the format's own library wrote: values, times and refusals."""

import dataclasses
import io
import pickle
import struct

import numpy as np
import pytest
from mcap import records
from mcap.records import Channel, DataEnd, Schema
from mcap.stream_reader import StreamReader
from mcap.writer import CompressionType, IndexType
from mcap.writer import Writer as PlainWriter

from gato_jax.episodes import Continuous, open_dataset, write_dataset
from gato_jax.sources.mcap.reader import open_mcap
from gato_jax.sources.reader import EpisodeReader, EpisodeRejected, SourceError
from tests.sources.made_mcap import (
    FIELDS,
    START,
    arm_messages,
    command,
    frame,
    joints,
    write_mcap,
)


def only_reason(folder) -> str:
    """Return why the first of two files is rejected on opening, and check that the second, an intact one, is read."""
    write_mcap(folder / "z.mcap", arm_messages())
    reader = open_mcap(folder, fields=FIELDS)
    assert len(reader) == len(list(reader)) == len(reader.rejected) == 1
    assert reader.rejected[0].location.endswith("a.mcap")
    return reader.rejected[0].reason


def reason_at_reading(folder) -> str:
    """Return why the first of two files is rejected on reading, and check that the second, an intact one, is read."""
    write_mcap(folder / "z.mcap", arm_messages())
    reader = open_mcap(folder, fields=FIELDS)
    assert len(reader) == 2 and len(reader[1]) == 11
    with pytest.raises(EpisodeRejected, match="a.mcap") as error:
        reader[0]
    return error.value.reason


@pytest.mark.parametrize("compression", list(CompressionType))
def test_observations_are_the_latest_and_actions_the_next(tmp_path, compression):
    write_mcap(tmp_path / "a.mcap", arm_messages(), compression=compression)
    reader = pickle.loads(pickle.dumps(open_mcap(tmp_path / "a.mcap", fields=FIELDS)))
    assert isinstance(reader, EpisodeReader) and reader.lengths.tolist() == [11] and reader.rejected == ()
    episode, steps = reader[0], np.arange(11)  # from 30 ms, when the first command comes, to 1103, when a pose is last
    np.testing.assert_allclose(episode.observation["joints"][:, 0], 0.02 + 0.1 * steps, rtol=1e-6)
    np.testing.assert_array_equal(episode.observation["tool"][:, 0], steps)
    np.testing.assert_array_equal(episode.observation["front"], [frame(step) for step in steps])
    np.testing.assert_array_equal(episode.observation["wrist"], [frame(step)[:, ::-1] for step in steps])
    np.testing.assert_array_equal(episode.action["arm"], np.stack([steps, np.full(11, -1)], -1))
    assert set(episode.observation["instruction"]) == {"stack the blocks"} and episode.success is True
    stored = open_dataset(write_dataset(tmp_path / "store", reader.spec, {"train": reader}), "train")
    np.testing.assert_array_equal(stored[0].observation["front"], episode.observation["front"])


def test_times_that_differ_by_rounding_are_the_same(tmp_path):
    period = 1e9 / 30
    said = [
        (topic, int(k * period) / 1e6, one)
        for k in range(30)
        for topic, one in (("/joint_states", joints([k, 0, 0])), ("/command", command(k, 0)))
    ]
    fields = dataclasses.replace(
        FIELDS, observation={"joints": FIELDS.observation["joints"]}, success=None, control_rate_hz=30.0
    )
    write_mcap(tmp_path / "a.mcap", said, start=0)
    episode = open_mcap(tmp_path, fields=fields)[0]
    np.testing.assert_array_equal(episode.observation["joints"][:, 0], np.arange(30))
    np.testing.assert_array_equal(episode.action["arm"][:, 0], np.arange(30))
    assert episode.provenance.recorded_at == ""  # its clock was not set


def test_files_without_chunks_and_index(tmp_path):
    chunked = write_mcap(tmp_path / "a.mcap", arm_messages())
    with chunked.open("rb") as recorded, (tmp_path / "b.mcap").open("wb") as stream:
        writer = PlainWriter(stream, use_chunking=False, index_types=IndexType.NONE, enable_data_crcs=True)
        writer.start(profile="ros2")
        schemas, channels = {}, {}
        for record in StreamReader(recorded).records:
            match record:
                case DataEnd():
                    break
                case Schema():
                    schemas[record.id] = writer.register_schema(record.name, record.encoding, record.data)
                case Channel():
                    schema = schemas[record.schema_id]
                    channels[record.id] = writer.register_channel(record.topic, record.message_encoding, schema)
                case records.Message():
                    writer.add_message(channels[record.channel_id], record.log_time, record.data, record.publish_time)
        writer.finish()
    first, second = open_mcap(tmp_path, fields=FIELDS)
    np.testing.assert_array_equal(first.observation["joints"], second.observation["joints"])
    np.testing.assert_array_equal(first.observation["front"], second.observation["front"])


def test_splits_are_folders(tmp_path):
    write_mcap(tmp_path / "bag_0" / "bag_0_0.mcap", arm_messages())
    assert len(open_mcap(tmp_path, fields=FIELDS)) == 1
    with pytest.raises(SourceError, match="no split 'test', which would be a folder of this name"):
        open_mcap(tmp_path, "test", fields=FIELDS)
    for name in ("train/a", "train/b", "test/a"):
        write_mcap(tmp_path / f"{name}.mcap", arm_messages())
    train, test = (open_mcap(tmp_path, split, fields=FIELDS) for split in ("train", "test"))
    assert (len(train), len(test)) == (2, 1) and train.fingerprint != test.fingerprint


def test_the_recording_says_where_it_comes_from(tmp_path):
    file = write_mcap(
        tmp_path / "a.mcap",
        arm_messages(),
        metadata={"rosbag2": {"ROS_DISTRO": "jazzy"}, "provenance": {"serial_numbers": "A1, C7", "collector": "Ada"}},
    )
    provenance = open_mcap(file, fields=FIELDS)[0].provenance
    assert (provenance.serial_numbers, provenance.collector, provenance.equipment) == ("A1, C7", "Ada", "an arm")
    assert provenance.recorded_at == "2026-01-01T00:00:00+00:00/2026-01-01T00:00:01+00:00"
    write_mcap(file, arm_messages(), metadata={"provenance": {"serial_number": "A1"}})
    with pytest.raises(EpisodeRejected, match="unknown key 'serial_number'. Did you mean 'serial_numbers'"):
        open_mcap(file, fields=FIELDS)[0]


def test_a_truncated_file(tmp_path):
    file = write_mcap(tmp_path / "a.mcap", arm_messages())
    file.write_bytes(file.read_bytes()[:-200])
    assert "damaged or truncated (it has no footer. Repair it with `mcap recover`" in only_reason(tmp_path)


def test_an_empty_file(tmp_path):
    (tmp_path / "a.mcap").touch()
    assert "it has no footer" in only_reason(tmp_path)
    (tmp_path / "z.mcap").unlink()
    with pytest.raises(SourceError, match="none of 1 files can be read as an episode .*a.mcap.*no footer"):
        open_mcap(tmp_path, fields=FIELDS)


def test_flipped_bytes_are_seen_wherever_they_are(tmp_path):
    """Flip bytes in the chunks, in their indexes and in the summary."""
    file, good = tmp_path / "a.mcap", write_mcap(tmp_path / "a.mcap", arm_messages()).read_bytes()
    whole = open_mcap(file, fields=FIELDS)[0]
    random, seen = np.random.default_rng(0), 0
    for place in random.integers(100, len(good), 60):
        damaged = bytearray(good)
        damaged[place] ^= 1 << int(random.integers(8))
        file.write_bytes(damaged)
        try:
            episode = open_mcap(file, fields=FIELDS)[0]
        except SourceError:
            seen += 1
        else:  # a byte on which nothing depends, as one of the places of messages in their chunk
            for side in ("observation", "action"):
                for key, values in getattr(whole, side).items():
                    np.testing.assert_array_equal(getattr(episode, side)[key], values)
    assert seen > 30


def test_a_flipped_byte_in_a_chunk_rejects_at_reading(tmp_path):
    file = write_mcap(tmp_path / "a.mcap", arm_messages(), compression=CompressionType.NONE)
    content = bytearray(file.read_bytes())
    content[content.index(struct.pack("<d", 1.02))] ^= 1
    file.write_bytes(content)
    assert "crc validation failed in Chunk" in reason_at_reading(tmp_path)


def test_a_flipped_byte_in_the_summary_rejects_at_opening(tmp_path):
    file = write_mcap(tmp_path / "a.mcap", arm_messages())
    content = bytearray(file.read_bytes())
    content[content.rindex(b"/joint_states")] ^= 1
    file.write_bytes(content)
    assert "the checksum of its summary is wrong" in only_reason(tmp_path)


def test_a_missing_topic(tmp_path):
    said = [("/joint_state" if topic == "/joint_states" else topic, *rest) for topic, *rest in arm_messages()]
    write_mcap(tmp_path / "a.mcap", said)
    assert only_reason(tmp_path) == "it has no messages of topic '/joint_states'; nearest: '/joint_state'"


def test_time_that_goes_backwards(tmp_path):
    said = arm_messages(20)
    place = [place for place, (name, *_) in enumerate(said) if name == "/tool"][16]
    said[place] = ("/tool", 203, said[place][2])
    write_mcap(tmp_path / "a.mcap", said)
    reason = only_reason(tmp_path)
    assert reason.startswith("time goes from 1767225601503000000 to 1767225600203000000 ns in topic '/tool', expected")
    assert "sort it with `mcap sort`" in reason


@pytest.mark.parametrize("chunk_size", [200, 4096])
def test_messages_out_of_order_are_sorted(tmp_path, chunk_size):
    ordered = arm_messages()
    # Messages come up to 0.9 s late, as from a recorder with a thread for each topic.
    late = sorted(ordered, key=lambda one: one[1] + (one[1] * 7919) % 900)
    assert [one[:2] for one in late] != [one[:2] for one in ordered]
    write_mcap(tmp_path / "a.mcap", ordered, chunk_size=chunk_size)
    write_mcap(tmp_path / "b.mcap", late, chunk_size=chunk_size)
    right, sorted_by_us = open_mcap(tmp_path, fields=FIELDS)
    for side in ("observation", "action"):
        for key, values in getattr(right, side).items():
            np.testing.assert_array_equal(getattr(sorted_by_us, side)[key], values)
    assert sorted_by_us.provenance == right.provenance and sorted_by_us.success is True


def test_topics_that_fall_silent(tmp_path):
    said = arm_messages(40)
    write_mcap(tmp_path / "a.mcap", [one for one in said if one[0] != "/tool" or not 1000 < one[1] < 2600])
    reason = only_reason(tmp_path)
    assert reason.startswith(
        "topic '/tool' is silent 1.900 s after the first step: the nearest observed message is 10.3 periods"
    )
    write_mcap(tmp_path / "a.mcap", [one for one in said if one[0] != "/command" or not 1000 < one[1] < 1300])
    assert "'/command' is silent 1.000 s after the first step: the nearest commanded message is 3.0" in only_reason(
        tmp_path
    )
    write_mcap(tmp_path / "a.mcap", [one for one in said if one[0] != "/tool" or not 1000 < one[1] < 1800])
    assert len(open_mcap(tmp_path / "a.mcap", fields=FIELDS)[0]) == 39  # 0.8 s of a pose are allowed


def test_topics_that_never_meet(tmp_path):
    write_mcap(tmp_path / "a.mcap", [(topic, t + 5000 * (topic == "/tool"), one) for topic, t, one in arm_messages()])
    assert "it has no steps: a topic ends 3.893 s before all topics have begun" in only_reason(tmp_path)


def test_clocks_that_differ_make_no_billions_of_steps(tmp_path):
    said = [(topic, t + 10**12 * (t > 600), one) for topic, t, one in arm_messages()]
    write_mcap(tmp_path / "a.mcap", said)
    reason = only_reason(tmp_path)
    assert reason.startswith("topic '/joint_states' has 60 messages for 1000000001")
    assert reason.endswith("steps, so some step has none near enough. Check the log times")


def test_a_topic_whose_values_change_their_kind(tmp_path):
    writer = PlainWriter(stream := io.BytesIO())
    writer.start("ros2")
    flags, texts = (
        writer.register_schema(f"std_msgs/msg/{name}", "ros2msg", f"{kind} data".encode())
        for name, kind in (("Bool", "bool"), ("String", "string"))
    )
    command, flag, text = (
        writer.register_channel(topic, "cdr", kind)
        for topic, kind in (("/command", flags), ("/x", flags), ("/x", texts))
    )
    true, yes = b"\0\1\0\0\1", b"\0\1\0\0\4\0\0\0yes\0"
    for k, channel in enumerate((flag, flag, text)):
        for one, data in ((channel, yes if channel == text else true), (command, true)):
            writer.add_message(one, log_time=START + k * 10**8, data=data, publish_time=0)
    writer.finish()
    (tmp_path / "a.mcap").write_bytes(stream.getvalue())
    number = Continuous(shape=(), low=0.0, high=1.0)
    fields = dataclasses.replace(
        FIELDS, observation={"x": ("/x", number)}, action={"arm": ("/command", number)}, success=None, recorded_sizes={}
    )
    with pytest.raises(EpisodeRejected, match="field '/x' is text in message 2 of topic '/x', expected a number"):
        open_mcap(tmp_path, fields=fields)[0]


def test_messages_of_another_kind(tmp_path):
    writer = PlainWriter(stream := io.BytesIO())
    writer.start()
    schema = writer.register_schema("point", "jsonschema", b"{}")
    for topic in ("/x", "/command"):
        channel = writer.register_channel(topic, "json", schema)
        for k in range(3):
            writer.add_message(channel, log_time=k * 10**8, data=b'{"data": 1}', publish_time=0)
    writer.finish()
    (tmp_path / "a.mcap").write_bytes(stream.getvalue())
    fields = dataclasses.replace(FIELDS, observation={"x": ("/x", Continuous(shape=()))}, success=None)
    with pytest.raises(EpisodeRejected, match="is encoded as 'json', schema 'jsonschema', expected 'cdr', 'ros2msg'"):
        open_mcap(tmp_path, fields=dataclasses.replace(fields, recorded_sizes={}))[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"control_rate_hz": None}, "control_rate_hz is None"),
        ({"timestamps": "/tool:header.stamp"}, "timestamps is '/tool:header.stamp', expected None"),
        (
            {"action": {"arm": ("/joint_states:position", Continuous(shape=(3,), low=0.0, high=1.0))}},
            "field '/joint_states:position' is both observed and commanded",
        ),
    ],
)
def test_fields_that_do_not_fit_the_format(tmp_path, changes, message):
    write_mcap(tmp_path / "a.mcap", arm_messages())
    with pytest.raises(SourceError, match=message):
        open_mcap(tmp_path, fields=dataclasses.replace(FIELDS, **changes))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/joint_states:positions", r"no field '/joint_states:positions' .*has header, name, position, velocity"),
        ("/joint_states:position.x", "no field"),
        ("/joint_states", r"Header holds more than numbers; name one of its fields stamp, frame_id"),
        ("/tool:pose.position", r"shape \(3,\) at each step, expected \(7,\)"),
        ("/front/image_raw:encoding", "has type <U"),
    ],
)
def test_fields_that_are_not_in_the_messages(tmp_path, path, message):
    write_mcap(tmp_path / "a.mcap", arm_messages())
    changed = {**FIELDS.observation, "tool": (path, Continuous(shape=(7,)))}
    with pytest.raises(EpisodeRejected, match=message):
        open_mcap(tmp_path, fields=dataclasses.replace(FIELDS, observation=changed))[0]


def test_no_recordings(tmp_path):
    with pytest.raises(SourceError, match="no .*mcap or .*db3 file at or below"):
        open_mcap(tmp_path, fields=FIELDS)
