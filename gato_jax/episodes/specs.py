"""What a task is: the modalities it shows, the actions it takes, the body it has, and how success is counted."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

from gato_jax.episodes.embodiment import Embodiment
from gato_jax.episodes.errors import SpecError
from gato_jax.episodes.keys import flatten
from gato_jax.episodes.modalities import Image, Modality, modality_from_json, modality_to_json
from gato_jax.episodes.strict_json import plain, read_fields

Metric = Literal["return", "success"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """One task.

    Attributes:
      suite, task: together the name, `suite/task`, in the suite's own spelling.
      observation, action: modality of each key. Nested ones, {a: {b: modality}}, are flattened to `a/b`. A caption is a
        task whose action is Text; in pure text there is no observation.
      metric: what a score is, the undiscounted `return` of an episode or its `success` (0 or 1).
      control_rate_hz: how often actions are taken, None where time has no unit.
      instructions: phrasings of the instruction, where the task has any.
      embodiment: the robot, where there is one; its keys are those of this observation and action.

    Raises:
      SpecError: a field contradicts itself or another.
    """

    suite: str
    task: str
    observation: Mapping[str, Any]
    action: Mapping[str, Any]
    metric: Metric = "return"
    control_rate_hz: float | None = None
    instructions: tuple[str, ...] | None = None
    embodiment: Embodiment | None = None

    def __post_init__(self):
        for side in ("observation", "action"):
            object.__setattr__(self, side, flatten(getattr(self, side), f"{self.name}: {side}", SpecError))
            for key, modality in getattr(self, side).items():
                if not isinstance(modality, Modality):
                    raise SpecError(
                        f"{self.name}: {side} {key!r} is {modality!r}; use Text, Image, Discrete or Continuous"
                    )
        if not self.observation and not self.action:
            raise SpecError(f"{self.name}: a task needs an observation or an action")
        for key, modality in self.action.items():
            if isinstance(modality, Image):
                raise SpecError(f"{self.name}: action {key!r} is an Image; images have no tokens to predict")
        if self.metric not in ("return", "success"):
            raise SpecError(f"{self.name}: metric must be 'return' or 'success', got {self.metric!r}")
        if self.control_rate_hz is not None:
            object.__setattr__(self, "control_rate_hz", self._rate(self.control_rate_hz))
        if self.instructions is not None:
            object.__setattr__(self, "instructions", self._phrasings(self.instructions))
        if self.embodiment is not None:
            if not isinstance(self.embodiment, Embodiment):
                raise SpecError(f"{self.name}: embodiment is {self.embodiment!r}, needs an Embodiment or None")
            self.embodiment.check(self.name, self.observation, self.action)

    @property
    def name(self) -> str:
        return f"{self.suite}/{self.task}"

    def _rate(self, rate: Any) -> float:
        if not (isinstance(rate, (int, float)) and 0 < rate < math.inf):
            raise SpecError(f"{self.name}: control_rate_hz is {rate!r}, needs a positive number, or None without time")
        return float(rate)

    def _phrasings(self, texts: Any) -> tuple[str, ...]:
        if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
            raise SpecError(f"{self.name}: instructions is {texts!r:.60}, needs a tuple of strings")
        return tuple(texts)

    def to_json(self) -> dict[str, Any]:
        """The spec as strict JSON, with infinite limits as "inf" and "-inf"; `from_json` is its inverse."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for side in ("observation", "action"):
            fields[side] = {key: modality_to_json(modality) for key, modality in fields[side].items()}
        if self.embodiment is not None:
            fields["embodiment"] = dataclasses.asdict(self.embodiment)
        return plain(fields)

    @classmethod
    def from_json(cls, fields: Any) -> TaskSpec:
        """The spec from what `to_json` gave. Raises SpecError for whatever `to_json` cannot have given."""
        name = f"{fields.get('suite')}/{fields.get('task')}: spec" if isinstance(fields, Mapping) else "a task"
        readers = {"observation": _modalities, "action": _modalities, "embodiment": Embodiment.from_json}
        return cls(**read_fields(cls, fields, name, **readers))


def _modalities(fields: Any, where: str) -> dict[str, Modality]:
    if not isinstance(fields, Mapping):
        raise SpecError(f"{where} is {fields!r:.60}, needs an object of modalities")
    return {key: modality_from_json(modality, f"{where} {key!r}") for key, modality in fields.items()}
