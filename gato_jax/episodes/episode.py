"""Episode: time-major arrays with the step fields of RLDS, and the provenance of the recording."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np

from gato_jax.episodes.dataclass_reader import DataclassReader
from gato_jax.episodes.keys import flatten


class EpisodeError(ValueError):
    """An episode or provenance whose fields contradict each other or are not valid; the message names the field."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Provenance:
    """Origin of an episode. All fields are text, so that every format can store them; empty if unknown.

    Attributes:
      source: package, dataset or laboratory, with version.
      licence: SPDX identifier or name of the licence.
      kind: `real` (recorded on real equipment), `simulated`, or `synthetic` (made from data without time, such as
        captions).
      collector: person or program that recorded the episode.
      equipment: robot, simulator or emulator.
      variation: parameters of the simulator that were drawn for this episode, such as a game's mode, masses and lights,
        as JSON; initial states and goals, which every episode draws, are not among them.
      agent: what chose the actions, with the noise that was added to them, if any.
      consent: consent of the people who are seen or heard or who teleoperated, and its place of record.
      serial_numbers: serial numbers of the equipment, comma-separated.
      calibration: date, method and place of the values of the equipment's calibration.
      recorded_at: time in ISO 8601, or an interval START/END.
      annotator: person or program that wrote the instructions and labels.
      content_credentials: C2PA manifest of the images, as JSON.

    Raises:
      EpisodeError: a field is not a str, `kind` is none of the three, or `recorded_at` is not ISO 8601.
    """

    source: str
    licence: str
    kind: Literal["real", "simulated", "synthetic"]
    collector: str = ""
    equipment: str = ""
    variation: str = ""
    agent: str = ""
    consent: str = ""
    serial_numbers: str = ""
    calibration: str = ""
    recorded_at: str = ""
    annotator: str = ""
    content_credentials: str = ""

    def __post_init__(self):
        DataclassReader(error=EpisodeError).check(self, "provenance")
        for time in self.recorded_at.split("/") if self.recorded_at else ():
            try:
                datetime.datetime.fromisoformat(time)
            except ValueError:
                raise EpisodeError(
                    f"provenance: recorded_at is {self.recorded_at!r}, expected ISO 8601, such as "
                    "2026-03-01T09:30:00+01:00, or START/END"
                ) from None


def join_distinct(provenances: Iterable[Provenance], field: str) -> str:
    """Return the distinct values of one field of `Provenance` in order of appearance, joined by "; ".

    A value that some of the provenances lack is "not stated". The text is empty if none of them has a value.
    """
    values = dict.fromkeys(getattr(provenance, field) for provenance in provenances)
    return "; ".join(value or "not stated" for value in values) if any(values) else ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Episode:
    """One episode of T steps, a final observation included; `len` is T.

    Attributes:
      task: name of the task, `suite/task`.
      observation: {key: array with leading axis T}; text is an object array of str. Nested keys are flattened to `a/b`.
      action: {key: array with leading axis T}, flattened as well.
      reward: (T,) float32, the reward that followed the step's action.
      discount: (T,) float32, the discount that followed the step's action: 0 if it ended the task, else usually 1.
      is_first, is_last, is_terminal: (T,) bool, as RLDS defines them.
      provenance: origin of the episode.
      final_observation: True if the last step holds only the observation that the last action led to, as in RLDS
        recordings of environments. The action of that step is a placeholder, which is neither predicted nor scored.
      success: whether the task's own criterion was met; None if it has none.
      seed: seed of the environment's reset; None if there is none.
      score: score in the task's metric, computed while the episode is played. It is not stored: None after reading.
      frames: (acting steps, height, width, 3) uint8, the scene before each action; None unless asked for, not stored.

    Raises:
      EpisodeError: there are no steps, an observation or action is not a NumPy array, two keys flatten to the same, or
        the arrays differ in T. Shapes at one step and dtypes are checked only when the episode is written.
    """

    task: str
    observation: Mapping[str, Any]
    action: Mapping[str, Any]
    reward: np.ndarray
    discount: np.ndarray
    is_first: np.ndarray
    is_last: np.ndarray
    is_terminal: np.ndarray
    provenance: Provenance
    final_observation: bool = False
    success: bool | None = None
    seed: int | None = None
    score: float | None = None
    frames: np.ndarray | None = None

    def __post_init__(self):
        for side in ("observation", "action"):
            object.__setattr__(self, side, flatten(getattr(self, side), f"{self.task}: {side}", EpisodeError))
            for key, values in getattr(self, side).items():
                if not isinstance(values, np.ndarray):
                    raise EpisodeError(
                        f"{self.task}: {side} {key!r} is a {type(values).__name__}, expected a NumPy array"
                    )
        if len(self.reward) == 0:
            raise EpisodeError(f"{self.task}: the episode has 0 steps, expected at least one")
        arrays = {f"observation {k!r}": v for k, v in self.observation.items()}
        arrays |= {f"action {k!r}": v for k, v in self.action.items()}
        arrays |= {name: getattr(self, name) for name in ("discount", "is_first", "is_last", "is_terminal")}
        for name, array in arrays.items():
            if len(array) != len(self.reward):
                raise EpisodeError(f"{self.task}: {name} has {len(array)} steps, reward has {len(self.reward)}")

    def __len__(self) -> int:
        return len(self.reward)

    @property
    def acting_steps(self) -> int:
        """Number of steps whose action was taken; a final observation does not count."""
        return len(self) - int(self.final_observation)

    @property
    def episode_return(self) -> float:
        """Undiscounted sum of the rewards."""
        return float(np.sum(self.reward, dtype=np.float64))
