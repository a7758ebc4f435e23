"""The mapping from the fields of a recording to the observations and actions of a task."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gato_jax.episodes import Image, Modality, Provenance, SpecError, TaskSpec
from gato_jax.episodes.dataclass_reader import DataclassReader, to_json
from gato_jax.episodes.embodiment import Embodiment
from gato_jax.episodes.modalities import modality_to_json
from gato_jax.episodes.specs import Metric
from gato_jax.runtime.paths import as_path
from gato_jax.sources.field_paths import FieldPath, parse_path
from gato_jax.sources.reader import SourceError

_READER = DataclassReader(error=SourceError)
FIELDS_FILE = "fields.json"
REMARK = "#"  # key of a remark in a file of fields, for people to read; it may hold any JSON value


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fields:
    """The fields of a recording that an episode is built from, with the modality of each.

    Few formats store the meaning of their fields, so a person writes it down, usually as `fields.json` beside the
    recording. A field is named by its path in the recording, such as `observation/state`. A slice selects elements of a
    vector: `action[0:6]` are its first six. A decoder converts the values: `drop_alpha(front)`. See `parse_path`.

    Attributes:
      suite: suite of the task.
      task: name of the task within the suite.
      observation: {observation key of the task: (path of the field, modality)}. Recorded images are resized to the size
        of their Image modality by area averaging, with black borders or cropping as its `fit` says. A Text field may
        be a single string for the whole episode.
      action: {action key of the task: (path of the field, modality)}.
      provenance: provenance of the recordings. Values that a recording itself stores override those given here.
      control_rate_hz: as in TaskSpec.
      embodiment: as in TaskSpec.
      metric: as in TaskSpec.
      instructions: as in TaskSpec.
      reward: path of the rewards. Default: all rewards are zero.
      success: path of the success flag, one value for an episode, or one for each step, of which the last counts.
        Nonzero means success. Default: success is unknown.
      timestamps: path of the times of the steps, in any unit. They must increase strictly.
      final_observation: whether the last step of an episode holds an observation and no action, as RLDS defines its
        `is_last`. The action there is then not learned. Default: what the format says; the last step of RLDS and Minari
        is such a step, that of other formats has an action.
      recorded_sizes: {observation key: (height, width)} in pixels that recorded images must have. The images of other
        keys may have any size, which must be the same at all steps of an episode.
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
    final_observation: bool | None = None
    recorded_sizes: Mapping[str, tuple[int, int]] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def paths(self) -> list[tuple[FieldPath, Modality | None]]:
        """The parsed paths with their modalities: observations, actions, reward, success and timestamps, in this order.

        The last three have no modality.

        Raises:
          SourceError: a decoder has wrong arguments.
        """
        described = [*self.observation.values(), *self.action.values()]
        others = [(path, None) for path in (self.reward, self.success, self.timestamps) if path is not None]
        return [(parse_path(path), modality) for path, modality in (*described, *others)]

    @functools.cached_property
    def spec(self) -> TaskSpec:
        """The task that the fields describe, built on first access.

        Raises:
          SpecError: the fields contradict each other.
          SourceError: a decoder has wrong arguments, or does not suit its field.
        """
        for path, modality in self.paths:
            for call in path.calls:
                is_image = isinstance(modality, Image)
                if (call.decoder.image if is_image else call.decoder.column) is None:
                    kind = "numbers" if modality is None else type(modality).__name__.lower()
                    raise SourceError(
                        f"cannot read field {path.name!r} by the decoder {call.name}: the field is declared as {kind}, "
                        f"expected {'anything else' if is_image else 'image'}. Change its kind or its decoder."
                    )
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
        """Return a copy in which all observed images have this size in pixels.

        Camera intrinsics hold for the old size, so the cameras of the copy have none. `recorded_sizes` stays.
        """
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
        """Return all attributes as a JSON object, which `from_json` reads.

        An entry of `observation` or `action` is an object such as {"field": "obs/state", "kind": "continuous", ...}.
        """
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for side in ("observation", "action"):
            fields[side] = {
                key: {"field": path, **modality_to_json(modality)} for key, (path, modality) in fields[side].items()
            }
        fields["provenance"] = dataclasses.asdict(self.provenance)
        fields["embodiment"] = None if self.embodiment is None else dataclasses.asdict(self.embodiment)
        return to_json(fields)

    @classmethod
    def from_json(cls, fields: Any, location: str) -> Fields:
        """Build fields from a JSON object in the form of `to_json`. Attributes with a default may be missing.

        The key `#` of this object, or of the object of a field, holds a remark and is ignored.

        Args:
          fields: the parsed JSON value.
          location: its file, the beginning of error messages.

        Raises:
          SourceError: a key is missing, unknown or has a wrong value, or the fields contradict each other.
        """
        if isinstance(fields, Mapping):
            fields = {name: value for name, value in fields.items() if name != REMARK}
            for side in ("observation", "action"):
                if isinstance(entries := fields.get(side), Mapping):
                    fields[side] = {
                        key: _parse_field(value, f"{location}.{side}.{key}") for key, value in entries.items()
                    }
        parsed = _READER.read(cls, fields, location)
        try:
            _ = parsed.spec  # raises SpecError if the fields contradict each other
        except SpecError as error:
            raise SourceError(str(error)) from None
        return parsed

    @classmethod
    def read(cls, file: str | Path) -> Fields:
        """Read fields from a JSON file, such as `fields.json`.

        Raises:
          SourceError: the file cannot be read, or its content is wrong.
        """
        try:
            return cls.from_json(json.loads(as_path(file).read_text()), str(file))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise SourceError(
                f"{file}: cannot be read as fields ({error}). Name a JSON file that holds them."
            ) from None

    def write(self, file: str | Path) -> None:
        """Write a JSON file that `read` reads, in place of any existing file."""
        Path(file).write_text(json.dumps(self.to_json(), indent=2))


def _parse_field(value: Any, location: str) -> tuple[str, Modality]:
    """Return the path and the modality from the JSON object of one field.

    The object is {"field": PATH, "kind": "image", ...}, with the attributes of the modality.

    Args:
      value: the parsed JSON value.
      location: its file and key, the beginning of error messages.

    Raises:
      SourceError: `value` is not an object, has no path in `field`, or does not describe a modality.
    """
    if not isinstance(value, Mapping) or not isinstance(path := value.get("field"), str):
        raise SourceError(
            f'{location} is {value!r:.60}, expected an object with "field", the path in the recording, and "kind"'
        )
    return path, _READER.value(
        Modality, {name: part for name, part in value.items() if name not in ("field", REMARK)}, location
    )
