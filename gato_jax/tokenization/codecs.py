"""One codec for each modality: `encode` to token ids (or patches), `decode` back, each the other's inverse to a bound.

All are vectorised: leading axes are kept, a value's own axes are flattened row-major into one axis of tokens.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from gato_jax.episodes import Continuous, Discrete, Image

# The 32,000-piece SentencePiece model of mistral-common (Apache-2.0); see third_party/mistral_tokenizer.
TOKENIZER_MODEL = pathlib.Path(__file__).parents[2] / "third_party" / "mistral_tokenizer" / "tokenizer.model.v1"
PATCH_POSITIONS = 128  # vocabulary of within-image positions (paper, appendix C.3)


class TokenizationError(ValueError):
    """A value that has no exact token; the message names the value and the remedy."""


@functools.cache
def _sentencepiece(model: pathlib.Path):
    import sentencepiece

    if not model.exists():
        raise TokenizationError(f"no SentencePiece model at {model}; restore third_party/mistral_tokenizer")
    return sentencepiece.SentencePieceProcessor(model_file=str(model))


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextCodec:
    """Text to SentencePiece ids, closed by the end-of-text piece, so that a sequence can be read back."""

    model: pathlib.Path = TOKENIZER_MODEL
    end_of_text: int = 2

    def encode(self, text: Any) -> np.ndarray:
        """Ids, (n,) int32."""
        if not isinstance(text, str):
            raise TokenizationError(f"text must be str, got {type(text).__name__} {text!r:.60}")
        ids = _sentencepiece(self.model).encode(text)
        return np.array([*ids, self.end_of_text], np.int32)

    def decode(self, ids: Iterable[int] | np.ndarray) -> str:
        """The text up to the first end-of-text piece."""
        pieces = []
        for token in ids:
            if token == self.end_of_text:
                break
            pieces.append(int(token))
        return _sentencepiece(self.model).decode(pieces)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiscreteCodec:
    """Integers in [0, n) to the ids of the same number."""

    modality: Discrete

    @property
    def token_count(self) -> int:
        return int(np.prod(self.modality.shape, dtype=int))

    @property
    def token_range(self) -> tuple[int, int]:
        return 0, self.modality.n

    def encode(self, values: npt.ArrayLike) -> np.ndarray:
        """(..., *shape) integers to (..., token_count) int32 ids."""
        values = np.asarray(values)
        if not np.issubdtype(values.dtype, np.integer) and values.dtype != np.bool_:
            raise TokenizationError(f"discrete values must be integers, got dtype {values.dtype}")
        outside = (values < 0) | (values >= self.modality.n)
        if outside.any():
            raise TokenizationError(f"discrete value {values[outside].flat[0]} is outside [0, {self.modality.n})")
        return _flatten(values, self.modality.shape).astype(np.int32)

    def decode(self, ids: np.ndarray) -> np.ndarray:
        """(..., token_count) ids to (..., *shape) int32 values; exact."""
        return np.asarray(ids, np.int32).reshape(*np.shape(ids)[:-1], *self.modality.shape)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContinuousCodec:
    """Floats to uniform bins on [-1, 1] (paper, section 2.1 and appendix B).

    Observations are mu-law companded, F(x) = sgn(x) ln(|x| mu + 1) / ln(M mu + 1), and clipped to [-1, 1]. Actions are
    not: they are scaled from the task's own limits to [-1, 1]. Decoding gives the bin's centre.

    Attributes:
      modality: shape, and for actions the finite limits.
      companded: True for observations.
      first_id: id of bin 0.
    """

    modality: Continuous
    companded: bool
    first_id: int = 32_000
    bins: int = 1024
    mu: float = 100.0
    m: float = 256.0

    def __post_init__(self):
        if not self.companded:
            low, high = self._limits
            if not (np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all()):
                raise TokenizationError(f"an action needs finite limits with low < high, got {low} and {high}")

    @property
    def token_count(self) -> int:
        return int(np.prod(self.modality.shape, dtype=int))

    @property
    def token_range(self) -> tuple[int, int]:
        return self.first_id, self.first_id + self.bins

    @property
    def _limits(self) -> tuple[np.ndarray, np.ndarray]:
        return np.asarray(self.modality.low, np.float64), np.asarray(self.modality.high, np.float64)

    def encode(self, values: npt.ArrayLike) -> np.ndarray:
        """(..., *shape) floats to (..., token_count) int32 ids."""
        values = np.asarray(values)
        if values.dtype.kind not in "biuf":
            raise TokenizationError(f"continuous values must be real numbers, got dtype {values.dtype}")
        flat = _flatten(values, self.modality.shape).astype(np.float64)
        if not np.isfinite(flat).all():
            bad = flat[~np.isfinite(flat)].flat[0]
            raise TokenizationError(f"value {bad} is not finite; filter or repair the recording")
        if self.companded:
            unit = np.sign(flat) * np.log(np.abs(flat) * self.mu + 1) / np.log(self.m * self.mu + 1)
        else:
            low, high = self._limits
            unit = (flat - low) / (high - low) * 2 - 1
        bins = np.floor((np.clip(unit, -1, 1) + 1) / 2 * self.bins).astype(np.int32)
        return np.minimum(bins, self.bins - 1) + np.int32(self.first_id)

    def decode(self, ids: np.ndarray) -> np.ndarray:
        """(..., token_count) ids to (..., *shape) float32, the centres of their bins."""
        ids = np.asarray(ids)
        if ((ids < self.first_id) | (ids >= self.first_id + self.bins)).any():
            raise TokenizationError(f"ids {ids} are not all continuous ids {self.token_range}")
        unit = (ids - self.first_id + 0.5) / self.bins * 2 - 1
        if self.companded:
            flat = np.sign(unit) * ((1 + self.m * self.mu) ** np.abs(unit) - 1) / self.mu
        else:
            low, high = self._limits
            flat = (unit + 1) / 2 * (high - low) + low
        return flat.reshape(*ids.shape[:-1], *self.modality.shape).astype(np.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageCodec:
    """Images to non-overlapping square patches in raster order (paper, section 2.1).

    Patches stay uint8 until the device; there the model scales pixels to [-1, 1] and divides by sqrt(patch).
    """

    modality: Image
    patch: int = 16

    def __post_init__(self):
        if self.modality.channels != 3:
            raise TokenizationError(f"an image needs 3 channels, got {self.modality.channels}; convert it to RGB")

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        up = np.floor if self.modality.fit == "crop" else np.ceil
        rows, columns = (int(up(side / self.patch)) for side in self.modality.shape[:2])
        if not rows * columns:
            raise TokenizationError(
                f"an image of {self.modality.shape} cropped to patches of {self.patch} is empty; use resize"
            )
        return rows, columns

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
        """(..., height, width, channels) uint8 to (..., token_count, patch, patch, channels) uint8."""
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.shape[-3:] != self.modality.shape:
            raise TokenizationError(
                f"an image must be uint8 of shape {self.modality.shape}, got {images.dtype} of {images.shape[-3:]}"
            )
        (rows, columns), p = self.grid, self.patch
        fitted = self._fit(images)
        lead, channels = images.shape[:-3], images.shape[-1]
        tiles = fitted.reshape(*lead, rows, p, columns, p, channels).swapaxes(-4, -3)
        return tiles.reshape(*lead, rows * columns, p, p, channels)

    def decode(self, patches: np.ndarray) -> np.ndarray:
        """(..., token_count, patch, patch, channels) to the fitted image (..., rows*patch, columns*patch, channels)."""
        (rows, columns), p = self.grid, self.patch
        lead, channels = patches.shape[:-4], patches.shape[-1]
        tiles = patches.reshape(*lead, rows, columns, p, p, channels).swapaxes(-4, -3)
        return tiles.reshape(*lead, rows * p, columns * p, channels)

    def _fit(self, images: np.ndarray) -> np.ndarray:
        height, width = (side * self.patch for side in self.grid)
        if images.shape[-3:-1] == (height, width):
            return images
        if self.modality.fit == "crop":
            top, left = (images.shape[-3] - height) // 2, (images.shape[-2] - width) // 2
            return images[..., top : top + height, left : left + width, :]
        if self.modality.fit == "pad":
            pad = [(0, 0)] * (images.ndim - 3) + [(0, height - images.shape[-3]), (0, width - images.shape[-2]), (0, 0)]
            return np.pad(images, pad)
        from PIL import Image as Pillow

        flat = images.reshape(-1, *images.shape[-3:])
        resized = [np.asarray(Pillow.fromarray(image).resize((width, height), Pillow.Resampling.BOX)) for image in flat]
        return np.stack(resized).reshape(*images.shape[:-3], height, width, images.shape[-1])


def _flatten(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    lead = values.ndim - len(shape)
    if lead < 0 or values.shape[lead:] != shape:
        raise TokenizationError(f"a value must have shape {shape}, got {values.shape}")
    return values.reshape(*values.shape[:lead], -1)
