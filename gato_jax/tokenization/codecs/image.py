"""Images: patches (paper, section 2.1), or the codes of a trained image tokenizer (RoboCat, arXiv 2306.11706)."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from gato_jax.episodes import Image
from gato_jax.tokenization.codecs.values import TokenizationError

PATCH_POSITIONS = 128  # vocabulary of within-image positions (paper, appendix C.3)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageCodec:
    """Images to non-overlapping square patches in raster order. Exact, once an image has been fitted to the patch.

    Patches stay uint8 until the device; there the model scales pixels to [-1, 1] and divides by sqrt(patch).
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
        """Rows and columns of patches."""
        height, width, _ = self.modality.shape
        if self.modality.fit == "crop":
            return height // self.patch, width // self.patch
        return -(-height // self.patch), -(-width // self.patch)

    @property
    def token_count(self) -> int:
        return self.grid[0] * self.grid[1]

    @property
    def intervals(self) -> np.ndarray:
        """(token_count, 4) int32: row and column interval [low, high) of each patch, of 128 (appendix C.3)."""
        rows, columns = self.grid
        row = np.rint(np.arange(rows + 1) * PATCH_POSITIONS / rows).astype(np.int32)
        column = np.rint(np.arange(columns + 1) * PATCH_POSITIONS / columns).astype(np.int32)
        r, c = np.divmod(np.arange(rows * columns), columns)
        return np.stack([row[r], row[r + 1], column[c], column[c + 1]], -1)

    def encode(self, images: npt.ArrayLike) -> np.ndarray:
        """(..., height, width, 3) uint8 to (..., token_count, patch, patch, 3) uint8."""
        images = _require_pixels(images, self.modality)
        (rows, columns), p = self.grid, self.patch
        fitted = fit_image(images, rows * p, columns * p, self.modality.fit)
        lead = images.shape[:-3]
        tiles = fitted.reshape(*lead, rows, p, columns, p, 3).swapaxes(-4, -3)
        return tiles.reshape(*lead, rows * columns, p, p, 3)

    def decode(self, patches: np.ndarray) -> np.ndarray:
        """(..., token_count, patch, patch, 3) to the fitted image (..., rows*patch, columns*patch, 3)."""
        (rows, columns), p = self.grid, self.patch
        lead = patches.shape[:-4]
        tiles = patches.reshape(*lead, rows, columns, p, p, 3).swapaxes(-4, -3)
        return tiles.reshape(*lead, rows * p, columns * p, 3)


@runtime_checkable
class ImageTokenizer(Protocol):
    """A trained tokenizer of images, as tokenization/image_tokenizer.py has it."""

    @property
    def config(self) -> Any: ...

    @property
    def fingerprint(self) -> str: ...

    def encode(self, images: np.ndarray) -> np.ndarray:
        """(..., height, width, 3) uint8 to (..., grid*grid) int32 codes."""
        ...

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """(..., grid*grid) codes to (..., side, side, 3) uint8."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class CodeCodec:
    """Images to the codes of a trained tokenizer, in an id range of their own. Lossy, as the tokenizer is.

    The tokenizer resizes any image to its own square. An image whose fit is `pad` is padded to a square before, below
    or to the right, and one whose fit is `crop` is cropped to one at its centre, so that neither is distorted.
    """

    modality: Image
    tokenizer: ImageTokenizer
    first_id: int

    def __post_init__(self):
        _require_rgb(self.modality)

    @property
    def token_count(self) -> int:
        return self.tokenizer.config.token_count

    @property
    def token_range(self) -> tuple[int, int]:
        return self.first_id, self.first_id + self.tokenizer.config.codes

    def encode(self, images: npt.ArrayLike) -> np.ndarray:
        """(..., height, width, 3) uint8 to (..., token_count) int32 ids."""
        images, (height, width, _) = _require_pixels(images, self.modality), self.modality.shape
        if (fit := self.modality.fit) != "resize":
            side = max(height, width) if fit == "pad" else min(height, width)
            images = fit_image(images, side, side, fit)
        return self.tokenizer.encode(images) + np.int32(self.first_id)

    def decode(self, ids: np.ndarray) -> np.ndarray:
        """(..., token_count) ids to the tokenizer's reconstruction of the fitted image, (..., side, side, 3) uint8."""
        low, high = self.token_range
        if ((ids < low) | (ids >= high)).any():
            raise TokenizationError(f"ids {ids} are not all image codes {self.token_range}")
        return self.tokenizer.decode(ids - np.int32(low))


def fit_image(images: np.ndarray, height: int, width: int, fit: str) -> np.ndarray:
    """(..., H, W, 3) to (..., height, width, 3): resized, padded below and to the right, or cropped at the centre."""
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
