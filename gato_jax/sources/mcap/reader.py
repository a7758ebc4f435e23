"""Reader of ROS 2 messages in MCAP files and rosbag2's SQLite files.

A file is an episode; its topics are resampled to one control rate.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gato_jax.episodes import Episode, Provenance
from gato_jax.sources.assembly import assemble
from gato_jax.sources.contents import FoundField, missing_fields
from gato_jax.sources.fields import Fields
from gato_jax.sources.mcap.contents import describe_topics, find_left_out
from gato_jax.sources.mcap.file import McapRecording, read_message_times, read_recording
from gato_jax.sources.mcap.recordings import Recording, list_recordings
from gato_jax.sources.mcap.resampling import Resampling, topic_name
from gato_jax.sources.mcap.ros_messages import get_field_value, message_type
from gato_jax.sources.provenance_file import update_provenance
from gato_jax.sources.reader import (
    EpisodeRejected,
    RecordedEpisodes,
    Rejection,
    SourceError,
    fingerprint_files,
)

_COLOUR_ORDERS = ("bgr_to_rgb", "rgb")  # decoders that say how the channels of an image are ordered
_CLOCK_IS_SET = 946_684_800 * 10**9  # the year 2000; a robot without a set clock counts from 1970 or from booting


def open_mcap(path: str | Path, split: str = "train", *, fields: Fields | None = None) -> RecordedEpisodes:
    """Open files of ROS 2 messages in CDR encoding, each of which is an episode: MCAP, or rosbag2's SQLite (`.db3`).

    Files that rosbag2 has split a recording into are one episode, if the `metadata.yaml` that lists them is beside
    them.

    A field is `/topic:field`, such as `/joint_states:position` or `/tool:pose.position`. It may be `/topic` alone if
    its messages are images, texts, numbers or vectors; see `get_field_value`. The colours of images are ordered as
    their encoding says, unless the path contains the decoder `rgb` or `bgr_to_rgb`, which then converts the recorded
    channels. Messages that are up to a second out of the order of their log times are sorted.

    Steps are 1 / `fields.control_rate_hz` seconds apart in log time. They begin when every topic but that of the
    success flag has had a message, and end when the first topic ends that is neither success nor an observed text. An
    observation is the latest message at or before a step, at most ten periods old. An action or reward is the first
    message at or after a step, at most two periods late. An episode with an older observation or a later action or
    reward is rejected. An observed text holds until the next message of its topic, at any age. The success flag is the
    last message of its topic.

    A metadata record named `provenance` overrides `fields.provenance`. If neither gives `recorded_at`, it is derived
    from the log times, unless they begin before the year 2000.

    Args:
      path: a file, or a folder with files at any depth. If it has a subfolder named as the split, the episodes are
        those in the subfolder. Otherwise all are in "train".
      split: name of the split.
      fields: the fields to read and their meaning. It is required.

    Raises:
      SourceError: there is no such split or no file, no file can be read as an episode, or `fields` is None, has no
        control rate, has timestamps, or does not suit this format otherwise. If some files can be read, the others do
        not raise, and are listed in `rejected`.
    """
    import tqdm

    listed = list_recordings(Path(path), split)
    recordings, places, rejected = listed.recordings, [], listed.rejected
    if fields is None:
        files = [file for recording in recordings for file in recording.files]
        topics = _first_topics(str(path), files, rejected)
        raise missing_fields(f"mcap:{path}", topics, "topics have no meaning of their own")
    resampling = Resampling.from_fields(fields)
    for recording in tqdm.tqdm(recordings, desc=f"{path}: lengths", unit=" files", delay=2):
        try:
            times = read_message_times(recording.files, resampling.topics, recording.location)
            in_order = {topic: message_times.in_order for topic, message_times in times.items()}
            places.append((recording, len(resampling.step_times(in_order, recording.location))))
        except EpisodeRejected as error:
            rejected.append(Rejection(error.location, error.reason))
    if not places:
        reasons = "; ".join(map(str, rejected[:3]))
        raise SourceError(f"{path}: none of {len(rejected)} files can be read as an episode ({reasons}).")
    files = [file for recording in recordings for file in (recording.metadata, *recording.files) if file]
    return RecordedEpisodes(
        spec=fields.spec,
        split=split,
        addresses=places,
        lengths=np.array([steps for _, steps in places], np.int64),
        fingerprint=fingerprint_files(files, fields.to_json(), split, label=str(path)),
        read=functools.partial(_read, fields, resampling),
        rejected=tuple(rejected),
        fields=fields,
        find_left_out=functools.partial(
            find_left_out, Path(path), listed, fields, [recording for recording, _ in places]
        ),
    )


def _first_topics(path: str, files: Sequence[Path], rejected: Sequence[Rejection]) -> list[FoundField]:
    """Return the topics of the first file that can be read and has messages.

    Args:
      path: the path of the recording, the beginning of error messages.
      files: its files.
      rejected: those that are not read.

    Raises:
      SourceError: no file can be read, or none has a message.
    """
    reasons = [*map(str, rejected)]
    for file in files:
        try:
            if topics := describe_topics(file):
                return topics
            reasons.append(f"{file}: it has no messages")
        except EpisodeRejected as error:
            reasons.append(str(error))
    raise SourceError(f"{path}: none of {len(reasons)} files has messages that can be read ({'; '.join(reasons[:3])}).")


def _read(fields: Fields, resampling: Resampling, address: tuple[Recording, int]) -> Episode:
    """Read the episode of a recording; an address is the recording and the number of steps found on opening.

    Raises:
      EpisodeRejected: a file is damaged, has another number of steps than on opening, or holds values that do not fit
        the fields.
    """
    (files, _), length = address
    location = address[0].location
    times = read_message_times(files, resampling.topics, location)
    in_order = {topic: message_times.in_order for topic, message_times in times.items()}
    steps = resampling.step_times(in_order, location)
    if len(steps) != length:
        raise EpisodeRejected(location, f"it has {len(steps)} steps, expected {length} as on opening. Open it again.")
    numbers_by_field = {}
    for field in resampling.roles:
        topic = topic_name(field)
        numbers_by_field[field] = times[topic].order[resampling.select_messages(field, steps, in_order[topic])]
    selected = {topic: np.zeros(len(log_times), bool) for topic, log_times in in_order.items()}
    for field, numbers in numbers_by_field.items():
        selected[topic_name(field)][numbers] = True
    recording = read_recording(files, selected, times, location)
    as_recorded = _names_of_decoded_colours(fields)

    def read_field(path: str) -> list[Any]:
        messages = recording.messages[topic_name(path)]
        numbers = np.unique(numbers_by_field[path]).tolist()
        values = _get_values(messages, numbers, path, location, as_recorded=path in as_recorded)
        return [values[number] for number in numbers_by_field[path].tolist()]

    return assemble(fields, read_field, location, provenance=_read_provenance(fields.provenance, recording, location))


def _names_of_decoded_colours(fields: Fields) -> set[str]:
    """Return the names of the fields whose order of colours a decoder converts, on all paths that lead to them."""
    ordered = {path.name for path, _ in fields.paths if any(call.name in _COLOUR_ORDERS for call in path.calls)}
    return ordered - {
        path.name for path, _ in fields.paths if not any(call.name in _COLOUR_ORDERS for call in path.calls)
    }


def _get_values(
    messages: Mapping[int, Any], numbers: list[int], path: str, location: str, *, as_recorded: bool
) -> dict[int, Any]:
    """Return the value of a field in some messages, {number of the message: value}.

    Args:
      messages: the decoded messages of the topic, {number: message}.
      numbers: numbers of the messages to take the value of, at least one.
      path: `topic:field` or `topic`.
      location: the file, the beginning of error messages.
      as_recorded: whether the channels of an image stay in the recorded order.

    Raises:
      KeyError: the messages have no such field, or its type is not supported.
      EpisodeRejected: an image is malformed, or the names of joints, the type of the values or the length of a list
        change between messages.
    """
    values, first = {}, messages[numbers[0]]
    for number in numbers:
        message, label = messages[number], f"message {number} of topic {topic_name(path)!r}"
        try:
            values[number] = get_field_value(message, path.partition(":")[2], as_recorded=as_recorded)
        except ValueError as error:
            raise EpisodeRejected(location, f"{label} holds {error}") from None
        joints, expected = (getattr(one, "name", None) for one in (message, first))
        if message_type(message) == "sensor_msgs/JointState" and joints != expected:
            raise EpisodeRejected(location, f"{label} has joints {joints}, expected {expected}. Sort them.")
        one, kind = values[numbers[0]], _kind_of(values[number])
        if kind != (expected := _kind_of(one)):
            raise EpisodeRejected(location, f"field {path!r} is {kind} in {label}, expected {expected}")
        if isinstance(one, list) and len(values[number]) != len(one):
            raise EpisodeRejected(
                location, f"field {path!r} has {len(values[number])} elements in {label}, expected {len(one)}"
            )
    return values


def _kind_of(value: Any) -> str:
    """Return the kind of a value, in words."""
    if isinstance(value, (bool, int, float)):
        return "a number"
    return {str: "text", bytes: "an encoded file", np.ndarray: "an image"}.get(type(value), "a list")


def _read_provenance(default: Provenance, recording: McapRecording, location: str) -> Provenance:
    """Return `default` with the interval of the recording and the entries of its metadata record `provenance`.

    The entries replace values of `default`. If `default.recorded_at` is empty and the recording begins after the year
    2000, as its clock was set then, it becomes `BEGIN/END` in UTC, such as
    "2024-05-01T10:00:00+00:00/2024-05-01T10:00:42+00:00".

    Raises:
      EpisodeRejected: the metadata record has an entry that Provenance does not allow.
    """
    begin, end = recording.interval
    if not default.recorded_at and begin > _CLOCK_IS_SET:
        times = (datetime.datetime.fromtimestamp(time // 10**9, datetime.UTC).isoformat() for time in (begin, end))
        default = dataclasses.replace(default, recorded_at="/".join(times))
    try:
        return update_provenance(default, recording.metadata.get("provenance", {}), "its metadata record 'provenance'")
    except SourceError as error:
        raise EpisodeRejected(location, str(error)) from None
