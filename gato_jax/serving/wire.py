"""Messages in msgpack with NumPy arrays, in the formats of openpi and vla-eval, decoded without trust in the sender.

An array is a map with its bytes, its dtype and its shape. The keys of that map are bytes in openpi's format and text in
vla-eval's; both are read. Dtypes are those of numbers and bools, and nothing is unpickled. The bytes must be as many
as dtype and shape say, which is checked before an array is made, so a message never takes more memory than a small
multiple of its own length.

Imports only msgpack and NumPy: the client for robots contains this file, too.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Mapping
from typing import Any, cast

import msgpack
import numpy as np

MAX_ITEMS = 4096  # of a list; with the depth that msgpack allows, their pointers take at most 32 MB
MAX_KEYS = 1024  # of a map
MAX_AXES = 8
_ARRAY, _SCALAR, _IMAGE = "__ndarray__", "__npgeneric__", "__image__"
_NAMES = ["b1", *(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)), "f2", "f4", "f8"]
_DTYPES = {f"{order}{name}": np.dtype(f"{order}{name}") for name in _NAMES for order in ("<", ">", "|", "=", "")}

ImageDecoder = Callable[[str, bytes, tuple[int, ...]], np.ndarray]


class WireError(ValueError):
    """A message that cannot be read or written; the text names the part of it."""


def pack(message: Mapping[str, Any], *, byte_keys: bool) -> bytes:
    """Return a message as bytes.

    Args:
      message: map of text to numbers, texts, lists, maps and NumPy arrays.
      byte_keys: whether the keys of an array's map are bytes, as in openpi's format, or text, as in vla-eval's.

    Raises:
      WireError: A value has a type that messages do not have, such as an array of objects.
    """

    def convert(value: Any) -> Any:
        if isinstance(value, (np.ndarray, np.generic)) and value.dtype.str not in _DTYPES:
            raise WireError(f"cannot write a message: an array has dtype {value.dtype}, expected numbers or bools.")
        if isinstance(value, np.ndarray):
            fields = {_ARRAY: True, "data": value.tobytes(), "dtype": value.dtype.str, "shape": list(value.shape)}
        elif isinstance(value, np.generic) and byte_keys:
            fields = {_SCALAR: True, "data": value.item(), "dtype": value.dtype.str}
        elif isinstance(value, np.generic):
            return value.item()
        else:
            raise WireError(f"cannot write a message: a value is of {type(value).__name__}, expected an array.")
        return {key.encode(): field for key, field in fields.items()} if byte_keys else fields

    return cast(bytes, msgpack.packb(message, default=convert))


def unpack(data: bytes, *, images: ImageDecoder | None = None) -> dict[str, Any]:
    """Return the message in bytes of either format; arrays are read-only views of the bytes.

    Args:
      data: the bytes.
      images: decoder of compressed images, which takes the format, the bytes and the shape that the sender declares;
        None refuses them.

    Raises:
      WireError: The bytes are not one message, or an array in it is not as its map says.
    """

    def convert(fields: dict) -> Any:
        named = {key.decode("ascii", "replace") if isinstance(key, bytes) else key: key for key in fields}
        if len(named) < len(fields):
            raise WireError("cannot read a message: a map has the same key as text and as bytes.")
        fields = {name: fields[key] for name, key in named.items()}
        if _ARRAY in fields:
            return _read_array(fields)
        if _SCALAR in fields:
            return _read_scalar(fields)
        if _IMAGE in fields:
            return _read_array(fields) if fields.get("format") == "raw" else _read_image(fields, images)
        return fields

    try:
        message = msgpack.unpackb(
            data, object_hook=convert, max_array_len=MAX_ITEMS, max_map_len=MAX_KEYS, max_ext_len=0
        )
    except WireError:
        raise
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise WireError(
            f"cannot read a message: its {len(data)} bytes are not one msgpack value ({reason:.200})"
        ) from None
    if not isinstance(message, dict):
        raise WireError(f"cannot read a message: it is of {type(message).__name__}, expected a map of text to values.")
    return message


def _read_array(fields: Mapping[str, Any]) -> np.ndarray:
    dtype, shape, data = _read_dtype(fields), _read_shape(fields), fields.get("data")
    if not isinstance(data, bytes) or len(data) != math.prod(shape) * dtype.itemsize:
        found = f"{len(data)} bytes" if isinstance(data, bytes) else f"a {type(data).__name__}"
        expected = math.prod(shape) * dtype.itemsize
        raise WireError(
            f"cannot read a message: the data of an array are {found}, expected {expected} bytes for shape {shape} and "
            f"dtype {dtype.str}."
        )
    array = np.frombuffer(data, dtype).reshape(shape)
    return array if dtype.isnative else array.astype(dtype.newbyteorder("="))


def _read_scalar(fields: Mapping[str, Any]) -> Any:
    dtype, value = _read_dtype(fields), fields.get("data")
    if dtype.kind in "iu":
        fits = isinstance(value, int) and np.iinfo(dtype).min <= value <= np.iinfo(dtype).max
    else:
        fits = isinstance(value, bool if dtype.kind == "b" else (int, float))
    if not fits:
        found = reprlib.repr(value)
        raise WireError(f"cannot read a message: a number is {found}, expected one of dtype {dtype.str}.")
    return np.array(value, dtype.newbyteorder("="))[()]


def _read_image(fields: Mapping[str, Any], images: ImageDecoder | None) -> np.ndarray:
    kind, data, shape = fields.get("format"), fields.get("data"), _read_shape(fields)
    if images is None or not isinstance(kind, str) or not isinstance(data, bytes):
        raise WireError(
            f"cannot read a message: an image has format {reprlib.repr(kind)}, expected an array of its pixels."
        )
    return images(kind, data, shape)


def _read_dtype(fields: Mapping[str, Any]) -> np.dtype:
    name = fields.get("dtype")
    if not isinstance(name, str) or name not in _DTYPES:
        raise WireError(
            f"cannot read a message: an array has dtype {reprlib.repr(name)}, expected that of numbers or bools. "
            "Objects and texts in arrays are refused."
        )
    return _DTYPES[name]


def _read_shape(fields: Mapping[str, Any]) -> tuple[int, ...]:
    shape = fields.get("shape")
    if (
        not isinstance(shape, list)
        or len(shape) > MAX_AXES
        or not all(type(n) is int and 0 <= n < 2**31 for n in shape)
    ):
        found = reprlib.repr(shape)
        raise WireError(f"cannot read a message: an array has shape {found}, expected at most {MAX_AXES} sizes.")
    return tuple(shape)
