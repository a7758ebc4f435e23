"""Fields of a LeRobot dataset, inferred from its own metadata."""

from __future__ import annotations

import math
import re

import numpy as np

from gato_jax.episodes import Camera, Continuous, Discrete, Embodiment, Image, Modality, Provenance, Text
from gato_jax.sources.fields import Fields
from gato_jax.sources.lerobot.metadata import Feature, LeRobotMetadata
from gato_jax.sources.reader import SourceError

TASK = "task"  # name of the instruction, which LeRobot stores as the number `task_index`
_SIDE = 64  # pixels, of an observed image
_BOOKKEEPING = ("timestamp", "frame_index", "episode_index", "index", "task_index", "next.done")
_RESULTS = {"next.reward": "reward", "next.success": "success"}
_HALF_RANGE = 0.5  # half of the range that an element gets whose recorded value never changes
_ROUNDING = 1e-6  # relative range below which an element counts as constant


def infer_fields(metadata: LeRobotMetadata) -> tuple[Fields, tuple[str, ...]]:
    """Infer the fields of a dataset from its metadata, with all features that can be observations or actions.

    `observation.images.top` becomes the observation `images/top`, `action` the action `action`, `action.arm` the action
    `arm`, and the text of the task the observation `instruction`. `next.reward` becomes the reward and `next.success`
    the success flag. Images are averaged to 64 by 64 pixels. The limits of actions are the smallest and largest values
    in the dataset's statistics; an element whose two values are equal gets 0.5 below and above. Columns that only
    number or time the steps, such as `frame_index`, are left out without a note.

    Args:
      metadata: Metadata of the dataset.

    Returns:
      The fields, and sentences that say what was assumed and which features were left out.

    Raises:
      SourceError: No feature is an action, an action has no valid statistics, or an image has no valid shape.
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
            notes.append(f"{name} is left out, because it is neither an observation nor an action")
        elif feature.dtype in ("image", "video") and side == "observation":
            height, width, channels = _image_shape(metadata, name, feature)
            sides[side][key] = (name, Image(height=_SIDE, width=_SIDE, channels=channels))
            sizes[key] = height, width
        elif (modality := _vector(metadata, side, name, feature, notes)) is not None:
            sides[side][key] = (name, modality)
        else:
            notes.append(f"{name} is left out, because its dtype is {feature.dtype!r}")
    if metadata.tasks:
        sides["observation"].setdefault("instruction", (TASK, Text()))  # a feature of this name takes precedence
    else:
        notes.append(f"the instruction is left out, because there is none: {metadata.missing_tasks or 'no task'}")
    if not sides["action"]:
        raise SourceError(
            f"cannot infer the fields of {metadata.root}: none of its features is an action. Give fields that name one."
        )
    embodiment = None
    if metadata.robot is not None:
        embodiment = Embodiment(robot=metadata.robot, cameras=tuple(Camera(key=key) for key in sizes))
    return Fields(
        suite="lerobot",
        task=metadata.root.resolve().name,
        observation=sides["observation"],
        action=sides["action"],
        provenance=_provenance(metadata, notes),
        control_rate_hz=metadata.fps,
        embodiment=embodiment,
        metric="success" if "success" in results else "return",
        recorded_sizes=sizes,
        **results,
    ), tuple(notes)


def _vector(metadata: LeRobotMetadata, side: str, name: str, feature: Feature, notes: list[str]) -> Modality | None:
    """Return the modality of a feature that is not an image, or None if its dtype has no modality.

    Strings are Text, booleans Discrete of two values, and all other numbers Continuous, with limits only for actions.
    Sentences about assumed limits are appended to `notes`. An action element that never changes gets the limits 0.5
    below and 0.5 above its value.

    Args:
      metadata: Metadata of the dataset.
      side: `observation` or `action`.
      name: Name of the feature.
      feature: Its declaration.
      notes: List to append to.

    Raises:
      SourceError: An action of numbers has no statistics, or they are not finite or do not have the feature's shape.
    """
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
            f"cannot infer the limits of {name!r} in {metadata.root}: its statistics are from {low} to {high}, "
            f"expected finite numbers of shape {shape}. Give fields with limits."
        )
    notes.append(
        f"the limits of {name} are the smallest and largest recorded values: {low.tolist()} to {high.tolist()}"
    )
    constant = high - low <= _ROUNDING * np.maximum(1.0, np.abs(high))
    if constant.any():
        low, high = low - _HALF_RANGE * constant, high + _HALF_RANGE * constant
        elements = np.flatnonzero(constant).tolist()
        notes.append(f"the elements {elements} of {name} never change, so their limits are set 1 apart")
    return Continuous(shape=shape, low=tuple(low.tolist()), high=tuple(high.tolist()))


def _image_shape(metadata: LeRobotMetadata, name: str, feature: Feature) -> tuple[int, int, int]:
    """Return (height, width, channels) of an image feature, which may be declared with channels first or last.

    The names of the axes, if declared, tell where the channels are; otherwise they are first if the first axis is 1 or
    3. For a video, 3 channels are returned even if 1 is declared.

    Raises:
      SourceError: The shape does not have three axes, or the number of channels is neither 1 nor 3.
    """
    shape, names = feature.shape, feature.names
    if len(shape) == 3:
        channels_first = names[0].startswith("channel") if names else shape[0] in (1, 3)
        channels, height, width = shape if channels_first else (shape[2], *shape[:2])
        if channels in (1, 3):
            return height, width, 3 if metadata.is_video(name) else channels
    raise SourceError(
        f"cannot infer the fields of {metadata.root}: the shape of the image {name!r} is {shape} ({names}), expected "
        "height, width and 1 or 3 channels. Give fields."
    )


def _provenance(metadata: LeRobotMetadata, notes: list[str]) -> Provenance:
    """Return the provenance of the dataset, with the licence from the header of its README.md.

    Without a README.md, or a `license` in its header, the licence is "". The kind is always "real". Sentences about
    what is unknown or assumed are appended to `notes`.
    """
    card = metadata.root / "README.md"
    text = card.read_text(errors="replace") if card.is_file() else ""
    header = text.removeprefix("---\n").partition("\n---")[0] if text.startswith("---\n") else ""
    licence = re.search(r"^license:[ \t]*(\S+)", header, re.MULTILINE)
    if licence is None:
        notes.append("the licence is unknown")
    notes.append("recording on real equipment is assumed, because LeRobot datasets do not declare it")
    return Provenance(
        source=f"LeRobot dataset {metadata.root.resolve().name}, format {metadata.version}",
        licence=licence[1].strip("\"'") if licence else "",
        kind="real",
        collector="",
        equipment=metadata.robot or "",
    )
