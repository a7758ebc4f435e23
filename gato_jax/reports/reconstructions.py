"""A picture of images next to their reconstructions by an image tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from gato_jax.tokenization.image_tokenizer import ImageTokenizer


def write_reconstructions(tokenizer: ImageTokenizer, images: Sequence[np.ndarray], path: Path, count: int = 8):
    """Write a picture of `count` of the images side by side, each above its reconstruction.

    All are drawn as squares of the tokenizer's side, enlarged four times.

    Args:
      tokenizer: the tokenizer, which encodes each image as codes and decodes it again.
      images: uint8 (height, width, 3); the ones shown are spread evenly over the sequence, with repetitions if there
        are fewer than `count`.
      path: the picture to write, in a folder that exists; its suffix, such as .png, selects the format.
      count: number of images to show.
    """
    shown = [images[i] for i in np.linspace(0, len(images) - 1, count).astype(int)]
    reconstructed = [tokenizer.decode(tokenizer.encode(image)) for image in shown]
    side = tokenizer.config.side
    original = [np.asarray(Image.fromarray(image).resize((side, side))) for image in shown]
    drawn = np.concatenate([np.concatenate(row, axis=1) for row in (original, reconstructed)])
    Image.fromarray(drawn).resize((4 * drawn.shape[1], 4 * drawn.shape[0]), Image.Resampling.NEAREST).save(path)
