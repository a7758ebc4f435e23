"""MCAP files with ROS 2 messages as episodes, one for each file, their topics brought to one control rate."""

from __future__ import annotations

import dataclasses
import datetime
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gato_jax.episodes import Episode, Provenance
from gato_jax.sources.assembly import assemble
from gato_jax.sources.fields import Fields
from gato_jax.sources.mcap.file import Recording, message_times, read_recording
from gato_jax.sources.mcap.resampling import Resampling, topic_of
from gato_jax.sources.mcap.ros_messages import field_value, message_type
from gato_jax.sources.provenance_file import update_provenance
from gato_jax.sources.reader import EpisodeRejected, RecordedEpisodes, Rejection, SourceError, fingerprint_files

_CLOCK_IS_SET = 946_684_800 * 10**9  # the year 2000: robots whose clock is not set count from 1970, or from booting


def open_mcap(where: str | Path, split: str = "train", *, fields: Fields) -> RecordedEpisodes:
    """Opens MCAP files of ROS 2 messages (CDR), each of which is an episode.

    A field is `/topic:field`, as `/joint_states:position` or `/tool:pose.position`, or a `/topic` whose message is an
    image, a text, a number or a vector; `field_value` says which.

    Topics have rates of their own. Steps are `1 / fields.control_rate_hz` seconds apart by the messages' log time, from
    the first moment at which every topic has had a message to the last one at which all still do. An observation is
    the latest message at or before the step; actions and rewards are the first one at or after it. A text holds until
    the next one, and of success the last message counts, wherever they are; any other topic has to go on: an
    observation more than ten periods old, or an action more than two late, rejects the episode.

    A metadata record named `provenance` says more than `fields.provenance` does. When the recording was made is its own
    log time, unless either says it.

    Args:
      where: a file, or a folder with such files in it or below it. One with a folder named as the split has its
        episodes there; without, all of them are of `train`.
      split: which of them.
      fields: what the topics mean.

    Raises:
      SourceError: there are no files, none can be read, or the fields are not enough for this format.
    """
    import tqdm

    files, resampling = _files(Path(where), split), Resampling.of(fields)
    places, rejected = [], []
    for file in tqdm.tqdm(files, desc=f"{where}: lengths", unit=" files", delay=2):
        try:
            places.append((file, len(resampling.steps(message_times(file, resampling.topics), str(file)))))
        except EpisodeRejected as error:
            rejected.append(Rejection(error.location, error.reason))
    if not places:
        said = "; ".join(f"{place}: {reason}" for place, reason in rejected[:3])
        raise SourceError(f"{where}: none of {len(files)} files is an episode ({said}); mend them or the fields")
    return RecordedEpisodes(
        spec=fields.spec,
        split=split,
        addresses=places,
        lengths=np.array([steps for _, steps in places], np.int64),
        fingerprint=fingerprint_files(files, fields.to_json(), split),
        read=functools.partial(_read, fields, resampling),
        rejected=tuple(rejected),
    )


def _files(where: Path, split: str) -> list[Path]:
    if (where / split).is_dir():
        where = where / split
    elif split != "train":
        raise SourceError(f"{where}: no split {split!r}, which would be a folder {split} in it; what is there is train")
    files = [where] if where.is_file() else sorted(where.rglob("*.mcap"))
    if not files:
        raise SourceError(f"{where}: no *.mcap files; give a recording, or the folder of some")
    return files


def _read(fields: Fields, resampling: Resampling, place: tuple[Path, int]) -> Episode:
    file, length = place
    where, times = str(file), message_times(file, resampling.topics)
    steps = resampling.steps(times, where)
    if len(steps) != length:
        raise EpisodeRejected(where, f"it has {len(steps)} steps, and had {length} when it was opened; open it again")
    picks = {field: resampling.picks(field, steps, times[topic_of(field)]) for field in resampling.uses}
    wanted = {topic: np.zeros(len(at), bool) for topic, at in times.items()}
    for field, numbers in picks.items():
        wanted[topic_of(field)][numbers] = True
    recording = read_recording(file, wanted, times)

    def column(path: str) -> list[Any]:
        messages = recording.messages[topic_of(path)]
        values = _values(messages, np.unique(picks[path]).tolist(), path, where)
        return [values[number] for number in picks[path].tolist()]

    return assemble(fields, column, where, provenance=_provenance(fields.provenance, recording, where))


def _values(messages: Mapping[int, Any], numbers: list[int], path: str, where: str) -> dict[int, Any]:
    """{number: what the field holds in the message of that number}."""
    values, first = {}, messages[numbers[0]]
    for number in numbers:
        message, said = messages[number], f"message {number} of topic {topic_of(path)!r}"
        try:
            values[number] = field_value(message, path.partition(":")[2])
        except ValueError as error:
            raise EpisodeRejected(where, f"{said} holds {error}") from None
        if message_type(message) == "sensor_msgs/JointState" and message.name != first.name:
            raise EpisodeRejected(where, f"{said} has the joints {message.name}, others {first.name}; sort them")
        if isinstance(one := values[numbers[0]], list) and len(values[number]) != len(one):
            raise EpisodeRejected(where, f"field {path!r} has {len(one)} elements, and {len(values[number])} in {said}")
    return values


def _provenance(default: Provenance, recording: Recording, where: str) -> Provenance:
    begin, end = recording.interval
    if not default.recorded_at and begin > _CLOCK_IS_SET:
        said = "/".join(datetime.datetime.fromtimestamp(at // 10**9, datetime.UTC).isoformat() for at in (begin, end))
        default = dataclasses.replace(default, recorded_at=said)
    try:
        return update_provenance(default, recording.metadata.get("provenance", {}), "its metadata record 'provenance'")
    except SourceError as error:
        raise EpisodeRejected(where, str(error)) from None
