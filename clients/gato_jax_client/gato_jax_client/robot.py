"""Descriptions of robots, and their comparison with the task that an agent was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gato_jax_client.differences import require_same

_TOLERANCE = 1e-6  # of a limit, relative to the range: limits and actions are rounded to float32

_FIELDS = {  # of each kind of modality
    "continuous": ("shape", "low", "high"),
    "discrete": ("n", "shape"),
    "image": ("height", "width", "channels"),
}


class RobotError(ValueError):
    """A robot, or one of its actions, that does not fit the task; the message has a line for each difference."""


Limit = float | Sequence[float]


def continuous(*shape: int, low: Limit = float("-inf"), high: Limit = float("inf")) -> dict[str, Any]:
    """Return the description of numbers of a shape, with limits: one for all elements or one for each."""
    return {"kind": "continuous", "shape": list(shape), "low": _limit(low), "high": _limit(high)}


def discrete(n: int, *shape: int) -> dict[str, Any]:
    """Return the description of integers in [0, n)."""
    return {"kind": "discrete", "n": n, "shape": list(shape)}


def image(height: int, width: int, channels: int = 3) -> dict[str, Any]:
    """Return the description of an image, uint8."""
    return {"kind": "image", "height": height, "width": width, "channels": channels}


def text() -> dict[str, Any]:
    """Return the description of a text, such as an instruction."""
    return {"kind": "text"}


def describe(
    *, observation: Mapping[str, Any], action: Mapping[str, Any], control_rate_hz: float | None = None
) -> dict[str, Any]:
    """Return the description of a robot from those of its keys.

    Args:
      observation: {key: description} of what the robot sends.
      action: {key: description} of what it executes.
      control_rate_hz: number of actions a second; None is not compared.
    """
    rate = {} if control_rate_hz is None else {"control_rate_hz": float(control_rate_hz)}
    return {"observation": dict(observation), "action": dict(action), **rate}


def require_complete(description: Mapping[str, Any], name: str, remedy: str):
    """Raise an error if a description of observations and actions lacks a key, which it names in one line.

    Args:
      description: description of a robot, see `describe`, or a TaskSpec as the server tells it.
      name: name of what is described, such as `the description of the robot`.
      remedy: last sentence of the message.

    Raises:
      RobotError: A key is missing.
    """
    missing = []
    for side in ("observation", "action"):
        modalities = description.get(side)
        if not isinstance(modalities, Mapping):
            missing.append(side)
            continue
        for key, modality in modalities.items():
            fields = modality if isinstance(modality, Mapping) else {}
            expected = ("kind", *_FIELDS.get(fields.get("kind", ""), ()))
            missing += [f"{side}.{key}.{field}" for field in expected if field not in fields]
    if missing:
        more = f" and {len(missing) - 8} more" if len(missing) > 8 else ""
        raise RobotError(f"{name} is incomplete: it lacks {', '.join(missing[:8])}{more}. {remedy}")


def require_robot(robot: Mapping[str, Any], spec: Mapping[str, Any], task: str):
    """Raise an error if a robot differs from a task, with a line for each difference.

    Args:
      robot: description of the robot, see `describe`.
      spec: the TaskSpec that the agent was trained on, as the server tells it.
      task: name of the task.

    Raises:
      RobotError: They differ, or the description of the robot lacks a key.
    """
    require_complete(robot, "the description of the robot", "Make it with `describe`.")
    held = {key: _comparable(spec.get(key)) for key in robot}
    require_same(
        {key: _comparable(value) for key, value in robot.items()}, held,
        problem=f"the robot is not the one of {task}, on which the agent was trained", holder=task, error=RobotError,
        remedy="Correct the description of the robot, or fine-tune an agent on recordings of this robot.",
    )  # fmt: skip


def check_action(spec: Mapping[str, Any], action: Mapping[str, Any], name: str) -> dict[str, np.ndarray]:
    """Return an action {key: array} after a check that the robot of a task can execute it.

    Args:
      spec: the TaskSpec, as the server tells it.
      action: {key: value}.
      name: name of the action in messages, such as `the safe action`.

    Raises:
      RobotError: A key is missing or unknown, or a value has another shape, is not finite or is outside of its limits.
    """
    modalities = spec["action"]
    if action.keys() != modalities.keys():
        raise RobotError(f"{name} has the keys {', '.join(action)}, expected {', '.join(modalities)}.")
    return {key: _check(modality, action[key], f"{name}: {key!r}") for key, modality in modalities.items()}


def to_vector(action: Mapping[str, Any]) -> np.ndarray:
    """Return the numbers of all keys of an action in one vector, float64, in the order of the task."""
    return np.concatenate([np.ravel(value) for value in action.values()]).astype(np.float64)


def from_vector(spec: Mapping[str, Any], numbers: Sequence[float]) -> dict[str, np.ndarray]:
    """Return the action {key: array} in a vector, see `to_vector`.

    Args:
      spec: the TaskSpec, as the server tells it.
      numbers: the numbers of all keys.

    Raises:
      RobotError: There are more or fewer numbers than the action has.
    """
    shapes = {key: tuple(modality["shape"]) for key, modality in spec["action"].items()}
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes.values()])
    if len(numbers) != ends[-1]:
        raise RobotError(f"an action has {len(numbers)} numbers, expected {ends[-1]} for {', '.join(shapes)}.")
    parts = np.split(np.asarray(numbers, np.float64), ends[:-1])
    return {key: part.reshape(shape) for (key, shape), part in zip(shapes.items(), parts, strict=True)}


def _check(modality: Mapping[str, Any], value: Any, name: str) -> np.ndarray:
    array = np.asarray(value)
    if array.shape != tuple(modality["shape"]) or array.dtype.kind not in "biuf":
        raise RobotError(f"{name} is {value!r:.60}, expected numbers of shape {tuple(modality['shape'])}.")
    if modality["kind"] == "discrete":
        low, high = np.float64(0), np.float64(modality["n"] - 1)
    else:
        low, high = (np.asarray(modality[side], np.float64) for side in ("low", "high"))
        low, high = (limit.reshape(array.shape) if limit.ndim else limit for limit in (low, high))
    slack = _TOLERANCE * np.where(np.isfinite(high - low), high - low, 0)
    if not (np.isfinite(array) & (array >= low - slack) & (array <= high + slack)).all():
        raise RobotError(f"{name} is {array}, expected finite numbers in [{low}, {high}].")
    if modality["kind"] == "continuous":
        return array.astype(np.float32)
    if (array != array.astype(np.int64)).any():
        raise RobotError(f"{name} is {array}, expected integers.")
    return array.astype(np.int64)


def _comparable(side: Any) -> Any:
    """Return a part of a description without `fit`, which is a matter of tokenization."""
    if not isinstance(side, Mapping):
        return side
    return {
        key: {name: field for name, field in value.items() if name != "fit"} if isinstance(value, Mapping) else value
        for key, value in side.items()
    }


def _limit(limit: Limit) -> Any:
    """Return a limit as JSON has it: infinite numbers as the texts `inf` and `-inf`."""
    values = np.asarray(limit, np.float64)
    if values.ndim:
        return [_limit(float(value)) for value in values.ravel()]
    return float(values) if np.isfinite(values) else str(float(values))
