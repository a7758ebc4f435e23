"""Columns of a recording become an episode, or are refused: nothing that is damaged passes as data."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import PIL.Image

from gato_jax.episodes import Continuous, Discrete, Episode, Image, Modality, Provenance, Text
from gato_jax.sources.fields import Fields, split_path
from gato_jax.sources.reader import EpisodeRejected

Column = Callable[[str], Any]


def assemble(
    fields: Fields,
    column: Column,
    where: str,
    *,
    provenance: Provenance | None = None,
    step_flags: Sequence[str] = (),
    final_observation: bool = False,
) -> Episode:
    """One episode of T steps, each of which acts unless the recording has a final observation.

    Args:
      fields: what is wanted.
      column: the T values of a field, or its one string. Images are (T, H, W, C) uint8, or T of those or encoded files.
        A KeyError says that there is no such field.
      where: file and number of the episode, to begin a message with.
      provenance: of this episode, where it differs from that of the fields.
      step_flags: which of `discount`, `is_first`, `is_last` and `is_terminal` the recording has itself, as fields of
        these names. The others follow from the place in the episode, which is taken to end in a terminal state.
      final_observation: whether a last step that the recording flags as `is_last` holds an observation alone.

    Raises:
      EpisodeRejected: a field is missing or has another type or shape, a value is no finite number, an image cannot be
        decoded or has another size, time goes backwards, an episode begins or ends within it, or there are no steps.
    """

    def read(path: str) -> Any:
        name, part = split_path(path)
        try:
            values = column(name)
        except KeyError as error:
            raise EpisodeRejected(where, f"it has no field {name!r} ({error.args[0] if error.args else ''})") from None
        if part is None:
            return values
        if (values := np.asarray(values)).ndim != 2 or values.shape[1] < part.stop:
            raise EpisodeRejected(where, f"field {path!r} is a part of a column of shape {values.shape}")
        return values[:, part]

    sides: dict[str, dict[str, np.ndarray]] = {"observation": {}, "action": {}}
    late: list[tuple[str, str, Any]] = []  # one string for all steps, whose number is not known yet
    for side, arrays in sides.items():
        for key, (path, modality) in getattr(fields, side).items():
            values, said = read(path), f"{side} {key!r} (field {path!r})"
            if isinstance(values, (str, bytes)) and isinstance(modality, Text):
                late.append((side, key, values))
                continue
            size = fields.recorded_sizes.get(key)
            arrays[key] = to_array(values, modality, said, where, size)
    counts = {f"{side} {key!r}": len(values) for side, arrays in sides.items() for key, values in arrays.items()}
    if not counts:
        raise EpisodeRejected(where, "it has one text for all steps and nothing that says how many there are")
    steps = next(iter(counts.values()))
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{count} of {key}" for key, count in counts.items())
        raise EpisodeRejected(where, f"its columns are of different lengths: {said}")
    if steps == 0:
        raise EpisodeRejected(where, "it has no steps")
    for side, key, text in late:
        one = to_array([text], getattr(fields, side)[key][1], f"{side} {key!r}", where)
        sides[side][key] = np.repeat(one, steps)
    if fields.timestamps is not None:
        require_increasing(np.asarray(read(fields.timestamps)), steps, where)
    reward = np.zeros(steps, np.float32)
    if fields.reward is not None:
        reward = to_array(read(fields.reward), Continuous(shape=()), f"reward (field {fields.reward!r})", where)
        if len(reward) != steps:
            raise EpisodeRejected(where, f"it has {len(reward)} rewards for {steps} steps")
    flags = _flags({name: read(name) for name in step_flags}, steps, where)
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
        success=None if fields.success is None else _last_is_true(read(fields.success), fields.success, where),
    )


def _flags(recorded: dict[str, Any], steps: int, where: str) -> dict[str, np.ndarray]:
    """`discount` (T,) float32 and the three flags (T,) bool of an episode, those that were recorded and the others."""
    first, last = np.arange(steps) == 0, np.arange(steps) == steps - 1
    flags = {"is_first": first, "is_last": last, "is_terminal": last}
    for name in flags.keys() & recorded.keys():
        array = to_array(recorded[name], Discrete(n=2), name, where).astype(bool)
        if len(array) != steps:
            raise EpisodeRejected(where, f"it has {len(array)} values of {name} for {steps} steps")
        if (inside := array & ~flags[name]).any():
            raise EpisodeRejected(
                where, f"{name} is true at step {int(inside.argmax())} of {steps}: it is no one episode"
            )
        flags[name] = array
    discount = recorded.get("discount", (~flags["is_terminal"]).astype(np.float32))
    discount = to_array(np.reshape(discount, -1), Continuous(shape=()), "discount", where)
    if len(discount) != steps:
        raise EpisodeRejected(where, f"it has {len(discount)} values of discount for {steps} steps")
    return {"discount": discount, **flags}


def to_array(
    values: Any, modality: Modality, said: str, where: str, recorded_size: tuple[int, int] | None = None
) -> np.ndarray:
    """T recorded values as an episode holds them; `said` names them in the message of an EpisodeRejected."""
    several = np.iterable(values) and not isinstance(values, (str, bytes))
    if not several:
        raise EpisodeRejected(where, f"{said} is the one value {values!r:.40}, not one at each step")
    match modality:
        case Text():
            return _texts(list(values), said, where)
        case Image():
            return _images(values, modality, said, where, recorded_size)
    array = np.asarray(values)
    kinds = "biu" if isinstance(modality, Discrete) else "fiub"
    if array.dtype.kind not in kinds:
        raise EpisodeRejected(where, f"{said} has type {array.dtype}, which is not {type(modality).__name__.lower()}")
    if array.shape[1:] != modality.shape and not (array.ndim == 1 and modality.shape == (1,)):
        raise EpisodeRejected(where, f"{said} has shape {array.shape[1:]} at each step, not {modality.shape}")
    array = array.reshape(len(array), *modality.shape)
    if isinstance(modality, Discrete):
        array = array.astype(np.int64)
        if (wrong := (array < 0) | (array >= modality.n)).any():
            step, value = int(np.argwhere(wrong)[0][0]), array[wrong][0]
            raise EpisodeRejected(where, f"{said} is {value} at step {step}, not in [0, {modality.n})")
        return array
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused
        array = array.astype(np.float32)
    if not (finite := np.isfinite(array)).all():
        step, value = int(np.argwhere(~finite)[0][0]), array[~finite][0]
        raise EpisodeRejected(where, f"{said} is {value} at step {step}")
    return array


def require_increasing(times: np.ndarray, steps: int, where: str):
    """Raises EpisodeRejected unless there is a time for each step, after that of the step before."""
    if times.shape != (steps,) or times.dtype.kind not in "fiu":
        raise EpisodeRejected(where, f"its times are {times.dtype} of shape {times.shape}, for {steps} steps")
    if times.dtype.kind == "f" and not np.isfinite(times).all():
        raise EpisodeRejected(where, f"the time of step {int(np.argmin(np.isfinite(times)))} is no finite number")
    if (back := times[1:] <= times[:-1]).any():
        step = int(back.argmax())
        raise EpisodeRejected(where, f"time goes from {times[step]} to {times[step + 1]} at step {step + 1}")


def fit_image(image: np.ndarray, modality: Image) -> np.ndarray:
    """(H, W, C) uint8 as (height, width, channels): each pixel the mean of those it covers."""
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


def _images(values: Any, modality: Image, said: str, where: str, recorded_size: tuple[int, int] | None) -> np.ndarray:
    fitted, size = [], recorded_size
    for step, value in enumerate(values):
        image = decode_image(value, f"{said} at step {step}", where)
        if image.ndim == 2:
            image = image[..., None]
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != modality.channels:
            raise EpisodeRejected(
                where, f"{said} at step {step} is {image.dtype} of shape {image.shape}, not uint8 of "
                f"(height, width, {modality.channels})"
            )  # fmt: skip
        size = size or image.shape[:2]
        if image.shape[:2] != tuple(size):
            raise EpisodeRejected(
                where, f"{said} at step {step} is {image.shape[0]} high and {image.shape[1]} wide, not {size[0]} and "
                f"{size[1]}"
            )  # fmt: skip
        fitted.append(fit_image(image, modality))
    return np.stack(fitted) if fitted else np.zeros((0, *modality.shape), np.uint8)


def decode_image(value: Any, said: str, where: str) -> np.ndarray:
    """An array as it is, an encoded file decoded. Raises EpisodeRejected; `said` names it in the message."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        try:
            with PIL.Image.open(io.BytesIO(value)) as picture:
                return np.asarray(picture if picture.mode in ("L", "RGB") else picture.convert("RGB"))
        except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
            raise EpisodeRejected(where, f"{said} cannot be decoded ({error})") from None
    return np.asarray(value)


def _texts(values: Sequence[Any], said: str, where: str) -> np.ndarray:
    texts = np.empty(len(values), object)
    for step, value in enumerate(values):
        if isinstance(value, bytes):
            try:
                value = value.decode()
            except UnicodeDecodeError as error:
                raise EpisodeRejected(where, f"{said} at step {step} is no UTF-8 ({error})") from None
        if not isinstance(value, str):
            raise EpisodeRejected(where, f"{said} at step {step} is {value!r:.40}, not text")
        texts[step] = str(value)
    return texts


def _last_is_true(values: Any, path: str, where: str) -> bool:
    array = np.asarray(values).reshape(-1)
    if not len(array) or array.dtype.kind not in "biuf" or np.isnan(array[-1]):
        raise EpisodeRejected(where, f"success (field {path!r}) is {values!r:.40}, not a truth value")
    return bool(array[-1])
