"""The content of MCAP files: their topics with the fields of their messages, and what of it is not read."""

from __future__ import annotations

import collections
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from gato_jax.episodes.errors import describe_error
from gato_jax.sources.contents import FoundField, unnamed_fields
from gato_jax.sources.fields import Fields
from gato_jax.sources.files import unread_files
from gato_jax.sources.mcap.file import iter_messages, open_recording
from gato_jax.sources.mcap.recordings import ListedRecordings, Recording
from gato_jax.sources.mcap.ros_messages import get_field_value, message_type
from gato_jax.sources.reader import EpisodeRejected, Omission

_HEADERS = ("header", "stamp")  # fields that describe a message and hold none of its data


def describe_topics(file: Path) -> list[FoundField]:
    """Return the fields of the first message of each topic, as `topic` or `topic:field`.

    A topic whose messages cannot be decoded is described by the name of its type.

    Raises:
      EpisodeRejected: the file is damaged, or of another format.
    """
    from mcap_ros2.decoder import DecoderFactory

    factory, first, counts = DecoderFactory(), {}, collections.Counter()
    with open_recording(file) as stream:
        for schema, channel, message in iter_messages(stream, None, {}):
            counts[channel.topic] += 1
            first.setdefault(channel.topic, (schema, channel.message_encoding, message.data))
    return [
        FoundField(**{**vars(one), "note": f"{one.note}{', ' if one.note else ''}{counts[topic]} messages"})
        for topic, (schema, encoding, data) in first.items()
        for one in _describe_topic(factory, topic, schema, encoding, data)
    ]


def _describe_topic(factory: Any, topic: str, schema: Any, encoding: str, data: bytes) -> list[FoundField]:
    kind = getattr(schema, "name", "") or "no schema"
    try:
        decode = factory.decoder_for(encoding, schema)
        if decode is None:
            return [FoundField(path=topic, kind=f"{kind} in {encoding}")]
        found = list(_describe_message(decode(data), topic, ":"))
    except Exception as error:  # the libraries raise errors of many types
        return [FoundField(path=topic, kind=kind, note=f"cannot be decoded ({describe_error(error)})")]
    return found or [FoundField(path=topic, kind=kind, note="of no numbers, texts or images")]


def _describe_message(message: Any, path: str, mark: str) -> Iterator[FoundField]:
    """Yield the value of a message if it has one as a whole, otherwise its fields."""
    note = message_type(message) if isinstance(message, SimpleNamespace) else ""
    if note == "sensor_msgs/CompressedImage":
        yield FoundField(path=path, kind="image", shape=(-1, -1, 3), note=note)
        return
    try:
        value = get_field_value(message, "") if isinstance(message, SimpleNamespace) else message
    except KeyError:
        for name in message.__slots__:
            if name not in _HEADERS:
                yield from _describe_message(getattr(message, name), f"{path}{mark}{name}", ".")
        return
    except ValueError as error:  # an image that does not tell the order of its colours
        yield FoundField(path=path, kind=note, note=str(error))
        return
    if isinstance(value, str):
        yield FoundField(path=path, kind="text", note=note)
        return
    array = np.asarray(value)
    if array.dtype.kind in "biuf" and array.size:
        yield FoundField(path=path, kind=str(array.dtype), shape=array.shape, note=note)
    elif not (isinstance(value, (list, tuple)) and not value):  # an empty list holds nothing
        yield FoundField(path=path, kind=note or type(value).__name__)


def find_left_out(path: Path, listed: ListedRecordings, fields: Fields, read: Sequence[Recording]) -> list[Omission]:
    """List what the files at or below a path hold and what is not read of it.

    Args:
      path: path of the recording.
      listed: its recordings.
      fields: the fields that are read.
      read: the recordings that are episodes.
    """
    found, described = listed.found, {one.metadata for one in listed.recordings if one.metadata}
    omissions = [
        *found.left_out,
        *unread_files(path, found.others, "a recording is *.mcap or *.db3", {*found.files, *described}),
    ]
    topics: dict[str, FoundField] = {}
    for file in (file for one in read for file in one.files):
        try:
            for one in describe_topics(file):
                topics.setdefault(one.path, one)
            omissions += _attachments(file)
        except EpisodeRejected as error:  # damage that no selected message is in
            omissions.append(Omission(str(file), f"its content cannot be listed ({error.reason})"))
    return [*omissions, *unnamed_fields(str(path), topics.values(), fields)]


def _attachments(file: Path) -> Iterator[Omission]:
    from mcap.reader import make_reader

    if file.suffix != ".mcap":
        return
    with open_recording(file) as stream:
        summary = make_reader(stream).get_summary()
    if summary is None:
        return
    for one in summary.attachment_indexes:
        yield Omission(
            f"{file}: attachment {one.name}", f"it is an attachment of {one.data_size} bytes, {one.media_type}"
        )
    for one in summary.metadata_indexes:
        if one.name != "provenance":
            yield Omission(f"{file}: metadata {one.name}", "it is a metadata record, expected the name 'provenance'")
