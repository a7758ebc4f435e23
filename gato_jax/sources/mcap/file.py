"""Access to MCAP files, with checksums verified: log times of messages from the index, and the messages themselves.

The SQLite files of rosbag2 are read in the same way. They have neither checksums nor a separate index.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import struct
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import numpy as np

from gato_jax.episodes.errors import describe_error, nearest
from gato_jax.sources.mcap.rosbag2 import COMPRESSED_SUFFIX, SQLITE_SUFFIX, iter_sqlite_messages
from gato_jax.sources.reader import EpisodeRejected

REORDERING_WINDOW_NS = 10**9  # a message may be this much older than one before it in the file
_MAGIC = b"\x89MCAP0\r\n"  # at both ends
_RECORD_HEAD = 1 + 8  # opcode, length
_PADDING = 3  # bytes that may follow a message encoded as CDR
_FOOTER = struct.Struct("<QQI")  # offset of the summary, offset of the summary offsets, CRC-32 of the summary


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class MessageTimes:
    """Log times of the N messages of a topic, in nanoseconds.

    Attributes:
      recorded: the times in the order of the messages in the file, (N,) int64.
      order: numbers of the messages in the file, from 0, in the order of their times, (N,) int. Messages of the same
        time stay in the order of the file.
    """

    recorded: np.ndarray
    order: np.ndarray

    @property
    def in_order(self) -> np.ndarray:
        """The times in ascending order, (N,) int64."""
        return self.recorded[self.order]

    @classmethod
    def sort(cls, recorded: np.ndarray, topic: str, location: str) -> MessageTimes:
        """Sort the messages of a topic by time.

        Several threads of a recorder may write messages in a slightly different order. Times that are further apart
        mean that the clock was set back, and then no order is right.

        Raises:
          EpisodeRejected: a message is more than REORDERING_WINDOW_NS older than one before it in the file.
        """
        latest = np.maximum.accumulate(recorded)
        if (late := latest - recorded > REORDERING_WINDOW_NS).any():
            number = int(late.argmax())
            raise EpisodeRejected(
                location,
                f"time goes from {latest[number]} to {recorded[number]} ns in topic {topic!r}, expected at most "
                f"{REORDERING_WINDOW_NS / 1e9:g} s backwards. If its clock was right, sort it with `mcap sort`, "
                "otherwise split it there",
            )
        return cls(recorded=recorded, order=np.argsort(recorded, kind="stable"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class McapRecording:
    """The messages of a file that were selected for reading.

    Attributes:
      messages: {topic: {number of the message in the topic, from 0: decoded message}}, only those selected.
      metadata: {name of a metadata record: its entries}. Of records with the same name, the last counts.
      interval: log times of the first and the last message of the topics in `messages`, in nanoseconds. All messages
        of these topics count, including those that were not selected.
    """

    messages: Mapping[str, Mapping[int, SimpleNamespace]]
    metadata: Mapping[str, Mapping[str, str]]
    interval: tuple[int, int]


def read_message_times(files: Sequence[Path], topics: Collection[str], location: str) -> dict[str, MessageTimes]:
    """Return the log times of all messages of some topics in a recording of one or several files.

    If a file has an index, only the index is read, otherwise the whole file. The checksum of the summary is verified.

    Args:
      files: the files, in the order of their times. The messages are numbered through them.
      topics: names of the topics.
      location: the recording, the beginning of error messages about all files.

    Returns:
      {topic: log times}.

    Raises:
      EpisodeRejected: a file is missing, damaged or truncated, no file has a message of one of the topics, or messages
        are too far out of the order of their log times.
    """
    times: dict[str, list[int]] = {topic: [] for topic in topics}
    known: set[str] = set()
    for file in files:
        found, names = _read_times(file, topics)
        known |= names
        for topic, log_times in found.items():
            times[topic] += log_times
    for topic, log_times in times.items():
        if not log_times:
            near = "it is empty" if topic in known else f"nearest: {nearest(topic, sorted(known))}"
            raise EpisodeRejected(location, f"it has no messages of topic {topic!r}; {near}")
    with _reject_damage(location):  # a damaged time may exceed int64
        recorded = {topic: np.array(log_times, np.int64) for topic, log_times in times.items()}
    return {topic: MessageTimes.sort(log_times, topic, location) for topic, log_times in recorded.items()}


def _read_times(file: Path, topics: Collection[str]) -> tuple[dict[str, list[int]], set[str]]:
    """Return {topic: log times in nanoseconds in the order of the file}, and the names of all topics of the file.

    Raises:
      EpisodeRejected: the file is missing, damaged, truncated or compressed as a whole.
    """
    from mcap.reader import make_reader

    with open_recording(file) as stream:
        summary = None
        if file.suffix != SQLITE_SUFFIX:
            summary = make_reader(stream).get_summary()
            stream.seek(0)
        indexed = summary is not None and all(chunk.message_index_offsets for chunk in summary.chunk_indexes)
        if summary is not None and summary.chunk_indexes and indexed:
            names = {channel.topic for channel in summary.channels.values()}
            return _read_indexed_times(stream, summary, topics), names
        times, names = {topic: [] for topic in topics}, set()
        for _, channel, message in iter_messages(stream, topics, {}):
            names.add(channel.topic)
            if channel.topic in times:
                times[channel.topic].append(message.log_time)
    return times, names


@contextlib.contextmanager
def open_recording(file: Path) -> Iterator[IO[bytes]]:
    """Open a file for the `with` block; the footer and the checksum of the summary of an MCAP file are verified.

    Raises:
      EpisodeRejected: the file is missing, compressed as a whole, no MCAP file, or damaged; or anything but an
        ImportError was raised in the block.
    """
    if file.suffix == COMPRESSED_SUFFIX:
        raise EpisodeRejected(str(file), f"it is compressed as a whole. Decompress it with `zstd -d {file.name}`")
    with _reject_damage(str(file)), file.open("rb") as stream:
        if file.suffix != SQLITE_SUFFIX:
            _check_summary(stream)
        yield stream


def read_recording(
    files: Sequence[Path], selected: Mapping[str, np.ndarray], times: Mapping[str, MessageTimes], location: str
) -> McapRecording:
    """Read the files of a recording once from beginning to end, and decode the selected messages.

    Args:
      files: the files, in the order of their times.
      selected: {topic: (N,) bool}, true for each of its N messages to decode.
      times: the log times from `read_message_times` for the topics of `selected`, to verify that the files agree with
        their indexes.
      location: the recording, the beginning of error messages about all files.

    Raises:
      EpisodeRejected: a file is damaged or truncated, contradicts its index, or a topic is not encoded as ROS 2's
        CDR with a ros2msg schema.
    """
    found: dict[str, list[int]] = {topic: [] for topic in selected}
    messages: dict[str, dict[int, SimpleNamespace]] = {topic: {} for topic in selected}
    metadata: dict[str, Mapping[str, str]] = {}
    for file in files:
        raw: dict[str, dict[int, tuple[Any, Any, bytes]]] = {topic: {} for topic in selected}
        with _reject_damage(str(file)), file.open("rb") as stream:
            for schema, channel, message in iter_messages(stream, found, metadata):
                if (log_times := found.get(channel.topic)) is None:
                    continue
                if len(log_times) < len(selected[channel.topic]) and selected[channel.topic][len(log_times)]:
                    raw[channel.topic][len(log_times)] = schema, channel, message.data
                log_times.append(message.log_time)
        _decode(raw, messages, str(file))
    for topic, log_times in found.items():
        if not np.array_equal(log_times, times[topic].recorded):
            raise EpisodeRejected(location, f"the messages of topic {topic!r} contradict the index of the file")
    first = min(int(log_times.in_order[0]) for log_times in times.values())
    last = max(int(log_times.in_order[-1]) for log_times in times.values())
    return McapRecording(messages=messages, metadata=metadata, interval=(first, last))


def _decode(
    raw: Mapping[str, Mapping[int, tuple[Any, Any, bytes]]],
    messages: dict[str, dict[int, SimpleNamespace]],
    location: str,
):
    """Decode messages of one file, whose schemas are numbered within the file, and add them to `messages`.

    Args:
      raw: {topic: {number of the message: (schema, channel, data)}}.
      messages: {topic: {number of the message: decoded message}}.
      location: path of the file.

    Raises:
      EpisodeRejected: a message is damaged, longer or shorter than its type, or not encoded as ROS 2's CDR with a
        ros2msg schema.
    """
    from mcap_ros2._dynamic import serialize_dynamic
    from mcap_ros2.decoder import DecoderFactory

    factory, encoders = DecoderFactory(), dict[int, Any]()
    for topic, records in raw.items():
        for number, (schema, channel, data) in records.items():
            with _reject_damage(location, f"message {number} of topic {topic!r}"):
                if (decode := factory.decoder_for(channel.message_encoding, schema)) is None:
                    kind = f"{channel.message_encoding!r}, schema {getattr(schema, 'encoding', None)!r}"
                    raise EpisodeRejected(location, f"topic {topic!r} is encoded as {kind}, expected 'cdr', 'ros2msg'")
                messages[topic][number] = message = decode(data)
                if schema.id not in encoders:
                    encoders[schema.id] = serialize_dynamic(schema.name, schema.data.decode())[schema.name]
                encode, label = encoders[schema.id], f"message {number} of topic {topic!r}"
                # The decoder stops where its type ends, and makes numbers of any message of another type. It also stops
                # where the data end, inside of a text or an array.
                if (unread := len(data) - (size := len(encode(message)))) > _PADDING:
                    raise EpisodeRejected(location, f"{label} is {unread} bytes longer than its type {schema.name}")
                if len(encode(decode(data + bytes(8)))) != size:
                    raise EpisodeRejected(location, f"{label} is shorter than its type {schema.name}")


def _read_indexed_times(stream: IO[bytes], summary: Any, topics: Collection[str]) -> dict[str, list[int]]:
    """Return {topic: log times in nanoseconds} from the indexes of the chunks.

    The times of a topic are in the order of its messages in the file.

    Args:
      stream: the open file.
      summary: its `mcap.summary.Summary`.
      topics: names of the topics. One without messages has an empty list.
    """
    from mcap.data_stream import ReadDataStream
    from mcap.records import MessageIndex

    found: dict[str, list[tuple[int, int, int]]] = {topic: [] for topic in topics}
    for chunk in summary.chunk_indexes:
        for channel, offset in chunk.message_index_offsets.items():
            if (topic := summary.channels[channel].topic) in found:
                stream.seek(offset + _RECORD_HEAD)
                index = MessageIndex.read(ReadDataStream(stream))
                found[topic] += [(chunk.chunk_start_offset, position, time) for time, position in index.records]
    return {topic: [time for *_, time in sorted(entries)] for topic, entries in found.items()}


def iter_messages(
    stream: IO[bytes], topics: Collection[str] | None, metadata: dict[str, Mapping[str, str]]
) -> Iterator[tuple[Any, Any, Any]]:
    """Yield (schema, channel, message) for all messages of some topics, and perhaps of others, as they are in the file.

    All three are records of the `mcap` package, but the schema is None for a channel without one. The data of a message
    are not decoded. The `mcap` package verifies checksums, and raises its own errors for damage.

    Args:
      stream: the open file, at its beginning.
      topics: names of the topics, or None for all.
      metadata: filled with the entries of the metadata records, {name: entries}, as they are passed. It is complete
        when the iteration ends.
    """
    from mcap.records import Channel, Message, Metadata, Schema
    from mcap.stream_reader import StreamReader

    if (file := Path(stream.name)).suffix == SQLITE_SUFFIX:
        yield from iter_sqlite_messages(file, topics)
        return
    schemas, channels = {}, {}
    for record in StreamReader(stream, validate_crcs=True).records:
        match record:
            case Message():
                channel = channels[record.channel_id]
                yield schemas.get(channel.schema_id), channel, record
            case Channel():
                channels[record.id] = record
            case Schema():
                schemas[record.id] = record
            case Metadata():
                metadata[record.name] = record.metadata


def _check_summary(stream: IO[bytes]):
    """Raise ValueError unless the file begins as MCAP, ends with a footer, and the checksum of its summary is right.

    A file without summary or checksum passes. The stream is at its beginning afterwards.
    """
    if not (first := stream.read(len(_MAGIC))):
        raise ValueError("it is empty: it has no footer. Copy it again")
    if first != _MAGIC:
        raise ValueError(f"it begins with {first!r}, expected {_MAGIC!r}, so it is no MCAP file")
    size = stream.seek(0, io.SEEK_END)
    tail = _RECORD_HEAD + _FOOTER.size + len(_MAGIC)
    stream.seek(max(size - tail, 0))
    footer = stream.read(tail)
    if len(footer) < tail or footer[-len(_MAGIC) :] != _MAGIC:
        raise ValueError("it has no footer. Repair it with `mcap recover`")
    start, _, checksum = _FOOTER.unpack_from(footer, _RECORD_HEAD)
    if start and checksum:
        stream.seek(start)
        summary = stream.read(size - len(_MAGIC) - 4 - start)  # the checksum covers all bytes before itself
        if zlib.crc32(summary) != checksum:
            raise ValueError("the checksum of its summary is wrong")
    stream.seek(0)


@contextlib.contextmanager
def _reject_damage(location: str, part: str = "the file") -> Iterator[None]:
    """Convert every Exception raised inside the `with` block to an EpisodeRejected.

    An EpisodeRejected or ImportError passes unchanged. The MCAP libraries raise errors of many types for damaged bytes.

    Args:
      location: path of the file.
      part: name of the damaged part in the message.
    """
    try:
        yield
    except (EpisodeRejected, ImportError):
        raise
    except Exception as error:
        raise EpisodeRejected(location, f"{part} is damaged or truncated ({describe_error(error)})") from error
