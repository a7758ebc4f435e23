"""Writer of recordings of rosbag2 in SQLite files, by the package `rosbags`."""

from pathlib import Path

import numpy as np
from rosbags.interfaces import Nodetype
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from tests.sources.made_mcap import START

STORE = get_typestore(Stores.ROS2_JAZZY)


def to_rosbags(kind: str, message):
    """Convert a message of nested namespaces to the class that `rosbags` serializes."""

    def convert(node, value):
        what, detail = node
        if what == Nodetype.NAME:
            return to_rosbags(detail, value)
        if what in (Nodetype.ARRAY, Nodetype.SEQUENCE):
            inner, name = detail[0]
            if inner == Nodetype.BASE and name[0] != "string":
                raw = isinstance(value, bytes)
                return np.frombuffer(value, np.uint8) if raw else np.array(value, name[0].replace("octet", "uint8"))
            return [convert(detail[0], one) for one in value]
        return value

    fields = STORE.fielddefs[kind][1]
    return STORE.types[kind](**{name: convert(node, getattr(message, name, [])) for name, node in fields})


def write_bag(folder: Path, messages: list, compression: CompressionMode | None = None) -> Path:
    """Write a recording of rosbag2 in SQLite, and return its only file of messages."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    bag = Writer(folder, version=Writer.VERSION_LATEST, storage_plugin=StoragePlugin.SQLITE3)
    if compression is not None:
        bag.set_compression(compression, CompressionFormat.ZSTD)
    with bag:
        connections = {}
        for topic, milliseconds, (kind, message) in messages:
            if topic not in connections:
                connections[topic] = bag.add_connection(topic, kind, typestore=STORE)
            data = STORE.serialize_cdr(to_rosbags(kind, message), kind)
            bag.write(connections[topic], START + round(milliseconds * 10**6), data)
    (file,) = folder.glob("*.db3*")
    return file
