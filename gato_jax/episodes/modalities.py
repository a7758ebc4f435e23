"""Modalities: the types of the values that one key of an observation or an action holds at each step."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal, TypeAlias

import numpy as np

from gato_jax.episodes.dataclass_reader import DataclassReader
from gato_jax.episodes.errors import SpecError

_READER = DataclassReader(error=SpecError)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Text:
    """A string of any length."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Image:
    """An image of shape (height, width, channels), uint8.

    Attributes:
      height, width: size in pixels.
      channels: number of channels.
      fit: method that brings each side of an image to a multiple of the patch size: `resize` scales it and `pad` adds
        black pixels below and to the right, both up to the next multiple; `crop` keeps its middle, down to the last.

    Raises:
      SpecError: a field has a wrong type, or a size is below 1.
    """

    height: int
    width: int
    channels: int = 3
    fit: Literal["resize", "pad", "crop"] = "resize"

    def __post_init__(self):
        _READER.check(self, "Image")
        for name in ("height", "width", "channels"):
            _require_at_least(f"Image.{name}", getattr(self, name), 1)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.height, self.width, self.channels


@dataclasses.dataclass(frozen=True, kw_only=True)
class Discrete:
    """Integers in [0, n), of the given shape at one step; () for a single integer.

    Raises:
      SpecError: a field has a wrong type, `n` is below 1, or a side of `shape` is negative.
    """

    n: int
    shape: tuple[int, ...] = ()

    def __post_init__(self):
        _READER.check(self, "Discrete")
        _require_at_least("Discrete.n", self.n, 1)
        _require_sides("Discrete.shape", self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Continuous:
    """Floats of the given shape, with limits.

    Attributes:
      shape: shape at one step.
      low, high: limits, either one number for all elements or one for each element in row-major order; arrays and
        nested lists are flattened. Actions need finite limits, from which they are normalised to [-1, 1]. Observations
        may have infinite ones.

    Raises:
      SpecError: a field has a wrong type, a limit is NaN, their number is not that of the elements, or a low is above
        its high. Infinite limits of actions are not refused here.
    """

    shape: tuple[int, ...]
    low: tuple[float, ...] | float = float("-inf")
    high: tuple[float, ...] | float = float("inf")

    def __post_init__(self):
        for name in ("low", "high"):
            object.__setattr__(self, name, _flat(getattr(self, name)))
        _READER.check(self, "Continuous")
        _require_sides("Continuous.shape", self.shape)
        for name in ("low", "high"):
            limit = getattr(self, name)
            if np.isnan(limit).any():
                raise SpecError(
                    f"Continuous.{name} is {limit!r:.60}, expected numbers. Give an infinite limit where there is none."
                )
            if isinstance(limit, tuple) and len(limit) != self.size:
                raise SpecError(
                    f"Continuous.{name} has {len(limit)} values for shape {self.shape}, expected {self.size} or one"
                )
        low, high = self.limits
        if (above := low > high).any():
            first = int(above.argmax())
            raise SpecError(f"Continuous.low {low[first]} is above high {high[first]} at element {first}; swap them")

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def limits(self) -> tuple[np.ndarray, np.ndarray]:
        """`low` and `high` of each element in row-major order, each (size,) float64."""
        low, high = (np.broadcast_to(np.asarray(x, np.float64), (self.size,)) for x in (self.low, self.high))
        return low, high


Modality: TypeAlias = Text | Image | Discrete | Continuous


def modality_to_json(modality: Modality) -> dict[str, Any]:
    """Return a dict of the fields of a modality and, as `kind`, its class in lower case.

    For example, {"kind": "discrete", "n": 4, "shape": ()}. Tuples and infinite numbers stay what they are.
    """
    return {"kind": type(modality).__name__.lower(), **vars(modality)}


def _require_at_least(name: str, value: int, least: int):
    if value < least:
        raise SpecError(f"{name} is {value}, expected {least} or more")


def _require_sides(name: str, shape: tuple[int, ...]):
    if min(shape, default=0) < 0:
        raise SpecError(f"{name} is {shape}, expected sides of 0 or more")


def _flat(limit: Any) -> Any:
    """Return an array or a nested list of numbers as a flat tuple in row-major order, and any other value as it is."""
    if isinstance(limit, (np.ndarray, list, tuple)) and (values := np.asarray(limit)).dtype.kind in "iuf":
        return tuple(values.ravel().tolist()) if values.ndim else values.item()
    return limit
