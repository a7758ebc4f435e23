"""Assembly and validation of episodes from the columns of a recording. Damaged data raise EpisodeRejected."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from gato_jax.episodes import Continuous, Discrete, Episode, Image, Modality, Provenance, Text
from gato_jax.sources.decoders import DECODERS
from gato_jax.sources.field_paths import DecoderCall, parse_path, unknown_decoder
from gato_jax.sources.fields import Fields
from gato_jax.sources.pixels import decode_image, to_images
from gato_jax.sources.reader import EpisodeRejected, SourceError

ReadField = Callable[[str], Any]
_EXACT_INTEGERS = float(2**24)  # float32 holds all integers up to this one


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

    Every step holds an action that was taken, except for a last step that is only the final observation. Without a
    reward field all rewards are 0. Limits of continuous values are not checked.

    Args:
      fields: the fields to read and their modalities.
      read_field: returns the T values of a field, given its name without slices and decoders. A Text field may also be
        a single string that holds for all steps. Images are a (T, H, W, C) uint8 array, or T arrays of (H, W, C), or T
        encoded files. It raises KeyError if the recording has no such field, and the episode is then rejected.
      location: file and number of the episode, the beginning of error messages.
      provenance: provenance of this episode. Default: that of `fields`.
      step_flags: those of `discount`, `is_first`, `is_last` and `is_terminal` that the recording stores as fields of
        these names. The others are derived on the assumption that the last step is terminal.
      final_observation: whether the last step holds an observation and no action, unless `fields.final_observation`
        says otherwise. Both are ignored if the recording stores `is_last` and that is false at the last step. The
        action there may then be any value; one that the modality does not allow is replaced by zero, or the limit next
        to it.

    Raises:
      EpisodeRejected: a field is missing or has the wrong type or shape, a decoder does not suit it, fields differ in
        length, a value is not finite or a discrete one not in [0, n), an image cannot be decoded, is not of 8 bits or
        has the wrong size or number of channels, time does not increase, a flag marks an episode border inside the
        episode, success is not a number, there are no steps or none with an action, or all fields are constant texts.
      SourceError: a field names an unknown decoder.
    """

    def read(path: str, modality: Modality | None = None) -> Any:
        return _read_converted(read_field, path, modality, location)

    recorded_flags = {name: read(name) for name in step_flags}
    final = final_observation if fields.final_observation is None else fields.final_observation
    final = final and bool(np.reshape(recorded_flags.get("is_last", True), -1)[-1:].all())
    sides: dict[str, dict[str, np.ndarray]] = {"observation": {}, "action": {}}
    constant_texts: list[tuple[str, str, Any]] = []  # (side, key, text), repeated once T is known
    for side, arrays in sides.items():
        for key, (path, modality) in getattr(fields, side).items():
            values, label = read(path, modality), f"{side} {key!r} (field {path!r})"
            if isinstance(values, (str, bytes)) and isinstance(modality, Text):
                constant_texts.append((side, key, values))
            elif final and side == "action":
                arrays[key] = _to_acted_array(values, modality, label, location)
            elif isinstance(modality, Image) and _holds_steps(values):
                size = fields.recorded_sizes.get(key)
                arrays[key] = to_images(values, modality, label, location, size, task=fields.spec.name)
            else:
                arrays[key] = to_array(values, modality, label, location)
    steps = _count_steps(sides, location)
    if final and steps == 1:
        raise EpisodeRejected(location, "its only step is its final observation, so that it has no action. Set "
                              "final_observation to false in the fields if an action was taken there")  # fmt: skip
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
    flags = _step_flags(recorded_flags, steps, location)
    return Episode(
        task=fields.spec.name,
        observation=sides["observation"],
        action=sides["action"],
        reward=reward,
        discount=flags["discount"],
        is_first=flags["is_first"],
        is_last=flags["is_last"],
        is_terminal=flags["is_terminal"],
        final_observation=final,
        provenance=provenance or fields.provenance,
        success=None if fields.success is None else _read_success(read(fields.success), fields.success, location),
    )


def _read_converted(read_field: ReadField, path: str, modality: Modality | None, location: str) -> Any:
    """Read the values of a field and apply the slices and decoders of its path.

    Args:
      read_field: as in `assemble`.
      path: path of the field.
      modality: modality of the field; None for a reward, a time or the success flag.
      location: file and number of the episode.

    Raises:
      EpisodeRejected: there is no such field, a slice is out of range, or a decoder does not suit the values. For
        images the last is raised when they are iterated over.
      SourceError: the field does not exist, and its name looks like the call of an unknown decoder.
    """
    parsed = parse_path(path)
    try:
        values = read_field(parsed.name)
    except KeyError as error:
        if unknown := unknown_decoder(parsed.name):
            raise SourceError(
                f"cannot read field {parsed.name!r} of {location}: decoder is {unknown!r}, expected one of "
                f"{', '.join(DECODERS)}"
            ) from None
        reason = error.args[0] if error.args else ""
        raise EpisodeRejected(location, f"it has no field {parsed.name!r} ({reason})") from None
    for conversion in parsed.conversions:
        if isinstance(conversion, slice):
            if (values := np.asarray(values)).ndim != 2 or values.shape[1] < conversion.stop:
                raise EpisodeRejected(location, f"field {path!r} is out of range for a column of shape {values.shape}")
            values = values[:, conversion]
        elif isinstance(modality, Image):
            values = _decode_images(values, conversion, path, modality, location)
        else:
            values = _decode_column(values, conversion, path, location)
    return values


def _decode_column(values: Any, call: DecoderCall, path: str, location: str) -> Any:
    """Apply a decoder to the T values of a field; raise EpisodeRejected if it does not suit them."""
    if call.decoder.column is None:
        raise EpisodeRejected(location, f"field {path!r} cannot be decoded by {call.name}, which converts images")
    try:
        return call.decoder.column(values, *call.arguments)
    except (ValueError, TypeError, OverflowError) as error:
        raise EpisodeRejected(location, f"field {path!r} cannot be decoded by {call.name} ({error})") from None


def _decode_images(values: Any, call: DecoderCall, path: str, modality: Image, location: str) -> Any:
    """Return an iterator over T images, decoded from files if necessary, to which a decoder is applied.

    A single value that is no sequence is returned as it is, for `to_array` to refuse.
    """
    if not _holds_steps(values):
        return values
    convert = call.decoder.image
    if convert is None:
        raise EpisodeRejected(location, f"field {path!r} cannot be decoded by {call.name}, which converts no images")

    def decoded() -> Iterator[np.ndarray]:
        for step, value in enumerate(values):
            image = decode_image(value, f"field {path!r} at step {step}", location, channels=modality.channels)
            try:
                if image.ndim not in (2, 3) or image.dtype.kind not in "biuf":
                    raise ValueError(f"it is {image.dtype} of shape {image.shape}, expected an image")
                yield convert(image, *call.arguments)
            except ValueError as error:
                raise EpisodeRejected(
                    location, f"field {path!r} at step {step} cannot be decoded by {call.name} ({error})"
                ) from None

    return decoded()


def _holds_steps(values: Any) -> bool:
    """Return whether values can be iterated over and are not a single text or encoded image."""
    return np.iterable(values) and not isinstance(values, (str, bytes))


def _to_acted_array(values: Any, modality: Modality, label: str, location: str) -> np.ndarray:
    """Convert T recorded actions as `to_array` does, of which the last one was not taken.

    If the modality does not allow the last one, it is replaced by zero, an empty text, or the limit next to zero.
    """
    if not _holds_steps(values) or not hasattr(values, "__len__") or len(values) < 2:
        return to_array(values, modality, label, location)
    acted = to_array(values[:-1], modality, label, location)
    try:
        last = to_array(values[-1:], modality, label, location)
    except EpisodeRejected:
        last = np.zeros_like(acted[:1])
        if isinstance(modality, Text):
            last[0] = ""
        elif isinstance(modality, Continuous):
            low, high = (limit.reshape(modality.shape) for limit in modality.limits)
            last = np.clip(last, low, high).astype(acted.dtype)
    return np.concatenate([acted, last])


def _count_steps(sides: dict[str, dict[str, np.ndarray]], location: str) -> int:
    """Return the number of steps of the columns of an episode.

    Args:
      sides: {"observation": {key: array}, "action": {key: array}}, without constant texts.
      location: file and number of the episode.

    Raises:
      EpisodeRejected: there are no columns or no steps, or the columns differ in length.
    """
    counts = {f"{side} {key!r}": len(values) for side, arrays in sides.items() for key, values in arrays.items()}
    if not counts:
        raise EpisodeRejected(location, "its fields are all constant texts, so the number of steps is unknown")
    steps = next(iter(counts.values()))
    if len(set(counts.values())) > 1:
        lengths = ", ".join(f"{count} of {key}" for key, count in counts.items())
        raise EpisodeRejected(location, f"its columns have different lengths: {lengths}")
    if steps == 0:
        raise EpisodeRejected(location, "it has no steps")
    return steps


def _step_flags(recorded: dict[str, Any], steps: int, location: str) -> dict[str, np.ndarray]:
    """Return `discount` (T,) float32 and `is_first`, `is_last` and `is_terminal` (T,) bool of an episode.

    A flag that is not recorded is true only at its end of the episode: `is_first` at the first step, `is_last` and
    `is_terminal` at the last. A recorded flag may also be false there. A discount that is not recorded is 0 at a
    terminal step and 1 at all others.

    Args:
      recorded: {name: T values} of the discount and flags that the recording stores. Flags are booleans, or 0 and 1.
      steps: number of steps T.
      location: file and number of the episode.

    Raises:
      EpisodeRejected: a discount or flag has the wrong type or length, `is_first` is true after the first step, or
        `is_last` or `is_terminal` is true before the last step.
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


def to_array(values: Any, modality: Modality, label: str, location: str) -> np.ndarray:
    """Convert T recorded values to the array that an episode holds for a modality.

    Images are resized to the size of the modality. Continuous values may be integers or booleans, and their limits are
    not checked; large numbers that float32 cannot tell apart are refused. Discrete values must be integers or booleans
    in [0, n). For a modality of shape (1,), values of shape (T,) are accepted.

    Args:
      values: T numbers, arrays, strings, UTF-8 bytes or encoded images.
      modality: the modality to convert to and to validate against.
      label: name of the field in error messages.
      location: file and number of the episode.

    Returns:
      (T, *shape) float32 for Continuous, (T, *shape) int64 for Discrete, (T, height, width, channels) uint8 for Image,
      (T,) object array of strings for Text.

    Raises:
      EpisodeRejected: `values` is a single value, or one of the values has the wrong type or shape, is not finite as
        float32, is not in [0, n), is not UTF-8, or is an image that cannot be decoded or is not of 8 bits; or different
        numbers of 2**24 or more are equal as float32.
    """
    if not _holds_steps(values):
        raise EpisodeRejected(location, f"{label} is the single value {values!r:.40}, expected one for each step")
    match modality:
        case Text():
            return _to_texts(list(values), label, location)
        case Image():
            return to_images(values, modality, label, location, None)
    array = np.asarray(values)
    kinds = "biu" if isinstance(modality, Discrete) else "fiub"
    if array.dtype.kind not in kinds:
        expected = "integers" if isinstance(modality, Discrete) else "numbers"
        raise EpisodeRejected(location, f"{label} has type {array.dtype}, expected {expected}")
    if array.shape[1:] != modality.shape and not (array.ndim == 1 and modality.shape == (1,)):
        raise EpisodeRejected(location, f"{label} has shape {array.shape[1:]} at each step, expected {modality.shape}")
    array = array.reshape(len(array), *modality.shape)
    if isinstance(modality, Discrete):
        if (wrong := (array < 0) | (array >= modality.n)).any():
            step, value = int(np.argwhere(wrong)[0][0]), array[wrong][0]
            raise EpisodeRejected(location, f"{label} is {value} at step {step}, expected a value in [0, {modality.n})")
        return array.astype(np.int64)
    with np.errstate(over="ignore"):  # an overflow becomes infinite, and is rejected below
        rounded = array.astype(np.float32)
    if not (finite := np.isfinite(rounded)).all():
        step, value = int(np.argwhere(~finite)[0][0]), rounded[~finite][0]
        raise EpisodeRejected(location, f"{label} is {value} at step {step}, expected a finite number")
    _require_distinct(array, rounded, label, location)
    return rounded


def _require_distinct(array: np.ndarray, rounded: np.ndarray, label: str, location: str):
    """Raise EpisodeRejected if different large numbers become equal when they are rounded to float32.

    Only elements with a number of 2**24 or more are compared. Rounding of smaller numbers is below one, and a part in
    16 million, as it is of every float64.

    Args:
      array: recorded numbers, (T, ...).
      rounded: the same as float32.
      label: name of the field in error messages.
      location: file and number of the episode.
    """
    if array.dtype.itemsize <= 2 or not array.size or np.abs(rounded).max() < _EXACT_INTEGERS:
        return
    flat, rounded = array.reshape(len(array), -1), rounded.reshape(len(array), -1)
    for element in np.flatnonzero(np.abs(rounded).max(axis=0) >= _EXACT_INTEGERS):
        recorded, kept = (len(np.unique(values[:, element])) for values in (flat, rounded))
        if kept < recorded:
            raise EpisodeRejected(
                location, f"{label} has {recorded} different numbers near {flat[0, element]} at element {element}, but "
                f"only {kept} as float32. Name the field as relative(PATH), which subtracts the first step, and bring "
                "it to a useful unit with scale(PATH, FACTOR)"
            )  # fmt: skip


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
    """Return whether an episode succeeded: whether the last of its recorded success flags is not zero.

    Args:
      values: a boolean or number, or an array of them.
      path: path of the field, for error messages.
      location: file and number of the episode.

    Raises:
      EpisodeRejected: `values` is empty, its last value is NaN, or it holds neither numbers nor booleans.
    """
    array = np.asarray(values).reshape(-1)
    if not len(array) or array.dtype.kind not in "biuf" or np.isnan(array[-1]):
        raise EpisodeRejected(location, f"success (field {path!r}) is {values!r:.40}, expected a boolean or a number")
    return bool(array[-1])
