"""What the fields of a recording mean: which of them are observations and actions, of which modality and body."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gato_jax.episodes import EpisodeError, Image, Modality, Provenance, SpecError, TaskSpec
from gato_jax.episodes.embodiment import Embodiment
from gato_jax.episodes.modalities import modality_from_json, modality_to_json
from gato_jax.episodes.specs import Metric
from gato_jax.episodes.strict_json import plain, read_fields
from gato_jax.sources.reader import SourceError

FIELDS_FILE = "fields.json"
_PART = re.compile(r"(?P<path>.+)\[(?P<start>\d+):(?P<stop>\d+)\]")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fields:
    """The fields of a recording that are wanted, and what they mean, which few formats say themselves.

    A field is named by its path in the recording, as `observation/state`; `action[0:6]` are the first six elements of
    its vector.

    Attributes:
      suite, task: the name of the task here.
      observation, action: {our key: (the field, its modality)}. An Image has the size and `fit` that is wanted:
        recorded images are averaged to it (`resize`), after padding with black (`pad`) or cropping the middle (`crop`)
        to its proportions. A Text field may also be one string for the whole episode.
      provenance: of the recordings, unless these say more.
      control_rate_hz, embodiment, metric, instructions: as in TaskSpec.
      reward: the field of the rewards; they are zero without.
      success: the field that says whether the episode succeeded, one value, or one a step, of which the last counts.
      timestamps: the field of the times, in any unit; they have to increase.
      recorded_sizes: {observation key: (height, width)} of the recorded images, where other sizes are to be refused.
    """

    suite: str
    task: str
    observation: Mapping[str, tuple[str, Modality]]
    action: Mapping[str, tuple[str, Modality]]
    provenance: Provenance
    control_rate_hz: float | None = None
    embodiment: Embodiment | None = None
    metric: Metric = "return"
    instructions: tuple[str, ...] | None = None
    reward: str | None = None
    success: str | None = None
    timestamps: str | None = None
    recorded_sizes: Mapping[str, tuple[int, int]] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def spec(self) -> TaskSpec:
        """The task. Raises SpecError where the fields contradict each other."""
        return TaskSpec(
            suite=self.suite,
            task=self.task,
            observation={key: modality for key, (_, modality) in self.observation.items()},
            action={key: modality for key, (_, modality) in self.action.items()},
            metric=self.metric,
            control_rate_hz=self.control_rate_hz,
            instructions=self.instructions,
            embodiment=self.embodiment,
        )

    def with_image_size(self, height: int, width: int) -> Fields:
        """The same with images of this size. Intrinsics of cameras are of the old size, so they are left out."""
        observation = {
            key: (path, dataclasses.replace(modality, height=height, width=width))
            if isinstance(modality, Image)
            else (path, modality)
            for key, (path, modality) in self.observation.items()
        }
        embodiment = self.embodiment
        if embodiment is not None:
            cameras = tuple(dataclasses.replace(camera, intrinsics=None) for camera in embodiment.cameras)
            embodiment = dataclasses.replace(embodiment, cameras=cameras)
        return dataclasses.replace(self, observation=observation, embodiment=embodiment)

    def to_json(self) -> dict[str, Any]:
        """Strict JSON; `from_json` is its inverse."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for side in ("observation", "action"):
            fields[side] = {
                key: {"field": path, **modality_to_json(modality)} for key, (path, modality) in fields[side].items()
            }
        fields["provenance"] = dataclasses.asdict(self.provenance)
        fields["embodiment"] = None if self.embodiment is None else dataclasses.asdict(self.embodiment)
        return plain(fields)

    @classmethod
    def from_json(cls, fields: Any, where: str) -> Fields:
        """The fields from what `to_json` gave. Raises SourceError, naming `where` and the field."""
        try:
            values = read_fields(cls, fields, where, embodiment=Embodiment.from_json)
            for side in ("observation", "action"):
                values[side] = {key: _field(value, f"{where}.{side} {key!r}") for key, value in values[side].items()}
            provenance = read_fields(Provenance, values["provenance"], f"{where}.provenance")
            sizes = {key: tuple(size) for key, size in values.get("recorded_sizes", {}).items()}
            made = cls(**values | {"provenance": Provenance(**provenance), "recorded_sizes": sizes})
            return made if made.spec else made
        except (SpecError, EpisodeError) as error:
            raise SourceError(str(error)) from None
        except (AttributeError, TypeError) as error:
            raise SourceError(f"{where}: {error}; write it as Fields.to_json does") from None

    @classmethod
    def read(cls, file: str | Path) -> Fields:
        """The fields in a JSON file, as a person writes them."""
        try:
            return cls.from_json(json.loads(Path(file).read_text()), str(file))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise SourceError(f"{file}: no fields in JSON ({error}); name a file that holds them") from None

    def write(self, file: str | Path) -> None:
        """Writes what `read` reads."""
        Path(file).write_text(json.dumps(self.to_json(), indent=2))


def _field(value: Any, where: str) -> tuple[str, Modality]:
    if not isinstance(value, Mapping) or not isinstance(path := value.get("field"), str):
        raise SpecError(f'{where} is {value!r:.60}; it needs "field", the path in the recording, and a kind')
    return path, modality_from_json({name: part for name, part in value.items() if name != "field"}, where)


def split_path(path: str) -> tuple[str, slice | None]:
    """`action[0:6]` as `action` and its part, None for all of it."""
    if (part := _PART.fullmatch(path)) is None:
        return path, None
    return part["path"], slice(int(part["start"]), int(part["stop"]))
