"""Values of decoded ROS 2 messages: numbers, vectors, texts and images."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

# How many bytes a pixel has, and the way through them to red, green, blue. `is_bigendian` says nothing of single bytes.
_ENCODINGS = {"rgb8": (3, 1), "bgr8": (3, -1), "mono8": (1, 1)}


def field_value(message: SimpleNamespace, field: str) -> Any:
    """What a message holds in a field.

    Args:
      message: as mcap-ros2-support decodes it.
      field: `position`, or `pose.orientation` of a message within it; empty for the message itself.

    Returns:
      Text as str; numbers as they are, arrays of them as a sequence; a sensor_msgs/Image as (H, W, C) uint8, a
      sensor_msgs/CompressedImage as the bytes of its file. A message of numbers alone, as a Twist, is the list of them
      in the order of its definition, and one of which `data` is the only field, as a std_msgs/String, is that.

    Raises:
      KeyError: there is no such field, or what is there is none of these.
      ValueError: an image contradicts itself or is of an encoding that is not read.
    """
    value: Any = message
    for name in field.split(".") if field else ():
        if not isinstance(value, SimpleNamespace) or name not in _names(value):
            has = ", ".join(_names(value)) if isinstance(value, SimpleNamespace) else "no fields"
            raise KeyError(f"{message_type(value)} has {has}")
        value = getattr(value, name)
    if not isinstance(value, SimpleNamespace):
        return value
    match message_type(value):
        case "sensor_msgs/Image":
            return image_pixels(value)
        case "sensor_msgs/CompressedImage":
            return bytes(value.data)
    if _names(value)[-1:] == ["data"] and set(_names(value)) <= {"layout", "data"}:
        return value.data
    return _numbers(value)


def message_type(value: Any) -> str:
    """`sensor_msgs/Image` of a message, the type's name of anything else."""
    return str(getattr(value, "_type", type(value).__name__))


def image_pixels(message: Any) -> np.ndarray:
    """A sensor_msgs/Image as (H, W, C) uint8, C 3 for red, green, blue and 1 for grey, without the padding of rows.

    Raises:
      ValueError: another encoding, or data that is not `height` rows of `step` bytes.
    """
    if message.encoding not in _ENCODINGS:
        known = ", ".join(_ENCODINGS)
        raise ValueError(f"an image of encoding {message.encoding!r}, not one of {known}; convert it when recording")
    channels, way = _ENCODINGS[message.encoding]
    height, width, step = message.height, message.width, message.step
    if not height or not width or step < width * channels or len(message.data) != height * step:
        raise ValueError(
            f"an image of {len(message.data)} bytes, which is not {height} rows of {step} bytes with {width} pixels of "
            f"{message.encoding}"
        )
    rows = np.frombuffer(message.data, np.uint8).reshape(height, step)
    return rows[:, : width * channels].reshape(height, width, channels)[..., ::way]


def _names(message: SimpleNamespace) -> list[str]:
    return list(message.__slots__)


def _numbers(message: SimpleNamespace) -> list[float | int]:
    numbers: list[float | int] = []
    for name in _names(message):
        value = getattr(message, name)
        if isinstance(value, SimpleNamespace):
            numbers += _numbers(value)
        elif isinstance(value, (int, float)):
            numbers.append(value)
        else:
            raise KeyError(f"{message_type(message)} is no vector; name one of its fields {', '.join(_names(message))}")
    return numbers
