"""What a recorded field needs before it is an observation or an action, by name: `bgr_to_rgb(observation/image)`."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import PIL.Image

_CALL = re.compile(r"(?P<name>\w+)\((?P<path>.+)\)")


def _picture(value: Any) -> PIL.Image.Image:
    return PIL.Image.open(io.BytesIO(value)) if isinstance(value, bytes) else PIL.Image.fromarray(np.squeeze(value))


def _grey_to_rgb(values: Any) -> list[np.ndarray]:
    """T images of one channel, each repeated three times, as the model's patches have three."""
    return [np.asarray(_picture(value).convert("RGB")) for value in values]


def _bgr_to_rgb(values: Any) -> list[np.ndarray]:
    """T images that were stored with red and blue exchanged."""
    return [np.asarray(_picture(value).convert("RGB"))[..., ::-1] for value in values]


def _code_points(values: Any) -> list[str]:
    """T texts of (T, n) integers, the code points of each, padded with zeros."""
    return ["".join(map(chr, row[row > 0].tolist())) for row in np.asarray(values)]


def _scalar(values: Any) -> np.ndarray:
    """(T,) of (T, 1)."""
    return np.asarray(values).reshape(-1)


DECODERS: dict[str, Callable[[Any], Any]] = {
    "bgr_to_rgb": _bgr_to_rgb,
    "code_points": _code_points,
    "grey_to_rgb": _grey_to_rgb,
    "scalar": _scalar,
}


def split_decoder(path: str) -> tuple[str | None, str]:
    """`bgr_to_rgb(observation/image)` as the decoder's name, None where there is none, and the field."""
    if (call := _CALL.fullmatch(path)) is None:
        return None, path
    return call["name"], call["path"]
