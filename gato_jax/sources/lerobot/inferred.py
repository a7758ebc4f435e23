"""The fields of a LeRobot dataset as far as it declares them itself, and what had to be assumed."""

from __future__ import annotations

import math
import re

import numpy as np

from gato_jax.episodes import Camera, Continuous, Discrete, Embodiment, Image, Modality, Provenance, Text
from gato_jax.sources.fields import Fields
from gato_jax.sources.lerobot.metadata import Feature, LeRobotMetadata
from gato_jax.sources.reader import SourceError

TASK = "task"  # the instruction, which `task_index` stands for
_SIDE = 64
_BOOKKEEPING = ("timestamp", "frame_index", "episode_index", "index", "task_index", "next.done")
_RESULTS = {"next.reward": "reward", "next.success": "success"}
_HALF_WIDTH = 0.5  # of the range of an element that never changes
_LEAST_WIDTH = 1e-6  # relative: a narrower range is one of rounding


def infer_fields(metadata: LeRobotMetadata) -> tuple[Fields, tuple[str, ...]]:
    """All features that can be an observation or an action, and in sentences what was assumed or left out.

    `observation.images.top` becomes the observation `images/top`, `action` the action `action`, `action.arm` the action
    `arm`, and the text of the task the observation `instruction`. Images are averaged to 64 by 64. Actions get the
    limits of the dataset's own statistics.

    Raises:
      SourceError: there is no action with limits, or a feature is not declared as LeRobot does.
    """
    notes: list[str] = []
    sides: dict[str, dict[str, tuple[str, Modality]]] = {"observation": {}, "action": {}}
    sizes: dict[str, tuple[int, int]] = {}
    results = {}
    for name, feature in metadata.features.items():
        side, _, key = name.partition(".")
        key = key.replace(".", "/") or name
        if name in _RESULTS:
            results[_RESULTS[name]] = name
        elif name in _BOOKKEEPING:
            continue
        elif side not in sides:
            notes.append(f"{name} is left out: neither an observation nor an action")
        elif feature.dtype in ("image", "video") and side == "observation":
            height, width, channels = _image_shape(metadata, name, feature)
            sides[side][key] = (name, Image(height=_SIDE, width=_SIDE, channels=channels))
            sizes[key] = height, width
        elif (modality := _vector(metadata, side, name, feature, notes)) is not None:
            sides[side][key] = (name, modality)
        else:
            notes.append(f"{name} is left out: its dtype is {feature.dtype!r}")
    sides["observation"].setdefault("instruction", (TASK, Text()))  # a feature of this name is the instruction itself
    if not sides["action"]:
        raise SourceError(f"{metadata.root}: none of its features is an action; give fields that name one")
    body = None
    if metadata.robot is not None:
        body = Embodiment(robot=metadata.robot, cameras=tuple(Camera(key=key) for key in sizes))
    return Fields(
        suite="lerobot",
        task=metadata.root.resolve().name,
        observation=sides["observation"],
        action=sides["action"],
        provenance=_provenance(metadata, notes),
        control_rate_hz=metadata.fps,
        embodiment=body,
        metric="success" if "success" in results else "return",
        recorded_sizes=sizes,
        **results,
    ), tuple(notes)


def _vector(metadata: LeRobotMetadata, side: str, name: str, feature: Feature, notes: list[str]) -> Modality | None:
    """The modality of a feature that is no image; None where there is none."""
    shape = feature.shape
    if feature.dtype == "string":
        return Text()
    if feature.dtype == "bool":
        return Discrete(n=2, shape=shape)
    if not feature.dtype.startswith(("float", "int", "uint")):
        return None
    if side == "observation":
        return Continuous(shape=shape)
    low, high = metadata.limits(name)
    if low.shape != (math.prod(shape),) or not (np.isfinite(high - low) & (low <= high)).all():
        raise SourceError(
            f"{metadata.root}: the statistics of {name!r} are from {low} to {high}, for the shape {shape}; give fields"
        )
    notes.append(f"{name} has as limits the least and greatest values recorded: {low.tolist()} to {high.tolist()}")
    constant = high - low <= _LEAST_WIDTH * np.maximum(1.0, np.abs(high))
    if constant.any():
        low, high = low - _HALF_WIDTH * constant, high + _HALF_WIDTH * constant
        notes.append(f"{name} never changes in its elements {np.flatnonzero(constant).tolist()}: their range is 1 wide")
    return Continuous(shape=shape, low=tuple(low.tolist()), high=tuple(high.tolist()))


def _image_shape(metadata: LeRobotMetadata, name: str, feature: Feature) -> tuple[int, int, int]:
    """Height, width and channels, which are declared in either order."""
    shape, names = feature.shape, feature.names
    if len(shape) == 3:
        first = names[0].startswith("channel") if names else shape[0] in (1, 3)
        channels, height, width = shape if first else (shape[2], *shape[:2])
        if channels in (1, 3):
            return height, width, 3 if metadata.is_video(name) else channels
    raise SourceError(f"{metadata.root}: {name!r} has the shape {shape} ({names}), which is no image; give fields")


def _provenance(metadata: LeRobotMetadata, notes: list[str]) -> Provenance:
    """From the dataset's card, README.md, where there is one."""
    card = metadata.root / "README.md"
    text = card.read_text(errors="replace") if card.is_file() else ""
    header = text.removeprefix("---\n").partition("\n---")[0] if text.startswith("---\n") else ""
    licence = re.search(r"^license:[ \t]*(\S+)", header, re.MULTILINE)
    if licence is None:
        notes.append("its licence is not told")
    notes.append("that it was recorded on real equipment is assumed: LeRobot does not tell")
    return Provenance(
        source=f"LeRobot dataset {metadata.root.resolve().name}, format {metadata.version}",
        licence=licence[1].strip("\"'") if licence else "",
        kind="real",
        collector="",
        equipment=metadata.robot or "",
    )
