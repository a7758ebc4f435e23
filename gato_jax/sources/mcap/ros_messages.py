"""Conversion of decoded ROS 2 messages to numbers, vectors, texts and images."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

# Bytes of a pixel, and the step that orders them as red, green, blue. `is_bigendian` does not apply to single bytes.
_ENCODINGS = {"rgb8": (3, 1), "bgr8": (3, -1), "mono8": (1, 1)}


def get_field_value(message: SimpleNamespace, field: str) -> Any:
    """Return the value of a field of a ROS 2 message.

    Args:
      message: a message as decoded by mcap-ros2-support.
      field: name of the field, such as `position`, or `pose.orientation` for a field of a nested message. An empty
        string is the message itself.

    Returns:
      A string for text; a number or a sequence of numbers; (H, W, C) uint8 for a sensor_msgs/Image; the bytes of the
      encoded file for a sensor_msgs/CompressedImage. A message that holds only numbers and messages of numbers, such as
      a Twist, becomes the flat list of them in the order of its definition. A message whose only field but `layout` is
      `data`, such as a std_msgs/String, becomes the value of that field. A field that is no message is returned as it
      was decoded.

    Raises:
      KeyError: there is no such field, or it is a message of another type.
      ValueError: an image contradicts its size, or has an encoding other than rgb8, bgr8 or mono8.
    """
    value: Any = message
    for name in field.split(".") if field else ():
        if not isinstance(value, SimpleNamespace) or name not in _field_names(value):
            has = ", ".join(_field_names(value)) if isinstance(value, SimpleNamespace) else "no fields"
            raise KeyError(f"{message_type(value)} has {has}")
        value = getattr(value, name)
    if not isinstance(value, SimpleNamespace):
        return value
    match message_type(value):
        case "sensor_msgs/Image":
            return image_pixels(value)
        case "sensor_msgs/CompressedImage":
            return bytes(value.data)
    if _field_names(value)[-1:] == ["data"] and set(_field_names(value)) <= {"layout", "data"}:
        return value.data
    return _flatten_numbers(value)


def message_type(value: Any) -> str:
    """Return the name of a message's ROS type, such as "sensor_msgs/Image", or of the Python type of another value."""
    return str(getattr(value, "_type", type(value).__name__))


def image_pixels(message: Any) -> np.ndarray:
    """Convert a sensor_msgs/Image to an array, without the padding of its rows.

    Returns:
      (H, W, 3) uint8 RGB of an rgb8 or bgr8 image, or (H, W, 1) uint8 grey of a mono8 one.

    Raises:
      ValueError: the encoding is another one, or the data are not `height` rows of `step` bytes.
    """
    if message.encoding not in _ENCODINGS:
        known = ", ".join(_ENCODINGS)
        raise ValueError(
            f"an image of encoding {message.encoding!r}, expected one of {known}. Convert it when recording"
        )
    channels, order = _ENCODINGS[message.encoding]
    height, width, step = message.height, message.width, message.step
    if not height or not width or step < width * channels or len(message.data) != height * step:
        raise ValueError(
            f"an image of {len(message.data)} bytes, expected {height} rows of {step} bytes with {width} pixels of "
            f"{message.encoding}"
        )
    rows = np.frombuffer(message.data, np.uint8).reshape(height, step)
    return rows[:, : width * channels].reshape(height, width, channels)[..., ::order]


def _field_names(message: SimpleNamespace) -> list[str]:
    """Return the names of the fields of a message, in the order of its definition."""
    return list(message.__slots__)


def _flatten_numbers(message: SimpleNamespace) -> list[float | int]:
    """Return all numbers of a message and its nested messages, or raise KeyError if it holds anything else.

    Booleans count as numbers. An array of numbers does not, and raises KeyError.
    """
    numbers: list[float | int] = []
    for name in _field_names(message):
        value = getattr(message, name)
        if isinstance(value, SimpleNamespace):
            numbers += _flatten_numbers(value)
        elif isinstance(value, (int, float)):
            numbers.append(value)
        else:
            raise KeyError(
                f"{message_type(message)} holds more than numbers; name one of its fields "
                f"{', '.join(_field_names(message))}"
            )
    return numbers
