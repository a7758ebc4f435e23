"""Decoding of compressed images in messages, whose size is checked before their pixels are decoded."""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image

from gato_jax.serving.wire import WireError

_FORMATS = {"png": "PNG", "jpeg": "JPEG"}
_MODES = {"L": 1, "RGB": 3, "RGBA": 4}  # channels
MAX_PIXELS = 4096 * 4096


def decode_image(kind: str, data: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """Return the pixels of an image, (height, width, channels) uint8.

    Args:
      kind: format of the bytes, `png` or `jpeg`.
      data: the bytes.
      shape: (height, width, channels) that the sender declares.

    Raises:
      WireError: The format is another one, the image is damaged, or its size is not the declared one.
    """
    if kind not in _FORMATS:
        raise WireError(f"cannot read an image: its format is {kind!r:.20}, expected {' or '.join(_FORMATS)}.")
    if len(shape) != 3 or shape[0] * shape[1] > MAX_PIXELS:
        raise WireError(f"cannot read an image: its shape is {shape}, expected (height, width, channels).")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=[_FORMATS[kind]]) as image:  # reads the header only
                found = (image.height, image.width, _MODES.get(image.mode, 0))
                if found != shape:
                    raise WireError(f"cannot read an image: it is {found}, expected {shape}, as its message says.")
                return np.asarray(image).reshape(shape)
    except WireError:
        raise
    except Exception as error:  # Pillow raises many kinds, struct.error and SyntaxError among them
        raise WireError(f"cannot read an image: the {kind} is damaged ({type(error).__name__})") from None
