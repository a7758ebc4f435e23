"""One MCAP file: when its topics have messages, from its index, and those messages, from its chunks, both checked."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import struct
import zlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import numpy as np

from gato_jax.episodes.errors import nearest
from gato_jax.sources.reader import EpisodeRejected

_MAGIC = 8  # bytes at both ends
_RECORD_HEAD = 1 + 8  # opcode, length
_FOOTER = struct.Struct("<QQI")  # where the summary starts, where its offsets do, the summary's CRC-32


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recording:
    """What was read of a file.

    Attributes:
      messages: {topic: {number in the topic: the message, decoded}}.
      metadata: {name of the record: its text by keys}.
      interval: nanoseconds of the first and of the last message of these topics.
    """

    messages: Mapping[str, Mapping[int, SimpleNamespace]]
    metadata: Mapping[str, Mapping[str, str]]
    interval: tuple[int, int]


def message_times(file: Path, topics: Collection[str]) -> dict[str, np.ndarray]:
    """{topic: (N,) int64 nanoseconds of its messages' log times, as they follow each other in the file}.

    Where the file has an index, nothing else of it is read.

    Raises:
      EpisodeRejected: the file is damaged or cut short, or has no message of a topic.
    """
    from mcap.reader import make_reader

    where = str(file)
    with _damage(where), file.open("rb") as stream:
        _check_summary(stream)
        summary = make_reader(stream).get_summary()
        indexed = summary is not None and all(chunk.message_index_offsets for chunk in summary.chunk_indexes)
        if summary is not None and summary.chunk_indexes and indexed:
            times = _indexed_times(stream, summary, topics)
            known = {channel.topic for channel in summary.channels.values()}
        else:
            stream.seek(0)
            times, known = {topic: [] for topic in topics}, set()
            for _, channel, message in _messages(stream, {}):
                known.add(channel.topic)
                if channel.topic in times:
                    times[channel.topic].append(message.log_time)
    for topic, at in times.items():
        if not at:
            near = "it is empty" if topic in known else f"nearest: {nearest(topic, known)}"
            raise EpisodeRejected(where, f"it has no messages of topic {topic!r}; {near}")
    with _damage(where):  # times that int64 cannot hold
        return {topic: np.array(at, np.int64) for topic, at in times.items()}


def read_recording(file: Path, wanted: Mapping[str, np.ndarray], times: Mapping[str, np.ndarray]) -> Recording:
    """Reads the file once, from its beginning to its end, and keeps the wanted messages.

    Args:
      file: the file.
      wanted: {topic: (N,) bool, which of its N messages to keep}.
      times: {topic: (N,) int64}, as `message_times` gave it.

    Raises:
      EpisodeRejected: the file is damaged or cut short, contradicts its index, or a topic is not of ROS 2.
    """
    from mcap_ros2.decoder import DecoderFactory

    where, factory = str(file), DecoderFactory()
    raw: dict[str, dict[int, tuple[Any, Any, bytes]]] = {topic: {} for topic in wanted}
    found: dict[str, list[int]] = {topic: [] for topic in wanted}
    metadata: dict[str, Mapping[str, str]] = {}
    with _damage(where), file.open("rb") as stream:
        for schema, channel, message in _messages(stream, metadata):
            if (at := found.get(channel.topic)) is None:
                continue
            if len(at) < len(wanted[channel.topic]) and wanted[channel.topic][len(at)]:
                raw[channel.topic][len(at)] = schema, channel, message.data
            at.append(message.log_time)
    for topic, at in found.items():
        if not np.array_equal(at, times[topic]):
            raise EpisodeRejected(where, f"the messages of topic {topic!r} are not those of its index; it is damaged")
    messages: dict[str, dict[int, SimpleNamespace]] = {topic: {} for topic in wanted}
    for topic, kept in raw.items():
        for number, (schema, channel, data) in kept.items():
            with _damage(where, f"message {number} of topic {topic!r}"):
                if (decode := factory.decoder_for(channel.message_encoding, schema)) is None:
                    kind = f"{channel.message_encoding!r}, schema {getattr(schema, 'encoding', None)!r}"
                    raise EpisodeRejected(where, f"topic {topic!r} is encoded as {kind}, not 'cdr', 'ros2msg'")
                messages[topic][number] = decode(data)
    interval = min(int(at[0]) for at in times.values()), max(int(at[-1]) for at in times.values())
    return Recording(messages=messages, metadata=metadata, interval=interval)


def _indexed_times(stream: IO[bytes], summary: Any, topics: Collection[str]) -> dict[str, list[int]]:
    """Log times from the message indexes of the chunks, ordered by where the messages lie in the file."""
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


def _messages(stream: IO[bytes], metadata: dict[str, Mapping[str, str]]) -> Iterator[tuple[Any, Any, Any]]:
    """(schema, channel, message) of all messages in the order of the file; its metadata are put in on the way."""
    from mcap.records import Channel, Message, Metadata, Schema
    from mcap.stream_reader import StreamReader

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
    """Raises ValueError unless the file ends with a footer whose checksum fits the summary before it."""
    size = stream.seek(0, io.SEEK_END)
    tail = _RECORD_HEAD + _FOOTER.size + _MAGIC
    stream.seek(max(size - tail, 0))
    footer = stream.read(tail)
    if len(footer) < tail or footer[-_MAGIC:] != b"\x89MCAP0\r\n":
        raise ValueError("it has no footer; `mcap recover` makes a whole file of what is there")
    start, _, checksum = _FOOTER.unpack_from(footer, _RECORD_HEAD)
    if start and checksum:
        stream.seek(start)
        summary = stream.read(size - _MAGIC - 4 - start)  # the checksum covers all that is before it
        if zlib.crc32(summary) != checksum:
            raise ValueError("the checksum of its summary is wrong")
    stream.seek(0)


@contextlib.contextmanager
def _damage(where: str, part: str = "the file") -> Iterator[None]:
    """What the libraries raise at damaged bytes, each of them errors of its own, as an EpisodeRejected."""
    try:
        yield
    except (EpisodeRejected, ImportError):
        raise
    except Exception as error:
        raise EpisodeRejected(where, f"{part} is damaged or cut short ({error or type(error).__name__})") from error
