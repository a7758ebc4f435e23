"""Animated WebP images of rollouts as data URIs, with a progress line at the lower edge of each frame."""

from __future__ import annotations

import base64
import dataclasses
import io

import numpy as np
from PIL import Image

_PLAYED, _AHEAD = (224, 122, 60), (150, 146, 140)  # visible on a light and on a dark page
_LONGEST_SECONDS = 12.0
_FRAMES_PER_SECOND = 15


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Setting:
    """Settings of one encoding: maximum of frames and of either side in pixels, and WebP quality (None is lossless)."""

    frames: int
    side: int
    quality: int | None


# From the best quality to the smallest file. Grid worlds and arcade games stay small without loss; rendered scenes
# do not.
_SETTINGS = (
    _Setting(frames=120, side=256, quality=None),
    _Setting(frames=120, side=256, quality=75),
    _Setting(frames=90, side=192, quality=60),
    _Setting(frames=60, side=128, quality=45),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Animation:
    """An animation as data URIs, such as `data:image/webp;base64,...`.

    Attributes:
      moving: the animated WebP.
      still: the frame in the middle as WebP, shown to readers whose system asks for reduced motion.
      width, height: size in pixels.
    """

    moving: str
    still: str
    width: int
    height: int


def animate(frames: np.ndarray, budget_bytes: int) -> Animation:
    """Encode frames as an animation that loops, of at most 120 frames with sides of at most 256 pixels.

    Args:
      frames: uint8 (T, H, W, 3) with T >= 1.
      budget_bytes: size limit of the animated WebP, before base64. The settings are tried from the best quality to the
        smallest file until one fits; the last one is used even if it does not fit.
    """
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
    """Return frames (T, H, W, 3) subsampled evenly in time, shrunk to the side of `setting`, with the progress line.

    The first and the last frame are kept. Frames are never enlarged here: the page scales small ones up without
    interpolation.
    """
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(len(frames), setting.frames)).round().astype(int))
    return [_with_progress_line(frames[t], t / max(1, len(frames) - 1), setting.side) for t in chosen]


def _with_progress_line(frame: np.ndarray, done: float, side: int) -> Image.Image:
    """Return the frame above a line of which the share `done`, in [0, 1], is highlighted.

    The frame is shrunk to sides of at most `side` pixels, with its aspect ratio kept. The line is part of the picture
    so that it cannot run out of step with the animation.
    """
    image = Image.fromarray(frame)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    pixels = np.asarray(image)
    line = np.empty((max(1, image.width // 64), image.width, 3), np.uint8)
    line[:] = _AHEAD
    line[:, : round(done * image.width)] = _PLAYED
    return Image.fromarray(np.concatenate([pixels, line]))


def _encode(images: list[Image.Image], quality: int | None) -> bytes:
    """Encode images as an animated WebP that loops, without loss if `quality` is None.

    It shows 15 images a second, more if it would last longer than 12 seconds, and the last one for 0.9 seconds.
    """
    milliseconds = round(min(1000 / _FRAMES_PER_SECOND, 1000 * _LONGEST_SECONDS / len(images)))
    duration = [milliseconds] * (len(images) - 1) + [900]  # ms; the last frame stays visible before the loop
    options = {"lossless": True, "quality": 40} if quality is None else {"quality": quality, "minimize_size": True}
    buffer = io.BytesIO()
    images[0].save(
        buffer, "WEBP", save_all=True, append_images=images[1:], duration=duration, loop=0, method=3, **options
    )
    return buffer.getvalue()


def _data_uri(encoded: bytes) -> str:
    return "data:image/webp;base64," + base64.b64encode(encoded).decode("ascii")
