"""The modalities: what one key of an observation or of an action holds at each step."""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import numpy as np

from gato_jax.episodes.errors import SpecError
from gato_jax.episodes.strict_json import construct, read_numbers


@dataclasses.dataclass(frozen=True, kw_only=True)
class Text:
    """A string of any length."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Image:
    """An image of shape (height, width, channels), uint8.

    `fit` says how an image whose sides are no multiple of the patch gets there.
    """

    height: int
    width: int
    channels: int = 3
    fit: Literal["resize", "pad", "crop"] = "resize"

    def __post_init__(self):
        for name in ("height", "width", "channels"):
            object.__setattr__(self, name, _whole(f"Image.{name}", getattr(self, name), least=1))
        if self.fit not in ("resize", "pad", "crop"):
            raise SpecError(f"Image.fit must be resize, pad or crop, got {self.fit!r}")

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.height, self.width, self.channels


@dataclasses.dataclass(frozen=True, kw_only=True)
class Discrete:
    """Integers in [0, n), of the given shape."""

    n: int
    shape: tuple[int, ...] = ()

    def __post_init__(self):
        object.__setattr__(self, "n", _whole("Discrete.n", self.n, least=1))
        object.__setattr__(self, "shape", _shape("Discrete.shape", self.shape))

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Continuous:
    """Floats of the given shape. `low` and `high` are scalars or one value an element, row-major.

    Actions need finite limits, from which they are normalised to [-1, 1]; observations need none.
    """

    shape: tuple[int, ...]
    low: tuple[float, ...] | float = float("-inf")
    high: tuple[float, ...] | float = float("inf")

    def __post_init__(self):
        object.__setattr__(self, "shape", _shape("Continuous.shape", self.shape))
        for name in ("low", "high"):
            limit = _limit(f"Continuous.{name}", getattr(self, name))
            object.__setattr__(self, name, limit)
            if isinstance(limit, tuple) and len(limit) != self.size:
                raise SpecError(
                    f"Continuous.{name} has {len(limit)} values for shape {self.shape}, needs {self.size} or one"
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
        """`low` and `high` of each element, row-major: (size,) float64 each."""
        low, high = (np.broadcast_to(np.asarray(x, np.float64), (self.size,)) for x in (self.low, self.high))
        return low, high


Modality: TypeAlias = Text | Image | Discrete | Continuous
_MODALITIES = {kind.__name__.lower(): kind for kind in (Text, Image, Discrete, Continuous)}


def modality_to_json(modality: Modality) -> dict[str, Any]:
    """Its fields and, as `kind`, its type; `modality_from_json` is the inverse."""
    return {"kind": type(modality).__name__.lower(), **vars(modality)}


def modality_from_json(fields: Any, where: str) -> Modality:
    """The modality that `where` holds. Raises SpecError for a kind or field that is unknown."""
    kind = fields.get("kind") if isinstance(fields, Mapping) else None
    if not isinstance(kind, str) or kind not in _MODALITIES:
        raise SpecError(f"{where} is {fields!r:.80}; it needs a kind, one of {', '.join(_MODALITIES)}")
    own = {name: value for name, value in fields.items() if name != "kind"}
    return construct(_MODALITIES[kind], own, where, low=read_numbers, high=read_numbers)


def _whole(name: str, value: Any, *, least: int) -> int:
    try:
        whole = operator.index(value)
    except TypeError:
        raise SpecError(f"{name} is {value!r}, needs a whole number") from None
    if whole < least:
        raise SpecError(f"{name} is {whole}, needs {least} or more")
    return whole


def _shape(name: str, shape: Any) -> tuple[int, ...]:
    try:
        return tuple(_whole(f"a side of {name} {tuple(shape)}", side, least=0) for side in shape)
    except TypeError:
        raise SpecError(f"{name} is {shape!r}, needs a tuple of sides") from None


def _limit(name: str, limit: Any) -> tuple[float, ...] | float:
    values = np.asarray(limit)
    if values.dtype.kind not in "iuf":
        raise SpecError(f"{name} is {limit!r}, needs a number or one an element")
    values = values.astype(np.float64)
    if np.isnan(values).any():
        raise SpecError(f"{name} is {limit!r}, which is not a number; an element without a limit has an infinite one")
    return tuple(values.ravel().tolist()) if values.ndim else float(values)
