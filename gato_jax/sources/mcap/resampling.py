"""Resampling of topics with different rates to the steps of one control rate."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal, TypeAlias

import numpy as np

from gato_jax.episodes import Text
from gato_jax.sources.field_paths import parse_path
from gato_jax.sources.fields import Fields
from gato_jax.sources.reader import EpisodeRejected, SourceError

MAX_OBSERVATION_AGE = 10  # periods; a camera may be this much slower than the control rate
MAX_ACTION_DELAY = 2  # periods; one, and another for jitter
_TOLERANCE = 1e-3  # periods by which equal times may differ

Role: TypeAlias = Literal["observed", "held", "commanded", "final"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resampling:
    """The rule that assigns to each step one message of every topic.

    Attributes:
      period: time between two steps, in nanoseconds.
      roles: {field: its role}, where a field is `topic:field` or `topic`. An `observed` field takes the latest message
        at or before a step, at most MAX_OBSERVATION_AGE periods old. A `held` field, a text, does so at any age. A
        `commanded` field, an action or reward, takes the first message at or after a step, at most MAX_ACTION_DELAY
        periods late. A `final` field, the success flag, takes the last message of its topic.
    """

    period: float
    roles: Mapping[str, Role]

    @classmethod
    def from_fields(cls, fields: Fields) -> Resampling:
        """Derive the role of each field.

        Observations are observed, or held if they are texts; actions and the reward are commanded; success is final.

        Raises:
          SourceError: the control rate is missing, timestamps are given, a field has two roles, or no field is observed
            or commanded.
        """
        name, roles = fields.spec.name, dict[str, Role]()
        if fields.spec.control_rate_hz is None:
            raise SourceError(
                f"{name}: control_rate_hz is None, expected the rate to resample topics to. Set it in the fields."
            )
        if fields.timestamps is not None:
            raise SourceError(
                f"{name}: timestamps is {fields.timestamps!r}, expected None. Omit it: log times are used."
            )

        def add(path: str, role: Role):
            field = parse_path(path).name
            if roles.setdefault(field, role) != role:
                raise SourceError(
                    f"{name}: field {field!r} is both {roles[field]} and {role}. Record each in its own topic."
                )

        for path, modality in fields.observation.values():
            add(path, "held" if isinstance(modality, Text) else "observed")
        for path, _ in fields.action.values():
            add(path, "commanded")
        if fields.reward is not None:
            add(fields.reward, "commanded")
        if fields.success is not None:
            add(fields.success, "final")
        if not {"observed", "commanded"} & set(roles.values()):
            raise SourceError(
                f"{name}: all of its fields are texts. Add an observation or action with numbers or images."
            )
        return cls(period=1e9 / fields.spec.control_rate_hz, roles=roles)

    @property
    def topics(self) -> set[str]:
        """Names of all topics that have a field."""
        return {topic_name(field) for field in self.roles}

    def step_times(self, times: Mapping[str, np.ndarray], location: str) -> np.ndarray:
        """Return the times of the steps.

        They begin when every topic but that of the success flag has had a message, and end when the first observed or
        commanded topic ends.

        Args:
          times: {topic: (N,) int64}, log times of its messages in nanoseconds, in ascending order.
          location: the file, the beginning of error messages.

        Returns:
          (T,) int64 nanoseconds.

        Raises:
          EpisodeRejected: the topics do not overlap, or an observed or commanded topic has no message near enough to a
            step.
        """
        start = max(int(times[topic_name(field)][0]) for field, role in self.roles.items() if role != "final")
        continuous: dict[str, Role] = {
            field: role for field, role in self.roles.items() if role in ("observed", "commanded")
        }
        end = min(int(times[topic_name(field)][-1]) for field in continuous)
        if end < start:
            raise EpisodeRejected(
                location, f"it has no steps: a topic ends {(start - end) / 1e9:.3f} s before all topics have begun"
            )
        count = int((end - start) / self.period + _TOLERANCE) + 1
        for field, role in continuous.items():
            said = len(times[topic_name(field)])
            if count > (said + 1) * (_max_distance(role) + 1):  # clocks that differ can make billions of steps
                raise EpisodeRejected(
                    location,
                    f"topic {topic_name(field)!r} has {said} messages for {count} steps, so some step has none near "
                    "enough. Check the log times",
                )
        steps = np.minimum(start + np.round(np.arange(count) * self.period).astype(np.int64), end)
        for field, role in continuous.items():
            log_times, limit = times[topic_name(field)], _max_distance(role)
            distance = np.abs(log_times[self.select_messages(field, steps, log_times)] - steps) / self.period
            if (silent := distance > limit + _TOLERANCE).any():
                step = int(silent.argmax())
                raise EpisodeRejected(
                    location,
                    f"topic {topic_name(field)!r} is silent {(steps[step] - start) / 1e9:.3f} s after the first step: "
                    f"the nearest {role} message is {distance[step]:.1f} periods away, expected at most {limit}",
                )
        return steps

    def select_messages(self, field: str, steps: np.ndarray, log_times: np.ndarray) -> np.ndarray:
        """Return the number of the message, from 0, that each step takes of a field, by its role.

        The number is -1 for a step before the first message of an observed or held field, and N for a step after the
        last message of a commanded one; neither raises an error here. Ages and delays are not limited here. Times that
        differ by at most a thousandth of a period count as equal.

        Args:
          field: `topic:field` or `topic`.
          steps: times of the steps, (T,) int64 nanoseconds.
          log_times: log times of the messages of the topic, (N,) int64 nanoseconds.

        Returns:
          (T,) int numbers of messages, or (1,) for a `final` field.
        """
        tolerance = int(_TOLERANCE * self.period)
        match self.roles[field]:
            case "final":
                return np.array([len(log_times) - 1])
            case "commanded":
                return np.searchsorted(log_times, steps - tolerance, side="left")
            case _:
                return np.searchsorted(log_times, steps + tolerance, side="right") - 1


def topic_name(field: str) -> str:
    """Return the topic of a field: `/joints` for `/joints:position`."""
    return field.partition(":")[0]


def _max_distance(role: Role) -> int:
    """Return the number of periods that a message may be away from a step, for a role with such a limit."""
    return MAX_OBSERVATION_AGE if role == "observed" else MAX_ACTION_DELAY
