"""Entries of the table of RLDS datasets, and shorthands to write them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from gato_jax.episodes import Camera, Continuous, Embodiment, Gripper, Image, Modality, Provenance, Text
from gato_jax.sources.fields import Fields

Field = tuple[str, Modality]
_ASSUMED = "assumed, as the converters of Open X-Embodiment write one step for each action"
_SIDE = 64  # pixels of an observed image, as in the paper; `Fields.with_image_size` gives another size


@dataclasses.dataclass(frozen=True, kw_only=True)
class RldsEntry:
    """One RLDS dataset.

    Attributes:
      fields: Fields of the dataset. Limits are for scaling: values outside are clipped when they become tokens.
      action_meaning: Meaning of the numbers of an action, in words.
      location: Address from which the prepared dataset can be copied; None if TFDS has to prepare it from its sources.
      final_observation: Whether the last step of an episode holds an observation without an action, as RLDS defines
        `is_last`. Otherwise every step has an action.
      final_if_discount_is_zero: Whether that holds only for episodes whose last discount is 0.
      final_reward_is_void: Whether the reward beside a final observation is a placeholder that is not 0. It is read as
        0, because the return of the episode would count it.
      last_step_reason: Where the meaning of the last step is known from, for the log.
    """

    fields: Fields
    action_meaning: str
    location: str | None = None
    final_observation: bool = False
    final_if_discount_is_zero: bool = False
    final_reward_is_void: bool = False
    last_step_reason: str = "as is known of this dataset"

    @property
    def download_hint(self) -> str:
        """Sentence with the command that downloads or prepares the dataset, "Copy it with: gsutil -m cp -r ..."."""
        if self.location is not None:
            copy = "gsutil -m cp -r" if self.location.startswith("gs://") else "wget -r -np -nH"
            return f"Copy it with: {copy} {self.location}"
        return f"Prepare it with: tfds build {self.fields.suite}/{self.fields.task} --file_format=array_record"


def box(*parts: tuple[int, float, float]) -> Continuous:
    """Return the modality of one vector in parts of different limits, each given as (number of elements, low, high)."""
    low = tuple(low for count, low, _ in parts for _ in range(count))
    high = tuple(high for count, _, high in parts for _ in range(count))
    return Continuous(shape=(len(low),), low=low, high=high)


def vector(size: int) -> Continuous:
    """Return the modality of a vector of `size` elements without limits, for observations."""
    return Continuous(shape=(size,))


def images(paths: Mapping[str, str]) -> dict[str, Field]:
    """Return observations of 64 by 64 RGB images, {key: (path, modality)}, given {observation key: path}."""
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
    meaning: str,
    gripper: Gripper | None,
    instruction: str = "observation/natural_language_instruction",
    bgr: tuple[str, ...] = (),
    success: str | None = None,
    reward: str | None = "reward",
    agent: str = "teleoperation",
    licence: str = "CC-BY-4.0",
    location: str | None = None,
    final_observation: bool | None = None,
) -> tuple[str, RldsEntry]:
    """Return name and entry of a dataset of a robot arm in Open X-Embodiment.

    Args:
      name: Name of the dataset in TFDS.
      robot: Robot of the recordings.
      collector: Laboratory that recorded them.
      control_rate_hz: Control rate in Hz.
      cameras: Fields of `observation` with images, which are also the observation keys.
      state: {field of `observation`: modality} of all other observations than images and instruction. The observation
        key is the part of the field after its last slash.
      actions: {action key: (path, modality)}.
      meaning: Meaning of the numbers of an action, in words.
      gripper: Gripper of the robot, or None.
      instruction: Path of the instruction.
      bgr: The cameras whose images are stored with red and blue exchanged.
      success: Path of the field that tells success, which makes success the metric of the task; None if the dataset has
        no such field, and the metric is then the return.
      reward: Path of the reward, or None if the dataset has no rewards.
      agent: Who or what controlled the robot.
      licence: Licence. The default is that of the release for everything except software; a licence in the laboratory's
        own release takes precedence.
      location: Address of the dataset. Default: version 0.1.0 in the bucket of the release.
      final_observation: As in RldsEntry, if it is known of the dataset. None assumes False, because the laboratories'
        converters write one step for each action, and the usual trainers learn all of them; the log says so.
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
    entry = RldsEntry(fields=fields, action_meaning=meaning, location=location)
    if final_observation is None:
        return name, dataclasses.replace(entry, last_step_reason=_ASSUMED)
    return name, dataclasses.replace(entry, final_observation=final_observation)
