"""Images as arrays: lossless decoding of image files, turned upright, and resizing to the size of a modality."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import PIL.ExifTags
import PIL.Image

from gato_jax.episodes import Image
from gato_jax.episodes.errors import describe_error
from gato_jax.episodes.image_fit import fit_pixels
from gato_jax.sources.image_sizes import log_image_size
from gato_jax.sources.reader import EpisodeRejected

_WIDE_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")  # Pillow's modes of one channel with more than 8 bits
# EXIF orientation: operation that turns the stored image upright.
_UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: image.swapaxes(0, 1)[:, ::-1],
    7: lambda image: image.swapaxes(0, 1)[::-1, ::-1],
    8: lambda image: image.swapaxes(0, 1)[::-1],
}


def decode_image(value: Any, label: str, location: str, *, channels: int = 3, upright: bool = True) -> np.ndarray:
    """Return an image as an array, decoded if it is the content of an encoded file.

    Nothing is lost: an image of more than 8 bits keeps its type, and one with transparent pixels its alpha channel.
    Palettes and the colour spaces CMYK, YCbCr, LAB and HSV become RGB. Colour profiles and gamma are ignored, as they
    are by Pillow, OpenCV and torchvision. Of an animation, the first image is taken.

    Args:
      value: the bytes of a PNG, JPEG or similar file, or an array, which is returned as it is, without any check.
      label: name of the image in error messages.
      location: file and number of the episode.
      channels: number of channels that is wanted. A file may hold another number. It decides two cases that lose
        nothing either way: an alpha channel that is opaque everywhere is kept only for 2 or 4 channels, and a bilevel
        image is grey for 1 channel, otherwise RGB.
      upright: whether to turn the image as the EXIF orientation of the file says.

    Returns:
      For an encoded file, (H, W) if it is grey, otherwise (H, W, C) with C of 2 (grey, alpha), 3 (RGB) or 4 (RGBA);
      uint8, or a wider type if the file has more than 8 bits in each channel.

    Raises:
      EpisodeRejected: the file cannot be decoded.
    """
    if not isinstance(value, (bytes, bytearray, memoryview)):
        return np.asarray(value)
    content = bytes(value)
    try:
        with PIL.Image.open(io.BytesIO(content)) as picture:
            picture.load()
            bits = _bits_per_channel(picture.format, content)
            pixels = _read_wide_colours(picture, content, bits) if bits > 8 else _read_pixels(picture, channels)
            orientation = picture.getexif().get(PIL.ExifTags.Base.Orientation) if upright else None
    except ImportError:
        raise
    except Exception as error:  # Pillow's plugins raise errors of many types for damaged bytes
        raise EpisodeRejected(location, f"{label} cannot be decoded ({describe_error(error)})") from None
    turn = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return pixels if turn is None else np.ascontiguousarray(turn(pixels))


def _read_pixels(picture: PIL.Image.Image, channels: int) -> np.ndarray:
    """Return the pixels of a loaded image as `decode_image` does, but for files of RGB with more than 8 bits."""
    if picture.mode in _WIDE_MODES:
        return np.asarray(picture)
    if picture.has_transparency_data:
        grey = picture.mode in ("1", "L", "LA", "La")
        pixels = np.asarray(picture if picture.mode in ("LA", "RGBA") else picture.convert("LA" if grey else "RGBA"))
        opaque = channels not in (2, 4) and bool((pixels[..., -1] == 255).all())
        if not opaque:
            return pixels
        pixels = pixels[..., :-1]
        return pixels[..., 0] if grey else pixels
    if picture.mode == "1":
        return np.asarray(picture.convert("L" if channels == 1 else "RGB"))
    return np.asarray(picture if picture.mode in ("L", "RGB") else picture.convert("RGB"))


def _bits_per_channel(kind: str | None, content: bytes) -> int:
    """Return the number of bits in each channel of a colour image that Pillow would cut to 8 without a word.

    It is 8 for all other files, also for grey ones, of which Pillow keeps all bits.

    Args:
      kind: Pillow's name of the format.
      content: the file.
    """
    match kind:
        case "PNG" if content[25] != 0:  # colour type 0 is grey
            return content[24] if content[24] > 8 else 8
        case "TIFF":
            with PIL.Image.open(io.BytesIO(content)) as picture:
                bits = getattr(picture, "tag_v2", {}).get(PIL.ExifTags.Base.BitsPerSample, (8,))
                return max(bits) if len(bits) > 1 else 8
        case "PPM":
            header = re.match(rb"P6(?:\s+|#[^\n]*\n)+\d+(?:\s+|#[^\n]*\n)+\d+(?:\s+|#[^\n]*\n)+(\d+)", content)
            return int(header[1]).bit_length() if header and int(header[1]) > 255 else 8
        case "JPEG2000":
            start = content.find(b"\xff\x4f\xff\x51")  # the SIZ marker; 38 bytes after it comes the first component
            return (content[start + 42] & 0x7F) + 1 if start >= 0 and content[start + 41] > 1 else 8
        case "AVIF":
            start = content.find(b"av1C")
            return 10 if start >= 0 and content[start + 6] & 0x40 else 8
    return 8


def _read_wide_colours(picture: PIL.Image.Image, content: bytes, bits: int) -> np.ndarray:
    """Return the pixels of a PNG of 16 bits in each of several channels, (H, W, C) uint16.

    Raises:
      ValueError: it is a file of another format, or damaged.
    """
    if picture.format != "PNG":
        raise ValueError(f"it has {bits} bits in each of {len(picture.getbands())} channels, expected 8. Convert it")
    import av
    from av.error import FFmpegError

    try:
        with av.open(io.BytesIO(content), "r", format="png_pipe") as container:
            frame = next(container.decode(video=0))
            grey = picture.mode in ("LA", "La")
            pixels = frame.to_ndarray(format="rgba64le" if grey or picture.mode == "RGBA" else "rgb48le")
            return pixels[..., [0, 3]] if grey else pixels
    except (FFmpegError, StopIteration) as error:
        raise ValueError(str(error)) from None


def to_images(
    values: Any,
    modality: Image,
    label: str,
    location: str,
    recorded_size: tuple[int, int] | None,
    task: str | None = None,
) -> np.ndarray:
    """Decode T images, check that all have one size, and resize them to (T, height, width, channels) uint8.

    Args:
      values: T encoded files or uint8 arrays, (H, W, C), or (H, W) for one channel.
      modality: gives the final size, the number of channels C and the way to resize.
      label: name of the field in error messages.
      location: file and number of the episode.
      recorded_size: H and W that every image must have. Default: those of the first image.
      task: name of the task, if the recorded size is to be logged.

    Raises:
      EpisodeRejected: an image cannot be decoded, has the wrong size, is not of 8 bits, or has another number of
        channels than the modality.
    """
    fitted, size = [], recorded_size
    for step, value in enumerate(values):
        image = decode_image(value, f"{label} at step {step}", location, channels=modality.channels)
        if image.ndim == 2:
            image = image[..., None]
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != modality.channels:
            raise EpisodeRejected(
                location, f"{label} at step {step} is {image.dtype} of shape {image.shape}, expected uint8 of shape "
                f"(height, width, {modality.channels}). {_decoder_hint(image, modality)}"
            )  # fmt: skip
        size = size or image.shape[:2]
        if image.shape[:2] != tuple(size):
            raise EpisodeRejected(
                location, f"{label} at step {step} is {image.shape[0]} high and {image.shape[1]} wide, expected "
                f"{size[0]} and {size[1]}"
            )  # fmt: skip
        fitted.append(fit_image(image, modality))
    if task is not None and size is not None:
        log_image_size(f"{task}: {label}", (size[0], size[1]), modality)
    return np.stack(fitted) if fitted else np.zeros((0, *modality.shape), np.uint8)


def _decoder_hint(image: np.ndarray, modality: Image) -> str:
    """Return a sentence that names the decoder for an image of the wrong type or number of channels."""
    channels = image.shape[2] if image.ndim == 3 else 0
    if image.dtype.kind not in "biuf" or not 1 <= channels <= 4:
        return "Name another field."
    form = "PATH"
    if image.dtype != np.uint8:
        form = "depth(PATH, NEAR, FAR)" if channels == 1 else f"scale({form}, FACTOR)"
    if channels in (2, 4) and modality.channels == channels - 1:
        form = f"drop_alpha({form})"
    elif channels == 1 and modality.channels == 3:
        form = f"grey_to_rgb({form})"
    elif channels != modality.channels:
        return f"Declare an image of {channels} channels."
    return f"Name the field as {form} to convert it."


def fit_image(image: np.ndarray, modality: Image) -> np.ndarray:
    """Resize an image by area averaging to the size of a modality, in the way that `modality.fit` says.

    An image that has this size already is returned as it is. A smaller one is enlarged.

    Args:
      image: (H, W, C) uint8 with the number of channels of `modality`.
      modality: gives height, width and `fit`: `resize` ignores the aspect ratio; `pad` keeps it and adds black borders;
        `crop` keeps it and cuts equal parts off both edges of the side that is too long for the final aspect ratio.

    Returns:
      (height, width, channels) uint8.
    """
    return fit_pixels(image, modality.height, modality.width, modality.fit)
