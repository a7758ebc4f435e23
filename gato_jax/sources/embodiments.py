"""Selection of recordings and episodes by the robot that made them, to train on some and hold out others."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from gato_jax.episodes import Continuous, Discrete, Episode, TaskSpec
from gato_jax.episodes.errors import nearest
from gato_jax.sources.reader import EpisodeReader, EpisodeRejected, Rejection, SourceError
from gato_jax.sources.selection import Selection

GripperKind = Literal["binary", "continuous", "pose", "none"]
_CONDITIONS = ("robot", "dof", "gripper", "workspace")
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_INTERVAL = re.compile(rf"(?P<rest>.+)/(?P<low>{_NUMBER}):(?P<high>{_NUMBER})", re.DOTALL)
_SLICE = re.compile(r"(?P<key>.+)\[(?P<start>\d+):(?P<stop>\d+)\]", re.DOTALL)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Workspace:
    """A box that the end effector of a robot must stay in at every step. The borders belong to the box.

    Attributes:
      key: key of the continuous observation that holds the position of the end effector.
      low: lower corner of the box, in the unit and frame of that observation, one number for each of `elements`.
      high: upper corner of the box. Each number must be greater than that of `low`.
      elements: indices of the position's elements in the flattened observation.

    Raises:
      SourceError: the numbers of limits and elements differ or are 0, or a limit of `low` is not below that of `high`.
    """

    key: str
    low: tuple[float, ...]
    high: tuple[float, ...]
    elements: tuple[int, ...] = (0, 1, 2)

    def __post_init__(self):
        if not len(self.low) == len(self.high) == len(self.elements) > 0:
            raise SourceError(
                f"workspace: low is {self.low}, high is {self.high}, elements is {self.elements}, expected equal "
                "lengths above 0. Give one limit for each element."
            )
        if not all(low < high for low, high in zip(self.low, self.high, strict=True)):
            raise SourceError(f"workspace: low is {self.low}, expected less than high, {self.high}. Swap them.")

    @classmethod
    def parse(cls, text: str) -> Workspace:
        """Parse a workspace such as `state/tool/0.2:0.8/-0.4:0.4/0:0.6`.

        It is the key of the position and one interval LOW:HIGH for each of its elements. The elements are the first of
        the observation, unless the key ends in a slice, as `state[3:6]` does.

        Raises:
          SourceError: the text has another form, or the box is none.
        """
        intervals, rest = [], text
        while match := _INTERVAL.fullmatch(rest):
            intervals.insert(0, (float(match["low"]), float(match["high"])))
            rest = match["rest"]
        sliced = _SLICE.fullmatch(rest)
        elements = range(int(sliced["start"]), int(sliced["stop"])) if sliced else range(len(intervals))
        if not intervals or len(elements) != len(intervals):
            raise SourceError(
                f"workspace is {text!r}, expected KEY/LOW:HIGH/..., with an interval for each element, such as "
                "state[0:3]/0.2:0.8/-0.4:0.4/0:0.6"
            )
        low, high = zip(*intervals, strict=True)
        return cls(key=sliced["key"] if sliced else rest, low=low, high=high, elements=tuple(elements))

    def missing_position(self, spec: TaskSpec) -> str | None:
        """Return why a task does not observe the position of the end effector, as a clause, or None if it does.

        The task does not observe it if it has no continuous observation named as the attribute `key`, or if that
        observation has no element at one of the indices in `elements`.
        """
        modality = spec.observation.get(self.key)
        if not isinstance(modality, Continuous):
            keys = [key for key, other in spec.observation.items() if isinstance(other, Continuous)]
            return f"no continuous observation {self.key!r}; nearest: {nearest(self.key, keys)}"
        if max(self.elements) >= modality.size or min(self.elements) < 0:
            return f"{self.key!r} has elements 0 to {modality.size - 1}, the position is in {list(self.elements)}"
        return None

    def first_violation(self, episode: Episode) -> str | None:
        """Return a description of the first step outside of the box, or None if the episode stays inside.

        It is a clause such as "its end effector is at [0.1, 0.2, 0.9] at step 7". A position with NaN is outside.
        """
        positions = episode.observation[self.key].reshape(len(episode), -1)[:, list(self.elements)]
        inside = ((positions >= self.low) & (positions <= self.high)).all(axis=1)  # NaN counts as outside
        if inside.all():
            return None
        step = int(np.argmin(inside))
        return f"its end effector is at {[round(float(x), 4) for x in positions[step]]} at step {step}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class EmbodimentSelection:
    """The result of `EmbodimentSelector.select`.

    Attributes:
      reader: all episodes of the recording.
      episodes: the matching episodes, in order. It is `reader` itself if all match, and None if none does.
      excluded: one rejection of the whole recording if its task violates a condition. Otherwise, if the selector has a
        `Workspace`, one for each episode that leaves it or is damaged.
    """

    reader: EpisodeReader
    episodes: EpisodeReader | None
    excluded: tuple[Rejection, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class EmbodimentSelector:
    """Conditions on the robot of a recording. A condition that is None always holds.

    Attributes:
      robot: required `Embodiment.robot`.
      degrees_of_freedom: required number of degrees of freedom without the gripper, counted by the function
        `degrees_of_freedom`.
      gripper: required kind of the gripper, or "none" for a robot without one.
      workspace: box that the end effector must stay in. This condition is tested on each episode.

    Raises:
      SourceError: `gripper` is none of None, "binary", "continuous", "pose" and "none".
    """

    robot: str | None = None
    degrees_of_freedom: int | None = None
    gripper: GripperKind | None = None
    workspace: Workspace | None = None

    def __post_init__(self):
        if self.gripper is not None:
            _require_gripper(self.gripper)

    @classmethod
    def parse(cls, text: str) -> EmbodimentSelector:
        """Parse conditions such as `robot=panda,dof=7,gripper=binary,workspace=state[0:3]/0.2:0.8/-0.4:0.4/0:0.6`.

        A value may contain commas, unless a word and `=` follow them. See `Workspace.parse` for the last condition.

        Raises:
          SourceError: a condition is unknown, is given twice or has a wrong value.
        """
        values: dict[str, str] = {}
        for condition in re.split(r",(?=\s*\w+=)", text):
            name, equals, value = (part.strip() for part in condition.partition("="))
            if name not in _CONDITIONS or not equals or not value or name in values:
                problem = "given twice" if name in values else f"{condition.strip()!r}"
                raise SourceError(
                    f"cannot select by {text!r}: {name if name in values else 'a condition'} is {problem}, expected "
                    f"NAME=VALUE, with NAME one of {', '.join(_CONDITIONS)}, each once"
                )
            values[name] = value
        dof, workspace = values.get("dof"), values.get("workspace")
        if dof is not None and not re.fullmatch(r"\d+", dof):
            raise SourceError(f"cannot select by {text!r}: dof is {dof!r}, expected a number of degrees of freedom")
        gripper = values.get("gripper")
        return cls(
            robot=values.get("robot"),
            degrees_of_freedom=None if dof is None else int(dof),
            gripper=None if gripper is None else _require_gripper(gripper),
            workspace=None if workspace is None else Workspace.parse(workspace),
        )

    def mismatches(self, spec: TaskSpec) -> list[str]:
        """Return the conditions that a task violates, one clause each, such as "its robot is ur5, not panda".

        The list is empty if none is violated. A robot or gripper that the task does not declare violates a condition on
        it; a task without an embodiment does not declare that it has no gripper. Of the workspace, only the presence of
        the position in the observation is tested.
        """
        body, reasons = spec.embodiment, []
        robot = body.robot if body else None
        if self.robot not in (None, robot):
            reasons.append(f"its robot is {robot or 'not declared'}, not {self.robot}")
        if self.degrees_of_freedom is not None and (count := degrees_of_freedom(spec)) != self.degrees_of_freedom:
            reasons.append(f"it has {count} degrees of freedom, not {self.degrees_of_freedom}")
        kind = "not declared" if body is None else body.gripper.kind if body.gripper else "none"
        if self.gripper not in (None, kind):
            reasons.append(f"its gripper is {kind}, not {self.gripper}")
        if self.workspace is not None and (reason := self.workspace.missing_position(spec)):
            reasons.append(reason)
        return reasons

    def select(self, reader: EpisodeReader) -> EmbodimentSelection:
        """Return the matching episodes of a recording.

        Episodes are read only if there is a workspace to test. Damaged episodes are then excluded. If no episode
        matches, no error is raised, and `episodes` of the result is None.
        """
        if reasons := self.mismatches(reader.spec):
            excluded = (Rejection(reader.spec.name, "; ".join(reasons)),)
            return EmbodimentSelection(reader=reader, episodes=None, excluded=excluded)
        if self.workspace is None:
            return EmbodimentSelection(reader=reader, episodes=reader, excluded=())
        returns: dict[int, float] = {}
        excluded = []
        for number in range(len(reader)):
            try:
                episode = reader[number]
            except EpisodeRejected as error:
                excluded.append(Rejection(error.location, error.reason))
                continue
            if reason := self.workspace.first_violation(episode):
                excluded.append(Rejection(f"{reader.spec.name}: episode {number}", reason))
            else:
                returns[number] = episode.episode_return
        if not excluded or not returns:
            return EmbodimentSelection(reader=reader, episodes=reader if returns else None, excluded=tuple(excluded))
        selection = Selection(
            reader=reader,
            positions=np.array(list(returns)),
            returns=np.array(list(returns.values())),
            candidates=len(returns),
        )
        return EmbodimentSelection(reader=reader, episodes=selection, excluded=tuple(excluded))


def _require_gripper(kind: str) -> GripperKind:
    """Return a kind of gripper, or raise SourceError if there is no such kind."""
    for known in get_args(GripperKind):
        if kind == known:
            return known
    raise SourceError(f"selector: gripper is {kind!r}, expected binary, continuous, pose or none")


def degrees_of_freedom(spec: TaskSpec) -> int:
    """Return the number of degrees of freedom of a task's robot, without the gripper.

    It is the number of joints of the embodiment. If no joints are declared, it is the number of elements of all
    continuous and discrete actions, less those that command the declared gripper.
    """
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
    """Split recordings into those of all other robots, for training, and those of one robot, which is held out.

    Args:
      readers: recordings of at least two robots. Each declares its embodiment.
      robot: name of the robot to hold out.

    Returns:
      The recordings to train on, and the held-out recordings, each in the order of `readers`.

    Raises:
      SourceError: a recording does not declare its robot, no recording is of `robot`, or all recordings are.
    """
    robots = [reader.spec.embodiment.robot if reader.spec.embodiment else None for reader in readers]
    if None in robots:
        name = readers[robots.index(None)].spec.name
        raise SourceError(f"{name}: its robot is not declared and may be {robot!r}. Declare its embodiment.")
    if robot not in robots:
        raise SourceError(
            f"cannot hold out a robot: no recording is of {robot!r}; nearest: {nearest(robot, {*map(str, robots)})}"
        )
    pairs = list(zip(readers, robots, strict=True))
    train = tuple(reader for reader, other in pairs if other != robot)
    if not train:
        raise SourceError(
            f"cannot hold out a robot: every recording is of {robot!r}. Add recordings of another robot to train on."
        )
    return train, tuple(reader for reader, other in pairs if other == robot)
