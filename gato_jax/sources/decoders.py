"""Named conversions of recorded values, written around the path of a field: `depth(observation/depth, 0.2, 5)`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

_ALPHA = {2: 1, 4: 3}  # number of channels with alpha: number without


def _rgb(image: np.ndarray) -> np.ndarray:
    """Return an image as it is; the decoder states that its channels are red, green, blue."""
    return image


def _grey_to_rgb(image: np.ndarray) -> np.ndarray:
    """Repeat the channel of a grey image, (H, W) or (H, W, 1), three times. Images of more channels stay."""
    image = image[..., None] if image.ndim == 2 else image
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image


def bgr_to_rgb(image: np.ndarray) -> np.ndarray:
    """Exchange red and blue of an image of 3 channels, or of 4, whose last is alpha. A grey image becomes RGB.

    Raises:
      ValueError: the image has another number of channels.
    """
    image = _grey_to_rgb(image)
    if image.shape[2] not in (3, 4):
        raise ValueError(f"it has {image.shape[2]} channels, expected 3 or 4")
    return image[..., [2, 1, 0, 3][: image.shape[2]]]


def _drop_alpha(image: np.ndarray) -> np.ndarray:
    """Drop the last channel of an image of 2 or 4 channels. Images of 1 or 3 channels stay.

    Raises:
      ValueError: the image has more than 4 channels.
    """
    if image.ndim == 2 or image.shape[2] in (1, 3):
        return image
    if image.shape[2] not in _ALPHA:
        raise ValueError(f"it has {image.shape[2]} channels, expected at most 4")
    return image[..., : _ALPHA[image.shape[2]]]


def _depth(image: np.ndarray, near: float | int, far: float | int) -> np.ndarray:
    """Map depths linearly to grey: `near` becomes 0, `far` 255, and depths beyond either are clipped.

    A depth of 0 or NaN, by which cameras mark a pixel without a measurement, becomes 0.

    Args:
      image: (H, W) or (H, W, 1) numbers, in the unit of `near` and `far`.
      near: depth that becomes 0.
      far: depth that becomes 255, different from `near`.

    Returns:
      (H, W, 1) uint8.

    Raises:
      ValueError: the image has several channels, or `near` equals `far`.
    """
    image = image[..., None] if image.ndim == 2 else image
    if image.shape[2] != 1 or near == far:
        raise ValueError(f"it has {image.shape[2]} channels and is mapped from {near} to {far}, expected 1 channel and "
                         "two different depths")  # fmt: skip
    depth = image.astype(np.float64)
    measured = (depth != 0) & ~np.isnan(depth)
    share = np.clip((np.where(measured, depth, near) - near) / (far - near), 0.0, 1.0)
    return np.where(measured, np.rint(255 * share), 0).astype(np.uint8)


def _scale_image(image: np.ndarray, factor: float | int) -> np.ndarray:
    """Multiply all channels of an image by `factor` and round them to uint8.

    Raises:
      ValueError: a product is not in [0, 255] when it is rounded.
    """
    scaled = np.rint(image.astype(np.float64) * factor)
    wrong = ~((scaled >= 0) & (scaled <= 255))
    if wrong.any():
        raise ValueError(f"{image[wrong][0]} becomes {scaled[wrong][0]:g}, expected a number from 0 to 255")
    return scaled.astype(np.uint8)


def _numbers(values: Any) -> np.ndarray:
    """Return numbers or booleans as an array, or raise TypeError."""
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"it has type {array.dtype}, expected numbers")
    return array


def _scale_numbers(values: Any, factor: float | int) -> np.ndarray:
    """Multiply numbers by `factor` in float64, for example to turn millimetres into metres."""
    return _numbers(values).astype(np.float64) * factor


def _offset(values: Any, summand: float | int) -> np.ndarray:
    """Add a number, in int64 if it and the values are integers.

    `offset(action, -1)` turns actions that are numbered from 1 to n into 0 to n - 1.
    """
    array = _numbers(values)
    return array.astype(np.int64 if array.dtype.kind in "biu" else np.float64) + summand


def _relative(values: Any) -> np.ndarray:
    """Subtract the value at the first step, exactly if the values are integers.

    Times such as nanoseconds since 1970 need it: float32 rounds them to the same number at all steps.
    """
    array = _numbers(values)
    difference = array - array[:1]
    return difference.astype(np.int64) if array.dtype.kind in "biu" else difference  # unsigned differences wrap


def _code_points_to_text(values: Any) -> list[str]:
    """Turn integers, (T, n), into T texts: each row holds the code points of a text, padded with zeros.

    Numbers of 0 and below are skipped anywhere in a row.
    """
    return ["".join(map(chr, row[row > 0].tolist())) for row in np.asarray(values)]


def _to_scalars(values: Any) -> np.ndarray:
    """Reshape an array (T, 1) to (T,)."""
    return np.asarray(values).reshape(-1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decoder:
    """A named conversion of recorded values.

    Attributes:
      image: converts one decoded image, (H, W) or (H, W, C) of any type, given the arguments. It raises ValueError for
        an image that it does not suit. None if the decoder is not for images.
      column: converts the T values of a field that is no image, given the arguments. It raises ValueError, TypeError or
        OverflowError for values that it does not suit. None if the decoder is for images only.
      arguments: names of the numbers that follow the path.
      removed_axes: number of axes that the value of one step loses.
    """

    image: Callable[..., np.ndarray] | None = None
    column: Callable[..., Any] | None = None
    arguments: tuple[str, ...] = ()
    removed_axes: int = 0


DECODERS: dict[str, Decoder] = {
    "bgr_to_rgb": Decoder(image=bgr_to_rgb),
    "code_points": Decoder(column=_code_points_to_text, removed_axes=1),
    "depth": Decoder(image=_depth, arguments=("near", "far")),
    "drop_alpha": Decoder(image=_drop_alpha),
    "grey_to_rgb": Decoder(image=_grey_to_rgb),
    "offset": Decoder(column=_offset, arguments=("summand",)),
    "relative": Decoder(column=_relative),
    "rgb": Decoder(image=_rgb),
    "scalar": Decoder(column=_to_scalars, removed_axes=1),
    "scale": Decoder(image=_scale_image, column=_scale_numbers, arguments=("factor",)),
}
