"""Rollouts as animated WebP inside the page, with a playhead on their lower edge."""

from __future__ import annotations

import base64
import dataclasses
import io

import numpy as np
from PIL import Image

_PLAYED, _AHEAD = (224, 122, 60), (150, 146, 140)  # both are seen on light and on dark paper
_LONGEST_SECONDS = 12.0
_FRAMES_A_SECOND = 15


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Setting:
    """One way to encode: `quality` None is lossless."""

    frames: int
    side: int
    quality: int | None


# From best to smallest. Drawn pixels (grid worlds, arcade games) are small without loss; rendered scenes are not.
_SETTINGS = (
    _Setting(frames=120, side=256, quality=None),
    _Setting(frames=120, side=256, quality=75),
    _Setting(frames=90, side=192, quality=60),
    _Setting(frames=60, side=128, quality=45),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Animation:
    """Data URIs of the animation and of a still frame, for readers who asked their system for less motion."""

    moving: str
    still: str
    width: int
    height: int


def animate(frames: np.ndarray, budget_bytes: int) -> Animation:
    """The frames, uint8 (T, H, W, 3), as a loop of at most `budget_bytes`, or as small as the last setting makes it."""
    for setting in _SETTINGS:
        images = _prepare(frames, setting)
        encoded = _encode(images, setting.quality)
        if len(encoded) <= budget_bytes:
            break
    still = io.BytesIO()
    images[len(images) // 2].save(still, "WEBP", quality=80)
    width, height = images[0].size
    return Animation(moving=_data_uri(encoded), still=_data_uri(still.getvalue()), width=width, height=height)


def _prepare(frames: np.ndarray, setting: _Setting) -> list[Image.Image]:
    """Few and small enough frames, evenly in time. Small ones stay small: the page enlarges them, pixel by pixel."""
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(len(frames), setting.frames)).round().astype(int))
    return [_with_playhead(frames[t], t / max(1, len(frames) - 1), setting.side) for t in chosen]


def _with_playhead(frame: np.ndarray, done: float, side: int) -> Image.Image:
    """The frame over a line that fills as the episode goes on; in the picture it cannot lose step with it."""
    image = Image.fromarray(frame)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    pixels = np.asarray(image)
    line = np.empty((max(1, image.width // 64), image.width, 3), np.uint8)
    line[:] = _AHEAD
    line[:, : round(done * image.width)] = _PLAYED
    return Image.fromarray(np.concatenate([pixels, line]))


def _encode(images: list[Image.Image], quality: int | None) -> bytes:
    milliseconds = round(min(1000 / _FRAMES_A_SECOND, 1000 * _LONGEST_SECONDS / len(images)))
    duration = [milliseconds] * (len(images) - 1) + [900]  # the outcome stays for a moment before the loop
    how = {"lossless": True, "quality": 40} if quality is None else {"quality": quality, "minimize_size": True}
    buffer = io.BytesIO()
    images[0].save(buffer, "WEBP", save_all=True, append_images=images[1:], duration=duration, loop=0, method=3, **how)
    return buffer.getvalue()


def _data_uri(encoded: bytes) -> str:
    return "data:image/webp;base64," + base64.b64encode(encoded).decode("ascii")
