"""Access to the SQLite files of rosbag2 (`.db3`), as records of the `mcap` package."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from gato_jax.sources.packages import MissingPackageError

SQLITE_SUFFIX = ".db3"
COMPRESSED_SUFFIX = ".zstd"  # after the other suffix of a file that rosbag2 has compressed as a whole
_ZSTANDARD = b"\x28\xb5\x2f\xfd"  # first bytes of compressed data; CDR begins with a zero byte


def iter_sqlite_messages(file: Path, topics: Collection[str] | None) -> Iterator[tuple[Any, Any, Any]]:
    """Yield (schema, channel, message) for all messages of some topics, in the order of their log times.

    All three are records of the `mcap` package. The data of a message are not decoded, but decompressed if rosbag2
    compressed them one by one.

    Args:
      file: the file.
      topics: names of the topics, or None for all. A file without one of them has no messages of it.

    Raises:
      MissingPackageError: the package `rosbags` is not installed.
      ValueError: the file was not closed, or the definition of a message is unknown. The `rosbags` package raises its
        own errors for damage.
    """
    from mcap.records import Channel, Message

    try:
        from rosbags.rosbag2 import Reader
    except ImportError as error:
        raise MissingPackageError(
            f"cannot read {file}, a SQLite file of rosbag2: rosbags is not installed. Run pip install rosbags."
        ) from error
    if (log := file.with_name(f"{file.name}-wal")).is_file() and log.stat().st_size:
        raise ValueError(
            f"its last messages are still in {log.name}, because the recorder was killed. Merge them with "
            f"`sqlite3 {file.name} 'PRAGMA wal_checkpoint(TRUNCATE)'`"
        )
    with Reader(file) as recording:
        connections = [
            connection for connection in recording.connections if topics is None or connection.topic in topics
        ]
        schemas = {connection.id: _schema(connection) for connection in connections}
        channels = {
            one.id: Channel(
                id=one.id,
                topic=one.topic,
                schema_id=one.id,
                metadata={},
                message_encoding=getattr(one.ext, "serialization_format", ""),
            )  # fmt: skip
            for one in connections
        }
        for connection, time, data in recording.messages(connections) if connections else ():
            if data[:4] == _ZSTANDARD:
                data = _decompress(data)
            number = connection.id
            yield (
                schemas[number],
                channels[number],
                Message(number, log_time=time, data=data, publish_time=time, sequence=0),
            )


def _schema(connection: Any) -> Any:
    """Return the definition of the messages of a connection as a `mcap.records.Schema` in the format `ros2msg`.

    The file holds it since ROS 2 Iron. Older files hold only the names of the types; those of the standard packages
    are then defined as in Humble.

    Raises:
      ValueError: the file has no definition of the type, and it is not in a standard package.
    """
    from mcap.records import Schema
    from rosbags.interfaces import MessageDefinitionFormat
    from rosbags.typesys import Stores, get_types_from_idl, get_typestore

    name, definition = connection.msgtype, connection.msgdef
    if definition.format is MessageDefinitionFormat.MSG:
        text = definition.data
    else:
        if definition.format is MessageDefinitionFormat.IDL:
            store = get_typestore(Stores.EMPTY)
            store.register(get_types_from_idl(definition.data))
        else:
            store = get_typestore(Stores.ROS2_HUMBLE)
        if name not in store.fielddefs:
            raise ValueError(
                f"it has no definition of {name}, the type of topic {connection.topic!r}. Convert it to MCAP with "
                "`ros2 bag convert` where the package of the type is installed"
            )
        text, _ = store.generate_msgdef(name, ros_version=2)
    return Schema(id=connection.id, data=text.encode(), encoding="ros2msg", name=name)


def _decompress(data: bytes) -> bytes:
    """Return the content of a Zstandard frame, whose size need not be in its header."""
    import zstandard

    return zstandard.ZstdDecompressor().decompressobj().decompress(data)
