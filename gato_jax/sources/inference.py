"""Inference of action limits, gripper, cameras and control rate from recordings, each with its evidence."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from gato_jax.episodes import Camera, Continuous, Discrete, Embodiment, Episode, Image, TaskSpec
from gato_jax.sources.fields import Fields
from gato_jax.sources.inference_rules import (
    Element,
    Statement,
    check_joint_limits,
    describe_cameras,
    find_gripper,
    infer_control_rate,
    propose_action_limits,
    report_constant,
    summarize_elements,
)
from gato_jax.sources.reader import EpisodeReader, EpisodeRejected, Rejection, SourceError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inference:
    """The result of `infer` on a sample of episodes.

    Attributes:
      task: name of the task.
      episodes: number of episodes in the sample that could be read.
      steps: number of their steps at which an action was taken.
      elements: statistics of each element of the continuous observations, then of each of the continuous actions.
      statements: all findings, declared and inferred.
      fields: the fields given to `infer`, or default ones, with what was inferred filled in, for a person to edit.
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
    """Infer action limits, gripper, cameras and control rate from a sample of episodes.

    The sample is spread evenly over the recording. What the task declares is kept, and compared with the data. Joints
    are never inferred. If the task declares no embodiment, the proposed fields get one: its robot is the equipment in
    the provenance of the first sampled episode, or "unknown", and its cameras are the image observations.

    Args:
      reader: the episodes.
      fields: the fields that the episodes are read with. Default: fields named like the keys of the task.
      episodes: maximum number of episodes in the sample.

    Raises:
      SourceError: no episode of the sample can be read.
    """
    spec = reader.spec
    sample, rejected = _read_sample(reader, episodes)
    observations, actions = (_columns(spec, sample, side) for side in ("observation", "action"))
    elements = [
        *summarize_elements("observation", spec.observation, observations),
        *summarize_elements("action", spec.action, actions),
    ]
    action, statements = propose_action_limits(spec.action, actions)
    statements += [report_constant(element) for element in elements if element.low == element.high]
    statements += check_joint_limits(spec, actions)
    gripper, gripper_statement = find_gripper(spec, actions)
    rate, rate_statement = infer_control_rate(spec, sample, fields.timestamps if fields else None)
    body = spec.embodiment or Embodiment(
        robot=sample[0].provenance.equipment or "unknown",
        cameras=tuple(Camera(key=key) for key, modality in spec.observation.items() if isinstance(modality, Image)),
    )
    base = fields or _default_fields(spec, sample[0])
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
        statements=(*statements, gripper_statement, *describe_cameras(spec, len(sample)), rate_statement),
        fields=proposed,
        rejected=tuple(rejected),
    )


def describe(inference: Inference) -> str:
    """Return a report as one string of several lines.

    The first line counts episodes and steps. A line for each statement follows, problems first: `SUBJECT: CLAIM
    (declared): EVIDENCE`, with `(inferred, confidence 0.70)` in place of `(declared)` if it is inferred, and with
    `LOOK ` at the beginning if it is a problem. Then come the statistics of each element and the rejected episodes.
    """
    lines = [f"{inference.task}: {inference.episodes} episodes, {inference.steps} steps"]
    for statement in sorted(inference.statements, key=lambda statement: not statement.problem):
        source = "declared" if statement.declared else f"inferred, confidence {statement.confidence:.2f}"
        mark = "LOOK " if statement.problem else ""
        lines.append(f"{mark}{statement.subject}: {statement.claim} ({source}): {statement.evidence}")
    lines.append("element: low, 1%, 50%, 99%, high")
    for element in inference.elements:
        numbers = ", ".join(f"{number:.4g}" for number in (element.low, *element.quantiles, element.high))
        lines.append(f"{element.key}[{element.number}]: {numbers}")
    return "\n".join([*lines, *(f"left out: {one}" for one in inference.rejected)])


def _read_sample(reader: EpisodeReader, episodes: int) -> tuple[list[Episode], list[Rejection]]:
    """Read at most `episodes` episodes, spread evenly over the recording, and return them and the damaged ones.

    Raises:
      SourceError: none of them can be read.
    """
    sample, rejected = [], []
    for number in np.unique(np.linspace(0, len(reader) - 1, min(episodes, len(reader))).astype(int)):
        try:
            sample.append(reader[int(number)])
        except EpisodeRejected as error:
            rejected.append(Rejection(error.location, error.reason))
    if not sample:
        first = f" The first: {rejected[0].location}: {rejected[0].reason}" if rejected else ""
        raise SourceError(f"{reader.spec.name}: none of {len(reader)} episodes can be read.{first}")
    return sample, rejected


def _columns(spec: TaskSpec, sample: Sequence[Episode], side: str) -> dict[str, np.ndarray]:
    """Return the flattened values of one side at all sampled steps, {key: (S, size) float64}.

    Keys that are neither continuous nor discrete are left out.

    Args:
      spec: the task.
      sample: the sampled episodes, which are concatenated.
      side: "observation" or "action". Actions are taken only from the steps that act.
    """
    columns = {}
    for key, modality in getattr(spec, side).items():
        if isinstance(modality, (Continuous, Discrete)):
            parts = [getattr(one, side)[key][: one.acting_steps if side == "action" else None] for one in sample]
            columns[key] = np.concatenate([part.reshape(len(part), -1) for part in parts]).astype(np.float64)
    return columns


def _default_fields(spec: TaskSpec, episode: Episode) -> Fields:
    """Return fields whose paths are the keys of the task, with the provenance of one episode.

    They have no control rate, embodiment, reward, success or timestamps.
    """
    return Fields(
        suite=spec.suite,
        task=spec.task,
        observation={key: (key, modality) for key, modality in spec.observation.items()},
        action={key: (key, modality) for key, modality in spec.action.items()},
        provenance=episode.provenance,
        metric=spec.metric,
        instructions=spec.instructions,
    )
