"""Images of the size that an agent was trained on, by area averaging.

Imports NumPy and Pillow only: the client for robots contains this file, too, so that a camera is seen in the same way.
"""

from __future__ import annotations

import numpy as np
import PIL.Image


def fit_pixels(image: np.ndarray, height: int, width: int, fit: str = "resize") -> np.ndarray:
    """Resize an image by area averaging.

    An image that has this size already is returned as it is. A smaller one is enlarged.

    Args:
      image: (H, W, C) uint8.
      height: height of the result in pixels.
      width: width of the result in pixels.
      fit: `resize` ignores the aspect ratio; `pad` keeps it and adds black borders; `crop` keeps it and cuts equal
        parts off both edges of the side that is too long for the final aspect ratio.

    Returns:
      (height, width, C) uint8.
    """
    if image.shape[:2] == (height, width):
        return image
    if image.shape[2] not in (1, 3):  # Pillow would weigh the colours of 2 or 4 channels by the last
        channels = [image[..., [channel]] for channel in range(image.shape[2])]
        return np.concatenate([fit_pixels(channel, height, width, fit) for channel in channels], axis=2)
    shape = height, width, image.shape[2]
    picture = PIL.Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    size, mean = (width, height), PIL.Image.Resampling.BOX
    scales = width / picture.width, height / picture.height
    if fit == "pad":
        inner = max(round(picture.width * min(scales)), 1), max(round(picture.height * min(scales)), 1)
        canvas = PIL.Image.new(picture.mode, size)  # black
        canvas.paste(picture.resize(inner, mean), ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2))
        return np.asarray(canvas).reshape(shape)
    left, top = 0.0, 0.0
    if fit == "crop":
        left = max(picture.width - width / max(scales), 0.0) / 2
        top = max(picture.height - height / max(scales), 0.0) / 2
    cut = picture.resize(size, mean, box=(left, top, picture.width - left, picture.height - top))
    return np.asarray(cut).reshape(shape)
