"""What a task is: the modalities it shows, the actions it takes, and how success is counted."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

Metric = Literal["return", "success"]


class SpecError(ValueError):
    """A specification that contradicts itself; the message names the field, the value and the remedy."""


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
        if min(self.height, self.width, self.channels) < 1:
            raise SpecError(f"Image sides must be positive, got {(self.height, self.width, self.channels)}")
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
        object.__setattr__(self, "shape", tuple(self.shape))
        if self.n < 1:
            raise SpecError(f"Discrete.n must be positive, got {self.n}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Continuous:
    """Floats of the given shape. `low` and `high` are scalars or one value an element, row-major.

    Actions need finite limits, from which they are normalised to [-1, 1]; observations need none.
    """

    shape: tuple[int, ...]
    low: tuple[float, ...] | float = float("-inf")
    high: tuple[float, ...] | float = float("inf")

    def __post_init__(self):
        object.__setattr__(self, "shape", tuple(self.shape))
        size = 1
        for side in self.shape:
            size *= side
        for name in ("low", "high"):
            limit = getattr(self, name)
            if isinstance(limit, (list, tuple)):
                object.__setattr__(self, name, tuple(float(value) for value in limit))
                if len(limit) != size:
                    raise SpecError(
                        f"Continuous.{name} has {len(limit)} values for shape {self.shape}, needs {size} or one"
                    )


Modality: TypeAlias = Text | Image | Discrete | Continuous
_MODALITIES = {kind.__name__.lower(): kind for kind in (Text, Image, Discrete, Continuous)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Camera:
    """One camera. Intrinsics are (fx, fy, cx, cy) in pixels; extrinsics a row-major 4x4 camera-to-base pose."""

    key: str
    intrinsics: tuple[float, ...] | None = None
    extrinsics: tuple[float, ...] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Embodiment:
    """The body that acts: its name, gripper and cameras."""

    robot: str
    gripper: Literal["binary", "continuous", "pose"] | None = None
    cameras: tuple[Camera, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """One task. Keys of nested observations and actions are flattened to `a/b`.

    Attributes:
      suite, task: together the name, `suite/task`, in the suite's own spelling.
      observation, action: modality of each key. A caption is a task whose action is Text; in pure text there is no
        observation.
      metric: what a score is, the undiscounted `return` of an episode or its `success` (0 or 1).
      control_rate_hz: how often actions are taken, None where time has no unit.
      instructions: phrasings of the instruction, where the task has any.
      embodiment: the robot, where there is one.
    """

    suite: str
    task: str
    observation: Mapping[str, Modality]
    action: Mapping[str, Modality]
    metric: Metric = "return"
    control_rate_hz: float | None = None
    instructions: tuple[str, ...] | None = None
    embodiment: Embodiment | None = None

    def __post_init__(self):
        if not self.observation and not self.action:
            raise SpecError(f"{self.name}: a task needs an observation or an action")
        if self.metric not in ("return", "success"):
            raise SpecError(f"{self.name}: metric must be 'return' or 'success', got {self.metric!r}")
        for side, tree in (("observation", self.observation), ("action", self.action)):
            for key, modality in tree.items():
                if not isinstance(modality, Modality):
                    raise SpecError(
                        f"{self.name}: {side} {key!r} is {modality!r}; use Text, Image, Discrete or Continuous"
                    )
        for key, modality in self.action.items():
            if isinstance(modality, Image):
                raise SpecError(f"{self.name}: action {key!r} is an Image; images have no tokens to predict")

    @property
    def name(self) -> str:
        return f"{self.suite}/{self.task}"

    def to_json(self) -> dict[str, Any]:
        """The spec as strict JSON, with infinite limits as "inf" and "-inf"; `from_json` is its inverse."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for side in ("observation", "action"):
            fields[side] = {key: {"kind": type(m).__name__.lower(), **vars(m)} for key, m in fields[side].items()}
        if self.embodiment is not None:
            fields["embodiment"] = dataclasses.asdict(self.embodiment)
        return _to_json(fields)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> TaskSpec:
        fields = dict(fields)
        for side in ("observation", "action"):
            fields[side] = {key: _modality(m) for key, m in fields[side].items()}
        if fields.get("instructions") is not None:
            fields["instructions"] = tuple(fields["instructions"])
        if fields.get("embodiment") is not None:
            body = dict(fields["embodiment"])
            body["cameras"] = tuple(Camera(**_tuples(camera)) for camera in body["cameras"])
            fields["embodiment"] = Embodiment(**body)
        return cls(**fields)


def _modality(fields: Mapping[str, Any]) -> Modality:
    fields = _tuples(fields)
    kind = fields.pop("kind")
    if kind not in _MODALITIES:
        raise SpecError(f"unknown modality {kind!r}; one of {', '.join(_MODALITIES)}")
    for name in {"low", "high"} & fields.keys():
        fields[name] = _limit(name, fields[name])
    return _MODALITIES[kind](**fields)


def _limit(name: str, value: Any) -> tuple[float, ...] | float:
    """A limit as `to_json` writes it, where an infinite one is "inf" or "-inf"."""
    try:
        return tuple(map(float, value)) if isinstance(value, tuple) else float(value)
    except (TypeError, ValueError):
        raise SpecError(f'Continuous.{name} is {value!r}, needs numbers, "inf" or "-inf"') from None


def _tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has lists where a spec has tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}


def _to_json(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {key: _to_json(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [_to_json(value) for value in tree]
    return str(tree) if isinstance(tree, float) and math.isinf(tree) else tree
