"""What an episode is: time-major arrays with the RLDS step fields, and where they came from."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from gato_jax.episodes.dataclass_reader import DataclassReader
from gato_jax.episodes.keys import flatten


class EpisodeError(ValueError):
    """An episode whose arrays contradict each other; the message names task, key and shapes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where an episode came from. Text throughout, so that every format can hold it; empty where it is not known.

    Attributes:
      source: the package, dataset or laboratory, with version.
      licence: SPDX identifier or the licence's name.
      kind: recorded on real equipment, simulated, or synthetic (made from data without time, as captions are).
      collector: who or what recorded it.
      equipment: robot, simulator or emulator.
      agent: what chose the actions, with the noise on them if any.
      consent: what the people who are seen, heard or were teleoperating agreed to, and where that is written down.
      serial_numbers: of the equipment, comma-separated.
      calibration: of the equipment: when, how, and where its values lie.
      recorded_at: ISO 8601, a time or the interval START/END.
      annotator: who or what wrote the instructions and labels.
      content_credentials: the C2PA manifest of the images, as JSON.
    """

    source: str
    licence: str
    kind: Literal["real", "simulated", "synthetic"]
    collector: str = ""
    equipment: str = ""
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
                    f"provenance: recorded_at is {self.recorded_at!r}; write ISO 8601, as 2026-03-01T09:30:00+01:00, "
                    "or START/END"
                ) from None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Episode:
    """One episode of T steps.

    Attributes:
      task: name of its TaskSpec, `suite/task`.
      observation, action: {key: array of T leading}; text is an object array of str. Nested ones are
        flattened to `a/b`.
      reward: (T,) float32, what followed the step's action. discount: (T,) float32.
      is_first, is_last, is_terminal: (T,) bool, as RLDS defines them.
      final_observation: True where the last step holds only the observation that the last action led to, as RLDS
        has it for environments; its action is a placeholder and is neither predicted nor scored.
      success: whether the task's own criterion was met, None where it has none.
      seed: of the environment's reset, None where there is none.
      score: in the task's own metric, computed while the episode is played. It is not stored: None after reading.
      frames: (acting steps, height, width, 3) uint8, the scene before each action; not stored, None unless asked for.
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
                    raise EpisodeError(f"{self.task}: {side} {key!r} is a {type(values).__name__}, needs a NumPy array")
        if len(self.reward) == 0:
            raise EpisodeError(f"{self.task}: an episode needs at least one step")
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
        """How many steps hold an action that was taken."""
        return len(self) - int(self.final_observation)

    @property
    def episode_return(self) -> float:
        """The undiscounted sum of rewards."""
        return float(np.sum(self.reward, dtype=np.float64))
