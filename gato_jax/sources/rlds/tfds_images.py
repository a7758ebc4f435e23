"""Images of TFDS datasets, decoded as TFDS decodes them."""

from __future__ import annotations

from typing import Any

import numpy as np

from gato_jax.sources.pixels import decode_image


def is_image(feature: Any) -> bool:
    """Return whether a TFDS feature is an image, whose values are stored as encoded files."""
    return type(feature).__name__ == "Image"


def decode_tfds_image(value: bytes, feature: Any, label: str, location: str) -> np.ndarray:
    """Decode one value of an image feature.

    As TFDS does, a grey file of a feature with three channels is repeated, an image of float32 is restored from the
    four bytes of each of its numbers, and EXIF orientation is ignored. Unlike TFDS, nothing is cut to 8 bits.

    Args:
      value: The encoded file.
      feature: The `tfds.features.Image`.
      label: Name of the image in error messages.
      location: File and number of the episode.

    Returns:
      (H, W) or (H, W, C) of the type that the file has, or (H, W, 1) float32.

    Raises:
      EpisodeRejected: The file cannot be decoded.
    """
    is_float = np.dtype(feature.np_dtype) == np.float32
    channels = 4 if is_float else feature.shape[-1] or 3
    image = decode_image(value, label, location, channels=channels, upright=False)
    if is_float and image.dtype == np.uint8 and image.shape[2:] == (4,):
        return np.ascontiguousarray(image).view(np.float32)
    return np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 and channels == 3 else image
