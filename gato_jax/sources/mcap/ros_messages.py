"""Conversion of decoded ROS 2 messages to numbers, vectors, texts and images."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

_RGB, _BGR = [0, 1, 2, 3], [2, 1, 0, 3]
# Type, number of channels, and their order: the recorded channels that are red, green, blue and alpha. None for an
# encoding that does not tell the order of its colours.
_ENCODINGS: dict[str, tuple[str, int, list[int] | None]] = {
    "rgb8": ("u1", 3, _RGB),
    "bgr8": ("u1", 3, _BGR),
    "rgba8": ("u1", 4, _RGB),
    "bgra8": ("u1", 4, _BGR),
    "mono8": ("u1", 1, _RGB),
    "mono16": ("u2", 1, _RGB),
    "8UC1": ("u1", 1, _RGB),
    "8UC3": ("u1", 3, None),
    "8UC4": ("u1", 4, None),
    "16UC1": ("u2", 1, _RGB),
    "32FC1": ("f4", 1, _RGB),
}
_FIELDS = {
    "sensor_msgs/Image": {"height", "width", "encoding", "is_bigendian", "step", "data"},
    "sensor_msgs/CompressedImage": {"format", "data"},
}
_DEPTH_HEADER = 12  # bytes before the PNG file in an image of the transport compressedDepth


def get_field_value(message: SimpleNamespace, field: str, *, as_recorded: bool = False) -> Any:
    """Return the value of a field of a ROS 2 message.

    Args:
      message: a message as decoded by mcap-ros2-support.
      field: name of the field, such as `position`, or `pose.orientation` for a field of a nested message. An empty
        string is the message itself.
      as_recorded: whether the channels of a sensor_msgs/Image stay in the recorded order, because a decoder converts
        them.

    Returns:
      A string for text; a number or a sequence of numbers; (H, W, C) for a sensor_msgs/Image; the bytes of the encoded
      file for a sensor_msgs/CompressedImage. A message that holds only numbers and messages of numbers, such as
      a Twist, becomes the flat list of them in the order of its definition. A message whose only field but `layout` is
      `data`, such as a std_msgs/String, becomes the value of that field. A field that is no message is returned as it
      was decoded.

    Raises:
      KeyError: there is no such field, it is a message of another type, or an image lacks a field of its type.
      ValueError: an image contradicts its size, has an unknown encoding, or does not tell the order of its colours.
    """
    value: Any = message
    for name in field.split(".") if field else ():
        if not isinstance(value, SimpleNamespace) or name not in _field_names(value):
            has = ", ".join(_field_names(value)) if isinstance(value, SimpleNamespace) else "no fields"
            raise KeyError(f"{message_type(value)} has {has}")
        value = getattr(value, name)
    if not isinstance(value, SimpleNamespace):
        return value
    if lacking := sorted(_FIELDS.get(message_type(value), set()) - set(_field_names(value))):
        raise KeyError(f"{message_type(value)} is defined without {', '.join(lacking)}")
    match message_type(value):
        case "sensor_msgs/Image":
            return image_pixels(value, as_recorded=as_recorded)
        case "sensor_msgs/CompressedImage":
            return _encoded_file(value)
    if _field_names(value)[-1:] == ["data"] and set(_field_names(value)) <= {"layout", "data"}:
        return value.data
    return _flatten_numbers(value)


def message_type(value: Any) -> str:
    """Return the name of a message's ROS type, such as "sensor_msgs/Image", or of the Python type of another value."""
    return str(getattr(value, "_type", type(value).__name__))


def _encoded_file(message: Any) -> bytes:
    """Return the encoded file of a sensor_msgs/CompressedImage.

    Raises:
      ValueError: it is an image of the transport compressedDepth, and not a PNG of 16 bits.
    """
    data, form = bytes(message.data), str(message.format)
    if "compressedDepth" not in form:
        return data
    if not form.startswith(("16UC1", "mono16")) or data[_DEPTH_HEADER:][:4] != b"\x89PNG":
        raise ValueError(
            f"an image of format {form!r}, expected '16UC1; compressedDepth png'. Convert it when recording"
        )
    return data[_DEPTH_HEADER:]


def image_pixels(message: Any, *, as_recorded: bool = False) -> np.ndarray:
    """Convert a sensor_msgs/Image to an array, without the padding of its rows.

    Args:
      message: the message.
      as_recorded: whether the channels stay in the recorded order. Otherwise they become RGB or RGBA.

    Returns:
      (H, W, C): uint8 with 3 channels for rgb8, bgr8 and 8UC3, 4 for rgba8, bgra8 and 8UC4, and 1 for mono8 and 8UC1;
      uint16 with 1 for mono16 and 16UC1; float32 with 1 for 32FC1.

    Raises:
      ValueError: the encoding is another one, or does not tell the order of its colours and `as_recorded` is false;
        height or width is 0; the data are not `height` rows of `step` bytes; or `step` is too small for `width` pixels.
    """
    if message.encoding not in _ENCODINGS:
        known = ", ".join(_ENCODINGS)
        raise ValueError(
            f"an image of encoding {message.encoding!r}, expected one of {known}. Convert it when recording"
        )
    kind, channels, order = _ENCODINGS[message.encoding]
    if order is None and not as_recorded:
        raise ValueError(
            f"an image of encoding {message.encoding!r}, which does not tell the order of its colours. Name the field "
            "as bgr_to_rgb(TOPIC) or rgb(TOPIC)"
        )
    dtype = np.dtype(kind).newbyteorder(">" if message.is_bigendian else "<")
    height, width, step = message.height, message.width, message.step
    row = width * channels * dtype.itemsize
    if not height or not width or step < row or len(message.data) != height * step:
        raise ValueError(
            f"an image of {len(message.data)} bytes, expected {height} rows of {step} bytes with {width} pixels of "
            f"{message.encoding}"
        )
    rows = np.frombuffer(message.data, np.uint8).reshape(height, step)
    pixels = np.ascontiguousarray(rows[:, :row]).view(dtype).reshape(height, width, channels)
    if not as_recorded and order is not None:
        pixels = pixels[..., order[:channels]]
    return pixels.astype(dtype.newbyteorder("="))


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
