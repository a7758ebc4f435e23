"""Conversion of the values of a Gymnasium space to the modalities of a TaskSpec and back.

| space | modality |
|---|---|
| Box of uint8 from 0 to 255, (height, width, 1 or 3) or (height, width), sides of 16 or more | Image |
| another Box of integers with at most 1,024 values, Discrete, MultiDiscrete, MultiBinary | Discrete, counted from 0 |
| a Box of more integers, all exact in float32 | Continuous, rounded to integers in actions |
| Box of floats | Continuous; the limits of actions are finite |
| Text | Text, in observations only |
| Dict, Tuple | their parts, with keys `a/b` of names and indices |

A MultiDiscrete action whose elements have different numbers of values is one Discrete for each element, as a Discrete
has one number of values. Any other space is refused.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
from gymnasium import spaces

from gato_jax.episodes import Continuous, Discrete, Image, Modality, Text

MAX_VALUES = 1024  # of an integer Box that is Discrete: the paper's range of discrete tokens
MIN_IMAGE_SIDE = 16  # pixels: one patch; smaller arrays are grids of codes
_MAX_EXACT = 2**24  # float32 holds all integers up to here

Side = Literal["observation", "action"]


class SpaceError(ValueError):
    """A space that has no modality, or a value outside its space; the message names the task and the key."""


class SpaceCodec:
    """The modalities of a space, and the conversion of its values.

    Args:
      space: Observation or action space.
      side: The side of the task that it is; also the key of a space without parts.
      task: Full name of the task, for messages.

    Attributes:
      modalities: {key: modality} of the parts of the space.

    Raises:
      SpaceError: The space, or a part of it, has no modality.
    """

    def __init__(self, space: spaces.Space, side: Side, task: str):
        self._root = _node(space, "", side, f"{task}: {side}")
        self.modalities: dict[str, Modality] = {}
        for leaf in self._root.leaves():
            if leaf.key in self.modalities:
                raise SpaceError(f"{task}: {side}: two parts of the space have the key {leaf.key!r}. Rename one.")
            self.modalities[leaf.key] = leaf.modality

    def encode(self, value: Any) -> dict[str, Any]:
        """Return a value of the space as {key: value of the modality}.

        Raises:
          SpaceError: A part has another shape than its space, or is an integer outside of it.
        """
        return dict(self._root.encode(value))

    def decode(self, values: Mapping[str, Any]) -> Any:
        """Return {key: value of the modality} as a value of the space; floats are clipped to its limits."""
        return self._root.decode(values)


class _Node(abc.ABC):
    """A space within the space of a codec."""

    @abc.abstractmethod
    def leaves(self) -> Iterator[_Leaf]: ...

    @abc.abstractmethod
    def encode(self, value: Any) -> Iterator[tuple[str, Any]]: ...

    @abc.abstractmethod
    def decode(self, values: Mapping[str, Any]) -> Any: ...


class _Branch(_Node):
    """A space with parts, by name or index, and the function that joins their values."""

    def __init__(self, parts: Mapping[Any, _Node], join: Callable[[list], Any]):
        self._parts, self._join = parts, join

    def leaves(self) -> Iterator[_Leaf]:
        for part in self._parts.values():
            yield from part.leaves()

    def encode(self, value: Any) -> Iterator[tuple[str, Any]]:
        for index, part in self._parts.items():
            yield from part.encode(value[index])

    def decode(self, values: Mapping[str, Any]) -> Any:
        return self._join([part.decode(values) for part in self._parts.values()])


class _Leaf(_Node):
    """A space with one key and one modality."""

    def __init__(self, key: str, modality: Modality, label: str):
        self.key, self.modality, self.label = key, modality, f"{label} {key!r}"

    def leaves(self) -> Iterator[_Leaf]:
        yield self

    def encode(self, value: Any) -> Iterator[tuple[str, Any]]:
        yield self.key, self._encode(value)

    def decode(self, values: Mapping[str, Any]) -> Any:
        return self._decode(values[self.key])

    @abc.abstractmethod
    def _encode(self, value: Any) -> Any: ...

    @abc.abstractmethod
    def _decode(self, value: Any) -> Any: ...

    def _array(self, value: Any, shape: tuple[int, ...]) -> np.ndarray:
        array = np.asarray(value)
        if array.shape != shape or array.dtype.kind not in "biuf":
            raise SpaceError(
                f"{self.label} is {array.dtype}{list(array.shape)}, expected numbers of shape {list(shape)} as in its "
                "space. Correct the environment."
            )
        return array


class _String(_Leaf):
    def _encode(self, value: Any) -> str:
        return str(value)

    def _decode(self, value: Any) -> str:
        return str(value)


class _Picture(_Leaf):
    """An image, to which a last axis is added if its space has none."""

    def __init__(self, key: str, space: spaces.Box, label: str):
        height, width, *channels = space.shape
        image = Image(height=height, width=width, channels=channels[0] if channels else 1)
        super().__init__(key, image, label)
        self._space, self._image_shape = space, image.shape

    def _encode(self, value: Any) -> np.ndarray:
        return self._array(value, self._space.shape).reshape(self._image_shape)

    def _decode(self, value: Any) -> np.ndarray:
        return np.reshape(value, self._space.shape)


class _Floats(_Leaf):
    """Numbers, in float32 in the modality and in the dtype of the space beside it."""

    def __init__(self, key: str, space: spaces.Box, label: str):
        low, high = (_limit(limit) for limit in (space.low, space.high))
        super().__init__(key, Continuous(shape=space.shape, low=low, high=high), label)
        self._space, self._is_integer = space, space.dtype.kind in "iu"

    def _encode(self, value: Any) -> np.ndarray:
        return self._array(value, self._space.shape).astype(np.float32)

    def _decode(self, value: Any) -> np.ndarray:
        rounded = np.rint(value) if self._is_integer else value
        # The limits of the space may lie between two numbers of float32.
        return np.clip(np.asarray(rounded, np.float64), self._space.low, self._space.high).astype(self._space.dtype)


class _Integers(_Leaf):
    """Integers, counted from the lowest value of each element."""

    def __init__(self, key: str, start: np.ndarray, counts: np.ndarray, dtype: np.dtype, label: str):
        super().__init__(key, Discrete(n=int(counts.max(initial=1)), shape=start.shape), label)
        self._start, self._counts, self._dtype = start, counts, dtype

    def _encode(self, value: Any) -> np.ndarray:
        given = self._array(value, self._start.shape)
        counted = np.asarray(given.astype(np.int64) - self._start)
        if np.any((counted < 0) | (counted >= self._counts)):
            low, high = self._start.tolist(), (self._start + self._counts - 1).tolist()
            raise SpaceError(f"{self.label} is {given.tolist()}, expected {low} to {high}. Correct the environment.")
        return counted

    def _decode(self, value: Any) -> Any:
        return (np.asarray(value) + self._start).astype(self._dtype)[()]


def _node(space: spaces.Space, key: str, side: Side, label: str) -> _Node:
    """Return the node of a space.

    Args:
      space: The space.
      key: Its key, empty for the root.
      side: The side of the task that it is in.
      label: Task and side, for messages.
    """
    leaf_key = key or side
    match space:
        case spaces.Dict():
            return _branch(
                dict(space.spaces), key, side, label, lambda parts: dict(zip(space.spaces, parts, strict=True))
            )
        case spaces.Tuple():
            return _branch(dict(enumerate(space.spaces)), key, side, label, tuple)
        case spaces.Discrete():
            return _Integers(leaf_key, np.asarray(space.start), np.asarray(space.n), space.dtype, label)
        case spaces.MultiBinary():
            return _Integers(leaf_key, np.zeros(space.shape, int), np.full(space.shape, 2), space.dtype, label)
        case spaces.MultiDiscrete():
            return _integers(leaf_key, side, space.start.astype(int), space.nvec.astype(int), space.dtype, label)
        case spaces.Box():
            return _box(space, leaf_key, side, label)
        case spaces.Text() if side == "observation":
            return _String(leaf_key, Text(), label)
    raise SpaceError(
        f"{label} {leaf_key!r} has the space {type(space).__name__}, expected Box, Discrete, MultiDiscrete, "
        f"MultiBinary, Dict{', Tuple or Text' if side == 'observation' else ' or Tuple'}. Convert it with a wrapper."
    )


def _branch(parts: dict[Any, spaces.Space], key: str, side: Side, label: str, join: Callable[[list], Any]) -> _Branch:
    if not parts:
        raise SpaceError(f"{label} {key or side!r} has a space without parts, expected one or more. Leave it out.")
    prefix = f"{key}/" if key else ""
    return _Branch({index: _node(part, f"{prefix}{index}", side, label) for index, part in parts.items()}, join)


def _box(space: spaces.Box, key: str, side: Side, label: str) -> _Node:
    """Return the node of a Box: an image, integers or floats."""
    low, high = space.low, space.high
    if _is_image(space) and side == "observation":
        return _Picture(key, space, label)
    if space.dtype.kind == "f":
        if side == "action" and not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise SpaceError(
                f"{label} {key!r} has limits from {low.min()} to {high.max()}, expected finite ones. Bound it with "
                "gymnasium.wrappers.RescaleAction, or correct the space."
            )
        return _Floats(key, space, label)
    least, most = int(low.min(initial=0)), int(high.max(initial=0))
    if most - least >= _MAX_EXACT or max(-least, most) > _MAX_EXACT:
        raise SpaceError(
            f"{label} {key!r} is {space.dtype} from {least} to {most}, expected integers up to {_MAX_EXACT} in size, "
            "which float32 holds exactly. Bound the space."
        )
    counts = high.astype(np.int64) - low.astype(np.int64) + 1
    if counts.max(initial=1) > MAX_VALUES:
        return _Floats(key, space, label)
    return _integers(key, side, low.astype(np.int64), counts, space.dtype, label)


def _integers(key: str, side: Side, start: np.ndarray, counts: np.ndarray, dtype: np.dtype, label: str) -> _Node:
    """Return the node of integers: one key, or one for each element of an action with different numbers of values."""
    if side == "observation" or start.shape == () or (counts == counts.flat[0]).all():
        return _Integers(key, start, counts, dtype, label)
    parts = {
        index: _Integers(
            f"{key}/{'/'.join(map(str, index))}", start[index + (...,)], counts[index + (...,)], dtype, label
        )
        for index in np.ndindex(start.shape)
    }
    return _Branch(parts, lambda values: np.asarray(values, dtype).reshape(start.shape))


def _is_image(space: spaces.Box) -> bool:
    """Return True for uint8 from 0 to 255 in the shape of an image of 16x16 pixels or more."""
    shape = space.shape
    has_shape = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))
    return (
        has_shape
        and space.dtype == np.uint8
        and min(shape[:2]) >= MIN_IMAGE_SIDE
        and bool((space.low == 0).all() and (space.high == 255).all())
    )


def _limit(limit: np.ndarray) -> float | tuple[float, ...]:
    """Return a limit as one number if all elements have the same, else in row-major order."""
    values = tuple(limit.astype(np.float64).ravel().tolist())
    return values[0] if len(set(values)) == 1 else values
