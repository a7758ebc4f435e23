"""Named conversions of recorded fields, written around the path of a field: `bgr_to_rgb(observation/image)`."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import PIL.Image

_CALL = re.compile(r"(?P<name>\w+)\((?P<path>.+)\)")


def _to_picture(value: Any) -> PIL.Image.Image:
    """Convert the bytes of an encoded image, or a uint8 array (H, W), (H, W, 1) or (H, W, 3), to a Pillow image."""
    return PIL.Image.open(io.BytesIO(value)) if isinstance(value, bytes) else PIL.Image.fromarray(np.squeeze(value))


def _grey_to_rgb(values: Any) -> list[np.ndarray]:
    """Repeat the channel of T grey images three times, because the patches of the model have three channels.

    Images are encoded files or arrays; the results are (H, W, 3) uint8.
    """
    return [np.asarray(_to_picture(value).convert("RGB")) for value in values]


def _bgr_to_rgb(values: Any) -> list[np.ndarray]:
    """Exchange the red and blue channels of T images.

    Images are encoded files or arrays; the results are (H, W, 3) uint8.
    """
    return [np.asarray(_to_picture(value).convert("RGB"))[..., ::-1] for value in values]


def _code_points_to_text(values: Any) -> list[str]:
    """Turn integers, (T, n), into T texts: each row holds the code points of a text, padded with zeros."""
    return ["".join(map(chr, row[row > 0].tolist())) for row in np.asarray(values)]


def _to_scalars(values: Any) -> np.ndarray:
    """Reshape an array (T, 1) to (T,)."""
    return np.asarray(values).reshape(-1)


DECODERS: dict[str, Callable[[Any], Any]] = {
    "bgr_to_rgb": _bgr_to_rgb,
    "code_points": _code_points_to_text,
    "grey_to_rgb": _grey_to_rgb,
    "scalar": _to_scalars,
}


def split_decoder(path: str) -> tuple[str | None, str]:
    """Split a path such as `bgr_to_rgb(observation/image)` into the name of its decoder, or None, and the field.

    The name need not be one of DECODERS.
    """
    if (call := _CALL.fullmatch(path)) is None:
        return None, path
    return call["name"], call["path"]
