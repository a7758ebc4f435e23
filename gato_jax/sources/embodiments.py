"""Which recordings, and which of their episodes, are of a certain body: to train on some and to hold others out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np

from gato_jax.episodes import Continuous, Discrete, Episode, TaskSpec
from gato_jax.episodes.errors import nearest
from gato_jax.sources.reader import EpisodeReader, EpisodeRejected, Rejection, SourceError
from gato_jax.sources.selection import Selection


@dataclasses.dataclass(frozen=True, kw_only=True)
class Workspace:
    """A box that the end effector stays in.

    Attributes:
      key: the observation that holds its position.
      low, high: corners of the box, in metres, one number for each of `elements`.
      elements: where in the observation the position lies, row-major.
    """

    key: str
    low: tuple[float, ...]
    high: tuple[float, ...]
    elements: tuple[int, ...] = (0, 1, 2)

    def __post_init__(self):
        if not len(self.low) == len(self.high) == len(self.elements) > 0:
            raise SourceError(
                f"workspace: low {self.low}, high {self.high}, elements {self.elements}; give as many of each"
            )
        if not all(low < high for low, high in zip(self.low, self.high, strict=True)):
            raise SourceError(f"workspace: low {self.low} is not below high {self.high}; swap them")

    def lacking(self, spec: TaskSpec) -> str | None:
        """Why a task's episodes have no such position, None where they have."""
        modality = spec.observation.get(self.key)
        if not isinstance(modality, Continuous):
            keys = [key for key, other in spec.observation.items() if isinstance(other, Continuous)]
            return f"no continuous observation {self.key!r}; nearest: {nearest(self.key, keys)}"
        if max(self.elements) >= modality.size or min(self.elements) < 0:
            return f"{self.key!r} has elements 0 to {modality.size - 1}, the position is in {list(self.elements)}"
        return None

    def leaves(self, episode: Episode) -> str | None:
        """Where an episode leaves the box, None where it never does."""
        positions = episode.observation[self.key].reshape(len(episode), -1)[:, list(self.elements)]
        inside = ((positions >= self.low) & (positions <= self.high)).all(axis=1)  # what is no number is outside
        if inside.all():
            return None
        step = int(np.argmin(inside))
        return f"its end effector is at {[round(float(x), 4) for x in positions[step]]} at step {step}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Selected:
    """What of a recording is of the body that was asked for.

    Attributes:
      reader: the recording.
      episodes: those that match, None where none does; the recording itself where all do.
      left_out: the recording or the episodes that do not match, and why.
    """

    reader: EpisodeReader
    episodes: EpisodeReader | None
    left_out: tuple[Rejection, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Selector:
    """A body; what is None is any.

    Attributes:
      robot: its name, as the embodiment has it.
      degrees_of_freedom: without the gripper; see `degrees_of_freedom`.
      gripper: its kind, `none` for a body without.
      workspace: where its end effector stays, episode by episode.
    """

    robot: str | None = None
    degrees_of_freedom: int | None = None
    gripper: Literal["binary", "continuous", "pose", "none"] | None = None
    workspace: Workspace | None = None

    def __post_init__(self):
        if self.gripper not in (None, "binary", "continuous", "pose", "none"):
            raise SourceError(f"selector: gripper is {self.gripper!r}, needs binary, continuous, pose or none")

    def mismatches(self, spec: TaskSpec) -> list[str]:
        """Why no episode of a task matches, a reason each; empty where some may."""
        body, reasons = spec.embodiment, []
        robot = body.robot if body else None
        if self.robot not in (None, robot):
            reasons.append(f"its robot is {robot or 'not declared'}, not {self.robot}")
        if self.degrees_of_freedom is not None and (count := degrees_of_freedom(spec)) != self.degrees_of_freedom:
            reasons.append(f"it has {count} degrees of freedom, not {self.degrees_of_freedom}")
        kind = "not declared" if body is None else body.gripper.kind if body.gripper else "none"
        if self.gripper not in (None, kind):
            reasons.append(f"its gripper is {kind}, not {self.gripper}")
        if self.workspace is not None and (reason := self.workspace.lacking(spec)):
            reasons.append(reason)
        return reasons

    def select(self, reader: EpisodeReader) -> Selected:
        """The episodes that match. They are read only where a workspace is asked for; damaged ones are left out."""
        if reasons := self.mismatches(reader.spec):
            left_out = (Rejection(reader.spec.name, "; ".join(reasons)),)
            return Selected(reader=reader, episodes=None, left_out=left_out)
        if self.workspace is None:
            return Selected(reader=reader, episodes=reader, left_out=())
        returns: dict[int, float] = {}
        left_out = []
        for number in range(len(reader)):
            try:
                episode = reader[number]
            except EpisodeRejected as error:
                left_out.append(Rejection(error.location, error.reason))
                continue
            if reason := self.workspace.leaves(episode):
                left_out.append(Rejection(f"{reader.spec.name}: episode {number}", reason))
            else:
                returns[number] = episode.episode_return
        if not left_out or not returns:
            return Selected(reader=reader, episodes=reader if returns else None, left_out=tuple(left_out))
        selection = Selection(
            reader=reader,
            numbers=np.array(list(returns)),
            returns=np.array(list(returns.values())),
            kept=len(returns),
        )
        return Selected(reader=reader, episodes=selection, left_out=tuple(left_out))


def degrees_of_freedom(spec: TaskSpec) -> int:
    """How many joints are declared; where none are, how many elements the actions have beside those of the gripper."""
    body = spec.embodiment
    if body is not None and body.joints:
        return len(body.joints)
    sizes = {
        key: modality.size for key, modality in spec.action.items() if isinstance(modality, (Continuous, Discrete))
    }
    gripper = body.gripper if body is not None else None
    if gripper is not None and gripper.action is not None:
        sizes[gripper.action] -= len(gripper.elements) or sizes[gripper.action]
    return sum(sizes.values())


def leave_one_out(
    readers: Sequence[EpisodeReader], robot: str
) -> tuple[tuple[EpisodeReader, ...], tuple[EpisodeReader, ...]]:
    """Recordings of all other robots to train on, and those of `robot`, which are held out.

    Raises:
      SourceError: a recording does not say what robot it is of, none is of `robot`, or all are.
    """
    robots = [reader.spec.embodiment.robot if reader.spec.embodiment else None for reader in readers]
    if None in robots:
        name = readers[robots.index(None)].spec.name
        raise SourceError(f"{name}: its robot is not declared, so it may be {robot!r}; declare its embodiment")
    if robot not in robots:
        raise SourceError(f"no recording is of the robot {robot!r}; nearest: {nearest(robot, {*map(str, robots)})}")
    pairs = list(zip(readers, robots, strict=True))
    train = tuple(reader for reader, other in pairs if other != robot)
    if not train:
        raise SourceError(f"every recording is of the robot {robot!r}, so none is left to train on; add another robot")
    return train, tuple(reader for reader, other in pairs if other == robot)
