"""Topics that have messages at times and rates of their own become steps of one rate."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal, TypeAlias

import numpy as np

from gato_jax.episodes import Text
from gato_jax.sources.fields import Fields, split_path
from gato_jax.sources.reader import EpisodeRejected, SourceError

OBSERVED_PERIODS = 10  # how old what is observed may be: a camera may be that much slower than the control
COMMANDED_PERIODS = 2  # how late a command may be: one, and another for its jitter
_SAME = 1e-3  # periods within which two times are one

Use: TypeAlias = Literal["observed", "held", "commanded", "final"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resampling:
    """Which message of its topic each step has.

    Attributes:
      period: nanoseconds from one step to the next.
      uses: {field: what it is used as}, a field named `topic:field` or `topic`. `observed` has the latest message at or
        before a step, which may be 10 periods old; `held` likewise, of any age; `commanded` has the first message at or
        after the step, which may be two periods late; `final` has the last message of all.
    """

    period: float
    uses: Mapping[str, Use]

    @classmethod
    def of(cls, fields: Fields) -> Resampling:
        """What the fields ask for. Raises SourceError where they cannot be brought to one rate."""
        name, uses = fields.spec.name, dict[str, Use]()
        if fields.spec.control_rate_hz is None:
            raise SourceError(f"{name}: control_rate_hz is None, so that topics have no steps in common; give it")
        if fields.timestamps is not None:
            raise SourceError(
                f"{name}: timestamps is {fields.timestamps!r}; messages have their log times, leave it out"
            )

        def add(path: str, use: Use):
            field = split_path(path)[0]
            if uses.setdefault(field, use) != use:
                raise SourceError(f"{name}: field {field!r} is {uses[field]} and {use}; record each in its own topic")

        for path, modality in fields.observation.values():
            add(path, "held" if isinstance(modality, Text) else "observed")
        for path, _ in fields.action.values():
            add(path, "commanded")
        if fields.reward is not None:
            add(fields.reward, "commanded")
        if fields.success is not None:
            add(fields.success, "final")
        if not {"observed", "commanded"} & set(uses.values()):
            raise SourceError(f"{name}: none of its fields goes on in time; name an observation that is no text")
        return cls(period=1e9 / fields.spec.control_rate_hz, uses=uses)

    @property
    def topics(self) -> set[str]:
        return {topic_of(field) for field in self.uses}

    def steps(self, times: Mapping[str, np.ndarray], where: str) -> np.ndarray:
        """When the steps are.

        Args:
          times: {topic: (N,) int64, nanoseconds of its messages as they follow each other}.
          where: the file, to begin a message with.

        Returns:
          (T,) int64 nanoseconds, from when each topic has had a message to when the first of those that go on ends.

        Raises:
          EpisodeRejected: time goes backwards, the topics do not overlap, or one of them falls silent.
        """
        for topic, at in times.items():
            if (back := at[1:] < at[:-1]).any():
                number = int(back.argmax())
                raise EpisodeRejected(where, f"time goes from {at[number]} to {at[number + 1]} ns in topic {topic!r}")
        start = max(int(times[topic_of(field)][0]) for field, use in self.uses.items() if use != "final")
        going = {field: use for field, use in self.uses.items() if use in ("observed", "commanded")}
        end = min(int(times[topic_of(field)][-1]) for field in going)
        if end < start:
            raise EpisodeRejected(
                where, f"it has no steps: a topic ends {(start - end) / 1e9:.3f} s before all have begun"
            )
        count = int((end - start) / self.period + _SAME) + 1
        steps = np.minimum(start + np.round(np.arange(count) * self.period).astype(np.int64), end)
        for field, use in going.items():
            at, limit = times[topic_of(field)], OBSERVED_PERIODS if use == "observed" else COMMANDED_PERIODS
            distance = np.abs(at[self.picks(field, steps, at)] - steps) / self.period
            if (silent := distance > limit + _SAME).any():
                step = int(silent.argmax())
                raise EpisodeRejected(
                    where,
                    f"topic {topic_of(field)!r} is silent {(steps[step] - start) / 1e9:.3f} s after the first step: "
                    f"what is {use} is {distance[step]:.1f} periods away, {limit} are allowed",
                )
        return steps

    def picks(self, field: str, steps: np.ndarray, at: np.ndarray) -> np.ndarray:
        """(T,) numbers of the messages that the steps have of a field whose topic has messages at (N,) `at`."""
        same = int(_SAME * self.period)
        match self.uses[field]:
            case "final":
                return np.array([len(at) - 1])
            case "commanded":
                return np.searchsorted(at, steps - same, side="left")
            case _:
                return np.searchsorted(at, steps + same, side="right") - 1


def topic_of(field: str) -> str:
    """`/joints` of `/joints:position`."""
    return field.partition(":")[0]
