"""Sheet of pictures with captions, which the scripts of this folder draw."""

from __future__ import annotations

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

_COLOURS = 128  # of the palette of the PNG
_INK, _SOFT, _PAPER = "#1b1b1b", "#595959", "#ffffff"


class Sheet:
    """A picture made of square images and captions.

    Args:
      width: Width in pixels.
      height: Height in pixels.
    """

    def __init__(self, width: int, height: int):
        self._picture = Pillow.new("RGB", (width, height), _PAPER)
        self._pen = ImageDraw.Draw(self._picture)
        self._large, self._small = ImageFont.load_default(13), ImageFont.load_default(9.5)

    def paste(self, image: np.ndarray, place: tuple[int, int], side: int):
        """Draw the middle square of an image, `side` pixels wide, with its corner at (left, top)."""
        self._picture.paste(fit_square(image, side), place)

    def write(self, place: tuple[int, int], title: str, task: str, *, below: int, score: str = ""):
        """Write a title at (left, top) and, `below` pixels lower, a task by suite and name, and its score."""
        left, top = place
        suite, _, name = task.partition("/")
        self._pen.text(place, title, _INK, self._large)
        self._pen.text((left, top + below), f"{suite}/\n{name}\n{score}".rstrip(), _SOFT, self._small, spacing=1)

    def quantize(self) -> Pillow.Image:
        """Return the picture with a palette."""
        return self._picture.quantize(_COLOURS)


def fit_square(image: np.ndarray, side: int) -> Pillow.Image:
    """Return the middle square of an image, (height, width, 3) uint8, `side` wide; small images keep sharp pixels."""
    picture = Pillow.fromarray(image)
    middle = min(picture.size)
    left, top = (picture.width - middle) // 2, (picture.height - middle) // 2
    filter = Pillow.Resampling.NEAREST if middle < side // 2 else Pillow.Resampling.LANCZOS
    return picture.crop((left, top, left + middle, top + middle)).resize((side, side), filter)
