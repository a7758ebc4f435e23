"""SQLite files of rosbag2: written and read by the package rosbags, and changed by the standard sqlite3."""

from __future__ import annotations

import functools
import os
import random
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
import zstandard
from rosbags.rosbag2 import CompressionMode, Reader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from tests.sources.made_mcap import FIELDS, arm_messages
from tests.sources.made_rosbag2 import write_bag
from tests.sources.mutations.damage import NotPossible, pick_file
from tests.sources.mutations.harness import Format, Row, cached_by_content
from tests.sources.mutations.mcap_formats import change_messages, select_steps
from tests.sources.mutations.text_formats import change_json_value

_METADATA = "metadata.yaml"
_ZSTANDARD = b"\x28\xb5\x2f\xfd"


def _write(folder: Path):
    """Write a recording with its metadata, one without, with messages that are compressed, and one in two files."""
    file = write_bag(folder / "a", arm_messages(4))
    _list_files(folder / "a", [file.name])
    write_bag(folder / "b", arm_messages(3), CompressionMode.MESSAGE)
    (folder / "b" / _METADATA).unlink()
    (folder / "run").mkdir()
    said = arm_messages(5)
    for number, part in enumerate((said[:30], said[30:])):
        write_bag(folder / "part", part).rename(folder / "run" / f"run_{number}.db3")
        shutil.rmtree(folder / "part")
    _list_files(folder / "run", ["run_0.db3", "run_1.db3"])


def _list_files(folder: Path, names: list[str]):
    """Write a metadata.yaml with the entries that tell how to read the files; the others are long."""
    listed = {"version": 9, "storage_identifier": "sqlite3", "relative_file_paths": names, "compression_mode": ""}
    (folder / _METADATA).write_text(yaml.safe_dump({"rosbag2_bagfile_information": listed}))


def _read(folder: Path) -> Iterator[Row | None]:
    """Yield an episode for the files that a metadata.yaml lists, and one for each other file."""
    found = [Path(place, name) for place, _, names in os.walk(folder) for name in names]
    files = {file for file in found if file.suffix == ".db3" and file.name[0] != "."}
    listed = [file for file in found if file.name == _METADATA and any(one.parent == file.parent for one in files)]
    recordings: list[list[Path]] = []
    for metadata in listed:
        try:
            names = yaml.safe_load(metadata.read_bytes())["rosbag2_bagfile_information"]["relative_file_paths"]
            parts = [metadata.parent / os.path.basename(name) for name in names]
        except Exception:  # noqa: BLE001
            yield None
            files = {file for file in files if file.parent != metadata.parent}
            continue
        recordings.append(list(dict.fromkeys(parts)))
        files -= {*parts}
    for recording in (*recordings, *([file] for file in sorted(files))):
        try:
            yield _read_recording(recording)
        except Exception:  # noqa: BLE001  the packages raise errors of many types
            yield None


def _read_recording(files: list[Path]) -> Row:
    topics: dict[str, list[tuple[int, Any]]] = {}
    for topic, time, message in (one for file in files for one in _messages(file)):
        topics.setdefault(topic, []).append((time, message))
    for said in topics.values():
        said.sort(key=lambda one: one[0])
    return select_steps(topics, _decode)


@cached_by_content
def _messages(file: Path) -> list[tuple[str, int, Any]]:
    """Return (topic, time in nanoseconds, (type, definition, data)) of all messages of a file."""
    with Reader(file) as reader:
        return [(one.topic, time, (one.msgtype, one.msgdef.data, bytes(data))) for one, time, data in reader.messages()]


def _decode(message: tuple[str, str, bytes]) -> Any:
    """Decode a message by the definition in its file, or by that of ROS 2 where the file has none."""
    kind, definition, data = message
    if data[:4] == _ZSTANDARD:
        data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return _types(kind, definition).deserialize_cdr(data, kind)


@functools.lru_cache(maxsize=64)
def _types(kind: str, definition: str) -> Any:
    """Return the types of a definition of messages, or those of ROS 2 for an empty one."""
    if not definition:
        return get_typestore(Stores.ROS2_HUMBLE)
    types = get_typestore(Stores.EMPTY)
    types.register(get_types_from_msg(definition, kind))
    return types


def _write_again(folder: Path, chance: random.Random) -> str:
    """Write a file again with other messages."""
    file = pick_file(folder, chance, ".db3")
    said, done = change_messages(chance)
    try:
        written = write_bag(folder.parent / "again", said, chance.choice((None, CompressionMode.MESSAGE)))
        shutil.copyfile(written, file)
    finally:
        shutil.rmtree(folder.parent / "again", ignore_errors=True)
    return f"{file.relative_to(folder)}: {done}"


_STATEMENTS = (
    "UPDATE messages SET data = substr(data, 1, length(data) - 5) WHERE id = {row}",
    "UPDATE messages SET data = data || X'00000000' WHERE id = {row}",
    "UPDATE messages SET data = X'' WHERE id = {row}",
    "UPDATE messages SET data = X'0001' WHERE id = {row}",
    "UPDATE messages SET data = NULL WHERE id = {row}",
    "UPDATE messages SET data = 'text' WHERE id = {row}",
    "UPDATE messages SET data = (SELECT data FROM messages WHERE id = {other}) WHERE id = {row}",
    "UPDATE messages SET timestamp = timestamp + {shift} WHERE id = {row}",
    "UPDATE messages SET timestamp = -1 WHERE id = {row}",
    "UPDATE messages SET timestamp = 'late' WHERE id = {row}",
    "UPDATE messages SET timestamp = timestamp / 1000",
    "UPDATE messages SET topic_id = 77 WHERE id = {row}",
    "UPDATE messages SET topic_id = 1 + topic_id % 3 WHERE id = {row}",
    "DELETE FROM messages WHERE id = {row}",
    "DELETE FROM messages WHERE id > {row}",
    "INSERT INTO messages (topic_id, timestamp, data) SELECT topic_id, timestamp, data FROM messages WHERE id = {row}",
    "UPDATE topics SET name = name || '_2' WHERE id = {topic}",
    "UPDATE topics SET name = '/command' WHERE id = {topic}",
    "UPDATE topics SET type = 'std_msgs/msg/String' WHERE id = {topic}",
    "UPDATE topics SET type = 'our_lab/msg/Tool' WHERE id = {topic}",
    "UPDATE topics SET type = NULL WHERE id = {topic}",
    "UPDATE topics SET serialization_format = 'protobuf' WHERE id = {topic}",
    "DELETE FROM topics WHERE id = {topic}",
    "DROP TABLE topics",
    "DROP TABLE messages",
    "DROP TABLE message_definitions",
    "DROP TABLE schema",
    "DROP TABLE metadata",
    "UPDATE message_definitions SET encoded_message_definition = 'float64 data' WHERE id = {topic}",
    "UPDATE message_definitions SET encoded_message_definition = '' WHERE id = {topic}",
    "UPDATE message_definitions SET encoding = 'ros2idl' WHERE id = {topic}",
    "UPDATE schema SET schema_version = 99",
    "DELETE FROM schema",
    "ALTER TABLE messages RENAME COLUMN data TO payload",
)


def _change_database(folder: Path, chance: random.Random) -> str:
    """Change a file by one statement of SQL."""
    file = pick_file(folder, chance, ".db3")
    numbers = {
        "row": chance.randint(1, 80),
        "other": chance.randint(1, 80),
        "topic": chance.randint(1, 7),
        "shift": chance.choice((-(10**7), 10**7, 10**9, -3 * 10**9, 2**62)),
    }
    statement = chance.choice(_STATEMENTS).format(**numbers)
    database = sqlite3.connect(file)
    try:
        with database:
            database.execute(statement)
    finally:
        database.close()
    return f"{file.relative_to(folder)}: {statement}"


def _change_metadata(folder: Path, chance: random.Random) -> str:
    """Change one value of a metadata.yaml, or the order or number of the files that it lists."""
    file = pick_file(folder, chance, ".yaml")
    try:
        content = yaml.safe_load(file.read_bytes())
        listed = content["rosbag2_bagfile_information"]["relative_file_paths"]
    except (yaml.YAMLError, LookupError, TypeError):
        raise NotPossible from None
    way = chance.choice(("value", "value", "backwards", "last lacks", "twice", "in a folder"))
    match way:
        case "value":
            content = change_json_value(content, chance)
        case "backwards":
            listed.reverse()
        case "last lacks":
            listed.pop()
        case "twice":
            listed.append(listed[0])
        case _:
            listed[0] = f"{chance.choice(('run', '..', '/tmp'))}/{listed[0]}"
    file.write_text(yaml.safe_dump(content))
    return f"{file.relative_to(folder)}: {way}"


FORMATS = {
    "rosbag2": Format(
        write=_write,
        source="rosbag2:{}",
        read=_read,
        damages=(_change_database, _change_database, _write_again, _change_metadata),
        fields=FIELDS,
    )
}
