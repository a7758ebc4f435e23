"""What one line of the table of RLDS datasets says, and short ways to write one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from gato_jax.episodes import Camera, Continuous, Embodiment, Gripper, Image, Modality, Provenance, Text
from gato_jax.sources.fields import Fields

Field = tuple[str, Modality]
_SIDE = 64  # of images; `Fields.with_image_size` asks for others


@dataclasses.dataclass(frozen=True, kw_only=True)
class RldsEntry:
    """One dataset.

    Attributes:
      fields: what its fields mean. A limit is one to scale by: what lies outside is clipped when it becomes a token.
      action: what the numbers of its actions mean, in words.
      location: where it can be copied from as it is; None where TFDS prepares it from its sources.
      final_observation: whether a last step holds an observation alone, as RLDS has it; else every step acts.
    """

    fields: Fields
    action: str
    location: str | None = None
    final_observation: bool = False

    @property
    def download(self) -> str:
        """The command that fetches it."""
        if self.location is not None:
            copy = "gsutil -m cp -r" if self.location.startswith("gs://") else "wget -r -np -nH"
            return f"copy it with: {copy} {self.location}"
        return f"prepare it with: tfds build {self.fields.suite}/{self.fields.task} --file_format=array_record"


def box(*parts: tuple[int, float, float]) -> Continuous:
    """A vector in parts: (how many elements, low, high) each."""
    low = tuple(low for count, low, _ in parts for _ in range(count))
    high = tuple(high for count, _, high in parts for _ in range(count))
    return Continuous(shape=(len(low),), low=low, high=high)


def vector(size: int) -> Continuous:
    """A vector without limits, as observations have none."""
    return Continuous(shape=(size,))


def images(paths: Mapping[str, str]) -> dict[str, Field]:
    """Images of the side that the paper has: {our key: field}."""
    return {key: (path, Image(height=_SIDE, width=_SIDE)) for key, path in paths.items()}


def arm(
    name: str,
    *,
    robot: str,
    collector: str,
    control_rate_hz: float,
    cameras: tuple[str, ...],
    state: Mapping[str, Modality],
    actions: Mapping[str, Field],
    action: str,
    gripper: Gripper | None,
    instruction: str = "observation/natural_language_instruction",
    bgr: tuple[str, ...] = (),
    success: str | None = None,
    reward: str | None = "reward",
    agent: str = "teleoperation",
    licence: str = "CC-BY-4.0",
    location: str | None = None,
) -> tuple[str, RldsEntry]:
    """The entry of an arm's dataset in Open X-Embodiment, by name.

    `cameras` and `state` are named by their fields in `observation`; `bgr` are the cameras whose images were stored
    with red and blue exchanged. The licence is the release's: CC-BY-4.0 for all that is not software; where the
    laboratory's own release says another, it is given. `location` defaults to version 0.1.0 in the release's bucket.
    """
    views = {key: f"bgr_to_rgb(observation/{key})" if key in bgr else f"observation/{key}" for key in cameras}
    location = location or f"gs://gresearch/robotics/{name}/0.1.0"
    fields = Fields(
        suite="open_x",
        task=name,
        observation={
            **images(views),
            "instruction": (instruction, Text()),
            **{key.split("/")[-1]: (f"observation/{key}", modality) for key, modality in state.items()},
        },
        action=actions,
        provenance=Provenance(
            source=f"{name} {location.rsplit('/', 1)[-1]}, Open X-Embodiment",
            licence=licence,
            kind="real",
            collector=collector,
            equipment=robot,
            agent=agent,
        ),
        control_rate_hz=control_rate_hz,
        embodiment=Embodiment(robot=robot, gripper=gripper, cameras=tuple(Camera(key=key) for key in cameras)),
        metric="return" if success is None else "success",
        reward=reward,
        success=success,
    )
    return name, RldsEntry(fields=fields, action=action, location=location)
