"""Contents of the page of a played task at one moment, and its picture."""

from __future__ import annotations

import dataclasses
import io
import json
from typing import Any, Literal

import numpy as np
from PIL import Image

from gato_jax.episodes import Discrete, TaskSpec, Text
from gato_jax.rollouts import Action

Status = Literal["loading", "ready", "playing", "paused", "ended", "failed"]

_LOSSLESS_PIXELS = 256 * 256  # pictures up to this size, such as those of grids and arcade games, are sent as PNG
_JPEG_QUALITY = 85
_SHOWN_NUMBERS = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scene:
    """The contents of the page at one moment.

    Attributes:
      status: `loading` an environment or an actor; `ready` to begin; `playing`; `paused`; `ended`; `failed`, by an
        error or because the actor gave up.
      task: Name of the task.
      seed: Seed of the episode.
      player: Name of who plays, `person`, `expert` or `agent`.
      next_player: Name of who plays from the next episode on.
      players: Names of all who can play.
      step: Number of actions that were taken.
      max_steps: Number of actions after which the episode is cut off; None for no such limit.
      reward: Reward of the last action.
      episode_return: Sum of the rewards.
      instruction: The text that is observed; empty if there is none.
      action: The last action in words; empty before the first one.
      success: Whether the task's own criterion is met at the end; None before, and without a criterion.
      message: Anything else that the viewer has to know.
      hints: [key, effect] of each key with which the person plays.
      unmapped: Number of elements of the action that no key changes.
      waits: True if each step waits for a key.
      has_speed: True if the speed counts.
      speed: Share of the range of numbers that keys use.
      can_keep: True if episodes can be kept.
      keeps: True if this episode will be kept when it ends.
      is_kept: True if this episode is kept.
      kept: {player: number of kept episodes}.
    """

    status: Status = "loading"
    task: str
    seed: int
    player: str
    next_player: str
    players: tuple[str, ...]
    step: int = 0
    max_steps: int | None = None
    reward: float = 0.0
    episode_return: float = 0.0
    instruction: str = ""
    action: str = ""
    success: bool | None = None
    message: str = ""
    hints: tuple[tuple[str, str], ...] = ()
    unmapped: int = 0
    waits: bool = False
    has_speed: bool = False
    speed: float = 1.0
    can_keep: bool = False
    keeps: bool = False
    is_kept: bool = False
    kept: dict[str, int] = dataclasses.field(default_factory=dict)

    def to_json(self, **further: Any) -> str:
        """Return the fields, and further ones, as JSON."""
        return json.dumps({**dataclasses.asdict(self), **further})


@dataclasses.dataclass(frozen=True)
class Picture:
    """An encoded picture.

    Attributes:
      number: Number that differs from that of every other picture.
      data: PNG or JPEG.
    """

    number: int
    data: bytes


def encode_picture(frame: np.ndarray) -> bytes:
    """Return a frame, (height, width, 3) uint8, as PNG if it is small, and as JPEG otherwise."""
    buffer = io.BytesIO()
    if frame.shape[0] * frame.shape[1] <= _LOSSLESS_PIXELS:
        Image.fromarray(frame).save(buffer, "PNG", compress_level=1)
    else:
        Image.fromarray(frame).save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()


def describe_action(spec: TaskSpec, names: tuple[str, ...], action: Action) -> str:
    """Return an action in words: the name of a discrete one, or its first numbers."""
    [(key, modality), *others] = sorted(spec.action.items())
    if not others and isinstance(modality, Discrete) and not modality.shape:
        return names[int(action[key])]
    values = np.concatenate([np.ravel(action[key]) for key in sorted(action)])
    more = f" and {len(values) - _SHOWN_NUMBERS} more" if len(values) > _SHOWN_NUMBERS else ""
    return ", ".join(f"{value:.3g}" for value in values[:_SHOWN_NUMBERS].tolist()) + more


def read_instruction(spec: TaskSpec, observation: dict[str, Any]) -> str:
    """Return the text that is observed, the first of several phrasings of the task where none is; empty without."""
    texts = [observation[key] for key, modality in spec.observation.items() if isinstance(modality, Text)]
    return "; ".join(texts) or (spec.instructions or ("",))[0]
