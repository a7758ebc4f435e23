"""What recordings say of the body that made them, declared or inferred, each statement with its evidence."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from gato_jax.episodes import Camera, Continuous, Discrete, Embodiment, Episode, Image, TaskSpec
from gato_jax.sources.fields import Fields
from gato_jax.sources.inference_rules import (
    Element,
    Statement,
    action_limits,
    control_rate,
    degenerate,
    elements_of,
    find_gripper,
    joint_limits,
    of_cameras,
)
from gato_jax.sources.reader import EpisodeReader, EpisodeRejected, Rejection, SourceError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inference:
    """What a sample of episodes says.

    Attributes:
      task: its name.
      episodes, steps: how many were looked at.
      elements: of continuous observations, then of continuous actions.
      statements: all that was declared or inferred.
      fields: as proposed, for a person to edit; `to_json` writes them.
      rejected: episodes of the sample that could not be read.
    """

    task: str
    episodes: int
    steps: int
    elements: tuple[Element, ...]
    statements: tuple[Statement, ...]
    fields: Fields
    rejected: tuple[Rejection, ...] = ()


def infer(reader: EpisodeReader, fields: Fields | None = None, *, episodes: int = 50) -> Inference:
    """Limits, gripper, cameras and control rate from at most so many episodes, spread evenly over the recording.

    What the task declares is kept, and compared with the data. Kinds of joints are never guessed: numbers do not tell
    a turn from a shift.

    Args:
      reader: the episodes.
      fields: how they are read; without, the fields are named as the keys are here.
      episodes: how many are looked at.

    Raises:
      SourceError: none of the sample can be read.
    """
    spec = reader.spec
    sample, rejected = _sample(reader, episodes)
    seen, acted = (_columns(spec, sample, side) for side in ("observation", "action"))
    elements = [*elements_of("observation", spec.observation, seen), *elements_of("action", spec.action, acted)]
    action, statements = action_limits(spec.action, acted)
    statements += [degenerate(element) for element in elements if element.low == element.high]
    statements += joint_limits(spec, acted)
    gripper, said = find_gripper(spec, acted)
    rate, said_of_rate = control_rate(spec, sample, fields.timestamps if fields else None)
    body = spec.embodiment or Embodiment(
        robot=sample[0].provenance.equipment or "unknown",
        cameras=tuple(Camera(key=key) for key, modality in spec.observation.items() if isinstance(modality, Image)),
    )
    base = fields or _fields_of(spec, sample[0])
    proposed = dataclasses.replace(
        base,
        action={key: (path, action[key]) for key, (path, _) in base.action.items()},
        control_rate_hz=rate,
        embodiment=dataclasses.replace(body, gripper=gripper),
    )
    return Inference(
        task=spec.name,
        episodes=len(sample),
        steps=sum(episode.acting_steps for episode in sample),
        elements=tuple(elements),
        statements=(*statements, said, *of_cameras(spec, len(sample)), said_of_rate),
        fields=proposed,
        rejected=tuple(rejected),
    )


def describe(inference: Inference) -> str:
    """The report as lines of text, what a person has to look at first."""
    lines = [f"{inference.task}: {inference.episodes} episodes, {inference.steps} steps"]
    for statement in sorted(inference.statements, key=lambda statement: not statement.problem):
        source = "declared" if statement.declared else f"inferred, confidence {statement.confidence:.2f}"
        mark = "LOOK " if statement.problem else ""
        lines.append(f"{mark}{statement.about}: {statement.claim} ({source}): {statement.evidence}")
    lines.append("element: low, 1%, 50%, 99%, high")
    for element in inference.elements:
        numbers = ", ".join(f"{number:.4g}" for number in (element.low, *element.quantiles, element.high))
        lines.append(f"{element.key}[{element.number}]: {numbers}")
    return "\n".join([*lines, *(f"left out: {where}: {reason}" for where, reason in inference.rejected)])


def _sample(reader: EpisodeReader, episodes: int) -> tuple[list[Episode], list[Rejection]]:
    sample, rejected = [], []
    for number in np.unique(np.linspace(0, len(reader) - 1, min(episodes, len(reader))).astype(int)):
        try:
            sample.append(reader[int(number)])
        except EpisodeRejected as error:
            rejected.append(Rejection(error.location, error.reason))
    if not sample:
        why = f"the first: {rejected[0].location}: {rejected[0].reason}" if rejected else "there are none"
        raise SourceError(f"{reader.spec.name}: no episode can be read; {why}")
    return sample, rejected


def _columns(spec: TaskSpec, sample: Sequence[Episode], side: str) -> dict[str, np.ndarray]:
    """{key: (S, size) float64} of the numbers at all steps; of actions at those at which one was taken."""
    columns = {}
    for key, modality in getattr(spec, side).items():
        if isinstance(modality, (Continuous, Discrete)):
            parts = [getattr(one, side)[key][: one.acting_steps if side == "action" else None] for one in sample]
            columns[key] = np.concatenate([part.reshape(len(part), -1) for part in parts]).astype(np.float64)
    return columns


def _fields_of(spec: TaskSpec, episode: Episode) -> Fields:
    return Fields(
        suite=spec.suite,
        task=spec.task,
        observation={key: (key, modality) for key, modality in spec.observation.items()},
        action={key: (key, modality) for key, modality in spec.action.items()},
        provenance=episode.provenance,
        metric=spec.metric,
        instructions=spec.instructions,
    )
