"""Codecs of images as patches (paper, section 2.1) or as codes of an image tokenizer (RoboCat, arXiv 2306.11706)."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from gato_jax.episodes import Image
from gato_jax.tokenization.codecs.values import TokenizationError

PATCH_POSITIONS = 128  # number of row and column positions within an image (paper, appendix C.3)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageCodec:
    """Codec of images as non-overlapping square patches in raster order, exact up to fitting the image to the patches.

    Patches are uint8; the model scales their pixels to [-1, 1] and divides them by sqrt(patch). Construction raises
    TokenizationError unless images are RGB and hold at least one patch.

    Attributes:
      modality: height, width and fit of the images.
      patch: side of a patch in pixels.
    """

    modality: Image
    patch: int = 16

    def __post_init__(self):
        _require_rgb(self.modality)
        if 0 not in self.grid:
            return
        raise TokenizationError(
            f"an image of {self.modality.shape} cropped to patches of {self.patch} is empty; use fit='resize'"
        )

    @property
    def grid(self) -> tuple[int, int]:
        """Numbers of rows and columns of patches, rounded down for fit=crop and up for fit=pad and fit=resize."""
        height, width, _ = self.modality.shape
        if self.modality.fit == "crop":
            return height // self.patch, width // self.patch
        return -(-height // self.patch), -(-width // self.patch)

    @property
    def token_count(self) -> int:
        """Number of patches of one image."""
        return self.grid[0] * self.grid[1]

    @property
    def intervals(self) -> np.ndarray:
        """Row interval [low, high) and column interval [low, high) of each patch, (token_count, 4) int32.

        Height and width of an image are 128 positions each, and edges of patches are rounded to the nearest position.
        """
        rows, columns = self.grid
        row = np.rint(np.arange(rows + 1) * PATCH_POSITIONS / rows).astype(np.int32)
        column = np.rint(np.arange(columns + 1) * PATCH_POSITIONS / columns).astype(np.int32)
        r, c = np.divmod(np.arange(rows * columns), columns)
        return np.stack([row[r], row[r + 1], column[c], column[c + 1]], -1)

    def encode(self, images: npt.ArrayLike) -> np.ndarray:
        """Encode images (..., height, width, 3) uint8 as patches (..., token_count, patch, patch, 3) uint8.

        Raises:
          TokenizationError: the images are not uint8 or not of the modality's shape.
        """
        images = _require_pixels(images, self.modality)
        (rows, columns), p = self.grid, self.patch
        fitted = fit_image(images, rows * p, columns * p, self.modality.fit)
        lead = images.shape[:-3]
        tiles = fitted.reshape(*lead, rows, p, columns, p, 3).swapaxes(-4, -3)
        return tiles.reshape(*lead, rows * columns, p, p, 3)

    def decode(self, patches: np.ndarray) -> np.ndarray:
        """Decode patches (..., token_count, patch, patch, 3) to images (..., rows*patch, columns*patch, 3).

        They keep the size to which they were cropped, padded or resized, which may not be that of the modality.
        """
        (rows, columns), p = self.grid, self.patch
        lead = patches.shape[:-4]
        tiles = patches.reshape(*lead, rows, columns, p, p, 3).swapaxes(-4, -3)
        return tiles.reshape(*lead, rows * p, columns * p, 3)


@runtime_checkable
class ImageTokenizer(Protocol):
    """Protocol of a trained tokenizer of images, which tokenization/image_tokenizer.py implements."""

    @property
    def config(self) -> Any:
        """Config with `codes`, the number of codes, and `token_count`, the codes of one image."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hexadecimal digits that identify config and params."""
        ...

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Encode images (..., height, width, 3) uint8 as int32 codes (..., grid*grid)."""
        ...

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Decode codes (..., grid*grid) to images (..., side, side, 3) uint8."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class CodeCodec:
    """Lossy codec of images as codes of a trained tokenizer, in a range of ids of their own.

    The tokenizer resizes images to its own square. Before that, an image whose fit is `pad` is padded to a square,
    below or to the right, and one whose fit is `crop` is cropped to a square at its centre, so neither is distorted.

    Attributes:
      modality: height, width and fit of the images.
      tokenizer: the trained tokenizer.
      first_id: id of code 0.
    """

    modality: Image
    tokenizer: ImageTokenizer
    first_id: int

    def __post_init__(self):
        _require_rgb(self.modality)

    @property
    def token_count(self) -> int:
        """Number of codes of one image."""
        return self.tokenizer.config.token_count

    @property
    def token_range(self) -> tuple[int, int]:
        """Range [low, high) of ids."""
        return self.first_id, self.first_id + self.tokenizer.config.codes

    def encode(self, images: npt.ArrayLike) -> np.ndarray:
        """Encode images (..., height, width, 3) uint8 as int32 ids (..., token_count), in raster order.

        Raises:
          TokenizationError: the images are not uint8 or not of the modality's shape.
        """
        images, (height, width, _) = _require_pixels(images, self.modality), self.modality.shape
        if (fit := self.modality.fit) != "resize":
            side = max(height, width) if fit == "pad" else min(height, width)
            images = fit_image(images, side, side, fit)
        return self.tokenizer.encode(images) + np.int32(self.first_id)

    def decode(self, ids: np.ndarray) -> np.ndarray:
        """Decode ids (..., token_count) to the tokenizer's square reconstructions (..., side, side, 3) uint8.

        They are not resized to the modality's height and width.

        Raises:
          TokenizationError: ids are not all image codes.
        """
        low, high = self.token_range
        if ((ids < low) | (ids >= high)).any():
            raise TokenizationError(f"ids {ids} are not all image codes {self.token_range}")
        return self.tokenizer.decode(ids - np.int32(low))


def fit_image(images: np.ndarray, height: int, width: int, fit: str) -> np.ndarray:
    """Fit images (..., H, W, 3) uint8 to (..., height, width, 3); those of this size are returned as they are.

    Args:
      images: uint8 images.
      height: new height in pixels, at most H to crop and at least H to pad.
      width: new width in pixels, at most W to crop and at least W to pad.
      fit: `crop` at the centre, `pad` with zeros below and to the right, or `resize` by the mean over areas.
    """
    if images.shape[-3:-1] == (height, width):
        return images
    if fit == "crop":
        top, left = (images.shape[-3] - height) // 2, (images.shape[-2] - width) // 2
        return images[..., top : top + height, left : left + width, :]
    if fit == "pad":
        pad = [(0, 0)] * (images.ndim - 3) + [(0, height - images.shape[-3]), (0, width - images.shape[-2]), (0, 0)]
        return np.pad(images, pad)
    from PIL import Image as Pillow

    flat = images.reshape(-1, *images.shape[-3:])
    resized = np.empty((len(flat), height, width, 3), np.uint8)
    for number, image in enumerate(flat):
        resized[number] = np.asarray(Pillow.fromarray(image).resize((width, height), Pillow.Resampling.BOX))
    return resized.reshape(*images.shape[:-3], height, width, 3)


def _require_rgb(modality: Image):
    if modality.channels != 3:
        raise TokenizationError(f"an image needs 3 channels, got {modality.channels}; convert it to RGB")


def _require_pixels(images: npt.ArrayLike, modality: Image) -> np.ndarray:
    try:
        images = np.asarray(images)
    except (ValueError, TypeError) as error:
        raise TokenizationError(f"not an array ({error}); give pixels of shape {modality.shape}") from None
    if images.dtype != np.uint8 or images.shape[-3:] != modality.shape:
        raise TokenizationError(
            f"an image must be uint8 of shape {modality.shape}, got {images.dtype} of {images.shape[-3:]}"
        )
    return images
