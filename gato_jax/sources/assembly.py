"""Assembly and validation of episodes from the columns of a recording. Damaged data raise EpisodeRejected."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import PIL.Image

from gato_jax.episodes import Continuous, Discrete, Episode, Image, Modality, Provenance, Text
from gato_jax.sources.fields import Fields, split_path
from gato_jax.sources.reader import EpisodeRejected

ReadField = Callable[[str], Any]


def assemble(
    fields: Fields,
    read_field: ReadField,
    location: str,
    *,
    provenance: Provenance | None = None,
    step_flags: Sequence[str] = (),
    final_observation: bool = False,
) -> Episode:
    """Build an episode of T steps from the columns of a recording, and validate every value.

    Every step holds an action that was taken, except for the last step if `final_observation` is set. Without a reward
    field all rewards are 0. Limits of continuous values are not checked.

    Args:
      fields: the fields to read and their modalities.
      read_field: returns the T values of a field, given its name without a slice such as `[0:6]`, or a single string
        that holds for all steps. Images are a (T, H, W, C) uint8 array, or T arrays of (H, W, C), or T encoded files.
        It raises KeyError if the recording has no such field, and the episode is then rejected.
      location: file and number of the episode, the beginning of error messages.
      provenance: provenance of this episode. Default: that of `fields`.
      step_flags: those of `discount`, `is_first`, `is_last` and `is_terminal` that the recording stores as fields of
        these names. The others are derived on the assumption that the last step is terminal.
      final_observation: whether the last step holds an observation and no action. It is ignored if a recorded `is_last`
        is false there.

    Raises:
      EpisodeRejected: a field is missing or has the wrong type or shape, a value is not finite, an image cannot be
        decoded or has the wrong size, time does not increase, a flag marks an episode border inside the episode,
        there are no steps, or all fields are constant texts.
    """

    def read(path: str) -> Any:
        name, part = split_path(path)
        try:
            values = read_field(name)
        except KeyError as error:
            raise EpisodeRejected(
                location, f"it has no field {name!r} ({error.args[0] if error.args else ''})"
            ) from None
        if part is None:
            return values
        if (values := np.asarray(values)).ndim != 2 or values.shape[1] < part.stop:
            raise EpisodeRejected(location, f"field {path!r} is out of range for a column of shape {values.shape}")
        return values[:, part]

    sides: dict[str, dict[str, np.ndarray]] = {"observation": {}, "action": {}}
    constant_texts: list[tuple[str, str, Any]] = []  # (side, key, text), repeated once T is known
    for side, arrays in sides.items():
        for key, (path, modality) in getattr(fields, side).items():
            values, label = read(path), f"{side} {key!r} (field {path!r})"
            if isinstance(values, (str, bytes)) and isinstance(modality, Text):
                constant_texts.append((side, key, values))
                continue
            size = fields.recorded_sizes.get(key)
            arrays[key] = to_array(values, modality, label, location, size)
    counts = {f"{side} {key!r}": len(values) for side, arrays in sides.items() for key, values in arrays.items()}
    if not counts:
        raise EpisodeRejected(location, "its fields are all constant texts, so the number of steps is unknown")
    steps = next(iter(counts.values()))
    if len(set(counts.values())) > 1:
        lengths = ", ".join(f"{count} of {key}" for key, count in counts.items())
        raise EpisodeRejected(location, f"its columns have different lengths: {lengths}")
    if steps == 0:
        raise EpisodeRejected(location, "it has no steps")
    for side, key, text in constant_texts:
        one = to_array([text], getattr(fields, side)[key][1], f"{side} {key!r}", location)
        sides[side][key] = np.repeat(one, steps)
    if fields.timestamps is not None:
        require_increasing(np.asarray(read(fields.timestamps)), steps, location)
    reward = np.zeros(steps, np.float32)
    if fields.reward is not None:
        reward = to_array(read(fields.reward), Continuous(shape=()), f"reward (field {fields.reward!r})", location)
        if len(reward) != steps:
            raise EpisodeRejected(location, f"it has {len(reward)} rewards, expected {steps}, one for each step")
    flags = _step_flags({name: read(name) for name in step_flags}, steps, location)
    return Episode(
        task=fields.spec.name,
        observation=sides["observation"],
        action=sides["action"],
        reward=reward,
        discount=flags["discount"],
        is_first=flags["is_first"],
        is_last=flags["is_last"],
        is_terminal=flags["is_terminal"],
        final_observation=final_observation and bool(flags["is_last"][-1]),
        provenance=provenance or fields.provenance,
        success=None if fields.success is None else _read_success(read(fields.success), fields.success, location),
    )


def _step_flags(recorded: dict[str, Any], steps: int, location: str) -> dict[str, np.ndarray]:
    """Return `discount` (T,) float32 and `is_first`, `is_last` and `is_terminal` (T,) bool of an episode.

    A flag that is not recorded is true at the first step, or at the last step for `is_last` and `is_terminal`. A
    discount that is not recorded is 0 at a terminal step and 1 at all others.

    Args:
      recorded: {name: T values} of those of the four that the recording stores.
      steps: number of steps T.
      location: file and number of the episode.

    Raises:
      EpisodeRejected: a flag has the wrong length, or is true at a step that is not at its end of the episode.
    """
    first, last = np.arange(steps) == 0, np.arange(steps) == steps - 1
    flags = {"is_first": first, "is_last": last, "is_terminal": last}
    for name in flags.keys() & recorded.keys():
        array = to_array(recorded[name], Discrete(n=2), name, location).astype(bool)
        if len(array) != steps:
            raise EpisodeRejected(location, f"it has {len(array)} values of {name}, expected {steps}")
        if (inside := array & ~flags[name]).any():
            raise EpisodeRejected(
                location, f"{name} is true at step {int(inside.argmax())} of {steps}, which is inside the episode"
            )
        flags[name] = array
    discount = recorded.get("discount", (~flags["is_terminal"]).astype(np.float32))
    discount = to_array(np.reshape(discount, -1), Continuous(shape=()), "discount", location)
    if len(discount) != steps:
        raise EpisodeRejected(location, f"it has {len(discount)} values of discount, expected {steps}")
    return {"discount": discount, **flags}


def to_array(
    values: Any, modality: Modality, label: str, location: str, recorded_size: tuple[int, int] | None = None
) -> np.ndarray:
    """Convert T recorded values to the array that an episode holds for a modality.

    Images are resized to the size of the modality. Continuous values may be integers or booleans, and their limits are
    not checked. Discrete values must be integers or booleans in [0, n). Shape (T,) is accepted for a vector of size 1.

    Args:
      values: T numbers, arrays, strings, UTF-8 bytes or encoded images.
      modality: the modality to convert to and to validate against.
      label: name of the field in error messages.
      location: file and number of the episode.
      recorded_size: height and width that every recorded image must have. Default: those of the first image.

    Returns:
      (T, *shape) float32 for Continuous, (T, *shape) int64 for Discrete, (T, height, width, channels) uint8 for Image,
      (T,) object array of strings for Text.

    Raises:
      EpisodeRejected: `values` is a single value, or one of them has the wrong type or shape, is not finite, or is not
        in [0, n).
    """
    several = np.iterable(values) and not isinstance(values, (str, bytes))
    if not several:
        raise EpisodeRejected(location, f"{label} is the single value {values!r:.40}, expected one for each step")
    match modality:
        case Text():
            return _to_texts(list(values), label, location)
        case Image():
            return _to_images(values, modality, label, location, recorded_size)
    array = np.asarray(values)
    kinds = "biu" if isinstance(modality, Discrete) else "fiub"
    if array.dtype.kind not in kinds:
        expected = "integers" if isinstance(modality, Discrete) else "numbers"
        raise EpisodeRejected(location, f"{label} has type {array.dtype}, expected {expected}")
    if array.shape[1:] != modality.shape and not (array.ndim == 1 and modality.shape == (1,)):
        raise EpisodeRejected(location, f"{label} has shape {array.shape[1:]} at each step, expected {modality.shape}")
    array = array.reshape(len(array), *modality.shape)
    if isinstance(modality, Discrete):
        array = array.astype(np.int64)
        if (wrong := (array < 0) | (array >= modality.n)).any():
            step, value = int(np.argwhere(wrong)[0][0]), array[wrong][0]
            raise EpisodeRejected(location, f"{label} is {value} at step {step}, expected a value in [0, {modality.n})")
        return array
    with np.errstate(over="ignore"):  # an overflow becomes infinite, and is rejected below
        array = array.astype(np.float32)
    if not (finite := np.isfinite(array)).all():
        step, value = int(np.argwhere(~finite)[0][0]), array[~finite][0]
        raise EpisodeRejected(location, f"{label} is {value} at step {step}, expected a finite number")
    return array


def require_increasing(times: np.ndarray, steps: int, location: str):
    """Raise EpisodeRejected unless `times` holds one finite number for each step, strictly increasing.

    Args:
      times: times of the steps, (T,), in any unit.
      steps: number of steps T.
      location: file and number of the episode.
    """
    if times.shape != (steps,) or times.dtype.kind not in "fiu":
        raise EpisodeRejected(location, f"its times are {times.dtype} of shape {times.shape}, expected {steps} numbers")
    if times.dtype.kind == "f" and not np.isfinite(times).all():
        step = int(np.argmin(np.isfinite(times)))
        raise EpisodeRejected(location, f"time is {times[step]} at step {step}, expected a finite number")
    if (back := times[1:] <= times[:-1]).any():
        step = int(back.argmax())
        raise EpisodeRejected(location, f"time goes from {times[step]} to {times[step + 1]} at step {step + 1}")


def fit_image(image: np.ndarray, modality: Image) -> np.ndarray:
    """Resize an image by area averaging to the size of a modality, in the way that `modality.fit` says.

    An image that has this size already is returned as it is. A smaller one is enlarged.

    Args:
      image: (H, W, C) uint8 with the number of channels of `modality`.
      modality: gives height, width and `fit`: `resize` ignores the aspect ratio; `pad` keeps it and adds black borders;
        `crop` keeps it and cuts off the edges of the longer side.

    Returns:
      (height, width, channels) uint8.
    """
    if image.shape == modality.shape:
        return image
    picture = PIL.Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    size, mean = (modality.width, modality.height), PIL.Image.Resampling.BOX
    scales = modality.width / picture.width, modality.height / picture.height
    if modality.fit == "pad":
        inner = max(round(picture.width * min(scales)), 1), max(round(picture.height * min(scales)), 1)
        canvas = PIL.Image.new(picture.mode, size)  # black
        canvas.paste(picture.resize(inner, mean), ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2))
        return np.asarray(canvas).reshape(modality.shape)
    left, top = 0.0, 0.0
    if modality.fit == "crop":
        left = max(picture.width - modality.width / max(scales), 0.0) / 2
        top = max(picture.height - modality.height / max(scales), 0.0) / 2
    cut = picture.resize(size, mean, box=(left, top, picture.width - left, picture.height - top))
    return np.asarray(cut).reshape(modality.shape)


def _to_images(
    values: Any, modality: Image, label: str, location: str, recorded_size: tuple[int, int] | None
) -> np.ndarray:
    """Decode T images, check that all have one size, and resize them to (T, height, width, channels) uint8.

    Args:
      values: T encoded files or uint8 arrays, (H, W, C), or (H, W) for one channel.
      modality: gives the final size, the number of channels C and the way to resize.
      label: name of the field in error messages.
      location: file and number of the episode.
      recorded_size: H and W that every image must have. Default: those of the first image.

    Raises:
      EpisodeRejected: an image cannot be decoded, or has the wrong type, size or number of channels.
    """
    fitted, size = [], recorded_size
    for step, value in enumerate(values):
        image = decode_image(value, f"{label} at step {step}", location)
        if image.ndim == 2:
            image = image[..., None]
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != modality.channels:
            raise EpisodeRejected(
                location, f"{label} at step {step} is {image.dtype} of shape {image.shape}, expected uint8 of shape "
                f"(height, width, {modality.channels})"
            )  # fmt: skip
        size = size or image.shape[:2]
        if image.shape[:2] != tuple(size):
            raise EpisodeRejected(
                location, f"{label} at step {step} is {image.shape[0]} high and {image.shape[1]} wide, expected "
                f"{size[0]} and {size[1]}"
            )  # fmt: skip
        fitted.append(fit_image(image, modality))
    return np.stack(fitted) if fitted else np.zeros((0, *modality.shape), np.uint8)


def decode_image(value: Any, label: str, location: str) -> np.ndarray:
    """Return an image as an array, decoded if it is the content of an encoded file.

    Args:
      value: the bytes of a PNG, JPEG or similar file, or an array, which is returned as it is, without any check.
      label: name of the image in error messages.
      location: file and number of the episode.

    Returns:
      For an encoded file, (H, W) uint8 if it is an 8-bit grey image, otherwise (H, W, 3) uint8 RGB without alpha.

    Raises:
      EpisodeRejected: the file cannot be decoded.
    """
    if isinstance(value, (bytes, bytearray, memoryview)):
        try:
            with PIL.Image.open(io.BytesIO(value)) as picture:
                return np.asarray(picture if picture.mode in ("L", "RGB") else picture.convert("RGB"))
        except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
            raise EpisodeRejected(location, f"{label} cannot be decoded ({error})") from None
    return np.asarray(value)


def _to_texts(values: Sequence[Any], label: str, location: str) -> np.ndarray:
    """Return T strings or UTF-8 bytes as a (T,) object array of strings, or raise EpisodeRejected for other values."""
    texts = np.empty(len(values), object)
    for step, value in enumerate(values):
        if isinstance(value, bytes):
            try:
                value = value.decode()
            except UnicodeDecodeError as error:
                raise EpisodeRejected(location, f"{label} at step {step} is not UTF-8 ({error})") from None
        if not isinstance(value, str):
            raise EpisodeRejected(location, f"{label} at step {step} is {value!r:.40}, expected text")
        texts[step] = str(value)
    return texts


def _read_success(values: Any, path: str, location: str) -> bool:
    """Return whether the last of the recorded success flags, which is that of the whole episode, is not zero.

    Args:
      values: a boolean or number, or an array of them.
      path: path of the field, for error messages.
      location: file and number of the episode.

    Raises:
      EpisodeRejected: there is no value, the last is NaN, or they are not numbers.
    """
    array = np.asarray(values).reshape(-1)
    if not len(array) or array.dtype.kind not in "biuf" or np.isnan(array[-1]):
        raise EpisodeRejected(location, f"success (field {path!r}) is {values!r:.40}, expected a boolean or a number")
    return bool(array[-1])
