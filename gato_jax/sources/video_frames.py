"""Decoded video frames as arrays: upright, and with all bits that were recorded."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

_ONE = 1 << 16  # 1.0 in the fixed point numbers of a display matrix


class FrameConverter:
    """Converter of the decoded frames of one video stream to arrays, turned as the display matrix says.

    The colour matrix and range that the stream declares are applied, as FFmpeg does. Pixels that are not square stay
    so, and transfer functions such as those of HDR are ignored, as they are by OpenCV and by LeRobot's reader.

    The display matrix is read from the first frame, and again when the angle that it stands for changes. Reading it
    puts a frame of PyAV into a reference cycle, which keeps the pixels and threads of the frame until the next
    collection of garbage: were it read from each frame, hundreds of frames would be held.
    """

    def __init__(self):
        self._angle: int | None = None
        self._matrix = (1.0, 0.0, 0.0, 1.0)

    def to_pixels(self, frame: Any) -> np.ndarray:
        """Return the pixels of the next frame of the stream.

        Args:
          frame: `av.VideoFrame`.

        Returns:
          (H, W, 3) uint8 RGB; (H, W, 4) uint8 RGBA if the format has an alpha channel; (H, W, 3) uint16 RGB if it has
          more than 8 bits in each channel, scaled to 16; or (H, W) uint16 as recorded if it is then grey.

        Raises:
          ValueError: the display matrix is neither a rotation by a multiple of 90 degrees nor a mirror image of one, or
            the format cannot be converted.
        """
        components = frame.format.components
        if max(component.bits for component in components) <= 8:
            pixels = frame.to_ndarray(format="rgba" if any(one.is_alpha for one in components) else "rgb24")
        elif len(components) == 1:
            pixels = frame.to_ndarray()
        else:
            pixels = frame.to_ndarray(format="rgb48le")
        if frame.rotation != self._angle:
            self._angle, self._matrix = frame.rotation, _display_matrix(frame)
        return _turn(pixels, self._matrix)


def _display_matrix(frame: Any) -> tuple[float, float, float, float]:
    """Return (a, b, c, d) of a frame's display matrix: a pixel at column x, row y is shown at a x + c y, b x + d y.

    Translations are left out. It is (1, 0, 0, 1) for a frame without a matrix.
    """
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX":
            a, b, _, c, d, *_ = struct.unpack("=9i", bytes(data))
            return a / _ONE, b / _ONE, c / _ONE, d / _ONE
    return 1.0, 0.0, 0.0, 1.0


def _turn(pixels: np.ndarray, matrix: tuple[float, float, float, float]) -> np.ndarray:
    """Rotate and mirror an image, (H, W, ...), as a display matrix says; raise ValueError for any other angle."""
    a, b, c, d = matrix
    if b == c == 0 and abs(a) == abs(d) == 1:
        across, down = a, d
    elif a == d == 0 and abs(b) == abs(c) == 1:
        pixels, across, down = pixels.swapaxes(0, 1), c, b
    else:
        raise ValueError(f"its display matrix is {matrix}, expected a rotation by a multiple of 90 degrees")
    return np.ascontiguousarray(pixels[:: int(down), :: int(across)])
