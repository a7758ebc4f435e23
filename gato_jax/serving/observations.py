"""Check of observations that arrive over a network against the TaskSpec of their task."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from gato_jax.episodes import Continuous, Discrete, Image, Modality, TaskSpec, Text

MAX_CHARACTERS = 4096  # of a text
_DEPTH = 8  # of nested maps
_KINDS = {Image: "u", Discrete: "iub", Continuous: "iufb"}


class ObservationError(ValueError):
    """An observation that is not as the TaskSpec says; the message names the key, the value and what is expected."""


def check_observation(spec: TaskSpec, message: Mapping[str, Any], *, ignore_others: bool = False) -> dict[str, Any]:
    """Return the observation {key: value} in a message, with the keys of the spec in its order.

    Keys may be nested or flat: {camera: {front: image}} is the key `camera/front`. Numbers may be arrays, NumPy
    scalars, lists or Python numbers. A number outside of its limits is accepted, because sensors have noise;
    tokenization clips it, as in training.

    Args:
      spec: the TaskSpec.
      message: the keys and values.
      ignore_others: whether keys that the spec does not have are left out, or refused.

    Raises:
      ObservationError: A key is missing or unknown, or a value has another type or shape, is not finite, or is an
        integer outside of its range.
    """
    flat: dict[str, Any] = {}
    _flatten(spec, message, "", flat, _DEPTH)
    for key in spec.observation:
        if key not in flat:
            raise ObservationError(
                f"{spec.name}: observation {key!r} is missing, expected {describe(spec.observation[key])}."
            )
    if not ignore_others:
        for key in flat:
            if key not in spec.observation:
                raise ObservationError(
                    f"{spec.name}: observation {key!r:.80} is unknown, expected the keys {', '.join(spec.observation)}."
                )
    return {key: _check(spec, key, modality, flat[key]) for key, modality in spec.observation.items()}


def describe(modality: Modality) -> str:
    """Return a modality in words, such as `an image of shape (64, 64, 3), uint8`."""
    match modality:
        case Text():
            return f"a text of at most {MAX_CHARACTERS} characters"
        case Image():
            return f"an image of shape {modality.shape}, uint8"
        case Discrete():
            return f"integers in [0, {modality.n}) of shape {modality.shape}"
        case Continuous():
            return f"finite numbers of shape {modality.shape}"


def largest_observation(spec: TaskSpec) -> int:
    """Return the number of bytes of the largest observation of a task, its numbers as 64 bits each."""
    sizes = {Text: lambda _: 4 * MAX_CHARACTERS, Image: lambda image: int(np.prod(image.shape))}
    return sum(
        len(key) + sizes.get(type(modality), lambda values: 8 * values.size)(modality)
        for key, modality in spec.observation.items()
    )


def _flatten(spec: TaskSpec, tree: Mapping[str, Any], prefix: str, flat: dict[str, Any], depth: int):
    for key, value in tree.items():
        if isinstance(value, Mapping) and depth:
            _flatten(spec, value, f"{prefix}{key}/", flat, depth - 1)
        elif (name := f"{prefix}{key}") in flat:
            raise ObservationError(f"{spec.name}: observation {name!r:.80} is given twice, expected once.")
        else:
            flat[name] = value


def _check(spec: TaskSpec, key: str, modality: Modality, value: Any) -> Any:
    def refuse(found: str) -> ObservationError:
        return ObservationError(f"{spec.name}: observation {key!r} is {found}, expected {describe(modality)}.")

    if isinstance(modality, Text):
        if not isinstance(value, str):
            raise refuse(_name(value))
        if len(value) > MAX_CHARACTERS:
            raise refuse(f"a text of {len(value)} characters")
        return value
    array = _as_array(value)
    if array is None or array.dtype.kind not in _KINDS[type(modality)]:
        raise refuse(_name(value if array is None else array))
    if array.shape != modality.shape or (isinstance(modality, Image) and array.dtype != np.uint8):
        raise refuse(_name(array))
    if isinstance(modality, Continuous):
        if not (fine := np.isfinite(array)).all():
            raise refuse(_first(array, ~fine))
        array = array.astype(np.float64 if array.dtype.kind != "f" else array.dtype)
    if isinstance(modality, Discrete):
        array = array.astype(np.int64) if array.dtype.kind == "b" else array
        if (outside := (array < 0) | (array >= modality.n)).any():
            raise refuse(_first(array, outside))
    return array


def _as_array(value: Any) -> np.ndarray | None:
    """Return a value as an array of numbers, or None if it is none."""
    if isinstance(value, (np.ndarray, np.generic, bool, int, float, list)):
        try:
            array = np.asarray(value)
        except (ValueError, OverflowError, RecursionError):
            return None
        return array if array.dtype.kind in "biuf" else None
    return None


def _name(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}, {value.dtype}"
    return f"the {type(value).__name__} {reprlib.repr(value)}"


def _first(array: np.ndarray, wrong: np.ndarray | np.bool_) -> str:
    index = tuple(map(int, np.argwhere(wrong)[0]))
    return f"{array[index]} at {list(index)}" if index else f"{array[()]}"
