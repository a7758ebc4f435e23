"""Description of a task: modalities of its observations and actions, metric, control rate and embodiment."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

from gato_jax.episodes.dataclass_reader import DataclassReader, to_json
from gato_jax.episodes.embodiment import Embodiment
from gato_jax.episodes.errors import SpecError
from gato_jax.episodes.keys import flatten, nest
from gato_jax.episodes.modalities import Image, Modality, modality_to_json

Metric = Literal["return", "success"]
_READER = DataclassReader(error=SpecError)
# In JSON all keys are flat; the constructor also takes nested ones.
_MODALITIES = {"read_as": Mapping[str, Modality]}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """Description of one task, whose full name is `suite/task`.

    Attributes:
      suite: name of the suite.
      task: name of the task within the suite, in the suite's own spelling.
      observation: {key: modality}. Nested keys, {a: {b: modality}}, are flattened to `a/b`. Empty for pure text.
      action: {key: modality}, flattened as well. For captions and dialogue, the action is a Text.
      metric: the score of an episode: its undiscounted `return`, or its `success` (0 or 1).
      control_rate_hz: number of actions a second; None where time has no unit.
      max_steps: number of steps after which an episode is cut off; None if there is no such limit, or it varies.
      instructions: phrasings of the task's instruction; None if it has none.
      embodiment: the robot that acts; None if there is none. Its keys are keys of `observation` and `action`.

    Raises:
      SpecError: a field has a wrong type or contradicts another field, a key lies below another one, as `a/b` does
        below `a`, an action is an Image, or there is neither an observation nor an action.
    """

    suite: str
    task: str
    observation: Mapping[str, Any] = dataclasses.field(metadata=_MODALITIES)
    action: Mapping[str, Any] = dataclasses.field(metadata=_MODALITIES)
    metric: Metric = "return"
    control_rate_hz: float | None = None
    max_steps: int | None = None
    instructions: tuple[str, ...] | None = None
    embodiment: Embodiment | None = None

    def __post_init__(self):
        for side in ("observation", "action"):
            object.__setattr__(self, side, flatten(getattr(self, side), f"{self.name}: {side}", SpecError))
            for key, modality in getattr(self, side).items():
                if not isinstance(modality, Modality):
                    raise SpecError(
                        f"{self.name}: {side} {key!r} is {modality!r}, expected Text, Image, Discrete or Continuous"
                    )
            try:
                nest(getattr(self, side))
            except SpecError as error:
                raise SpecError(f"{self.name}: {side}: {error}") from None
        if not self.observation and not self.action:
            raise SpecError(f"{self.name}: a task needs an observation or an action")
        for key, modality in self.action.items():
            if isinstance(modality, Image):
                raise SpecError(f"{self.name}: action {key!r} is an Image; images have no tokens to predict")
        _READER.check(self, f"{self.name}: TaskSpec")
        if self.control_rate_hz is not None and not 0 < self.control_rate_hz < math.inf:
            raise SpecError(
                f"{self.name}: control_rate_hz is {self.control_rate_hz}, expected a positive number. Give None where "
                "time has no unit."
            )
        if self.max_steps is not None and self.max_steps < 1:
            raise SpecError(f"{self.name}: max_steps is {self.max_steps}, expected 1 or more. Give None for no limit.")
        if self.embodiment is not None:
            self.embodiment.check(self.name, self.observation, self.action)

    @property
    def name(self) -> str:
        return f"{self.suite}/{self.task}"

    def to_json(self) -> dict[str, Any]:
        """Return the spec as a dict for strict JSON, with infinite limits as "inf" and "-inf", for `from_json`."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for side in ("observation", "action"):
            fields[side] = {key: modality_to_json(modality) for key, modality in fields[side].items()}
        if self.embodiment is not None:
            fields["embodiment"] = dataclasses.asdict(self.embodiment)
        return to_json(fields)

    @classmethod
    def from_json(cls, fields: Any) -> TaskSpec:
        """Return the spec from the dict that `to_json` returned; fields with a default may be missing.

        Raises:
          SpecError: `fields` is not a mapping, or a key or value is not as `to_json` writes it.
        """
        name = f"{fields.get('suite')}/{fields.get('task')}: spec" if isinstance(fields, Mapping) else "a task"
        return cls(**_READER.arguments(cls, fields, name))
