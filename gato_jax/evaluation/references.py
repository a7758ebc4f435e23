"""Reference scores of one task (random play, best constant action, expert) and the version they were measured on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gato_jax.environments import package_versions, task_spec
from gato_jax.episodes import TaskSpec
from gato_jax.episodes.dataclass_reader import DataclassReader

_PACKAGE = re.compile(r"[A-Za-z0-9][\w.-]* \d\S*")
_HASH = re.compile(r"[0-9a-f]{8}")
_SCALE_ERRORS = 2.0  # standard errors


class ReferencesError(ValueError):
    """Reference scores that are missing or not valid; the message names the task, the value and the remedy."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """Mean and sample standard deviation of the scores of some episodes, in the task's own metric.

    Attributes:
      mean: mean score.
      std: sample standard deviation.
      episodes: number of episodes.
      measures: means of what else was measured in the same episodes, see `Environment.measures`; empty if nothing was.

    Raises:
      ReferencesError: `mean` is not finite, `std` is negative or NaN, or `episodes` is below 1.
    """

    mean: float
    std: float
    episodes: int
    measures: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if self.episodes < 1 or not self.std >= 0 or not abs(self.mean) < float("inf"):
            raise ReferencesError(f"score is {self}, expected a finite mean, std of 0 or more and at least one episode")


@dataclasses.dataclass(frozen=True, kw_only=True)
class EpisodeTime:
    """Mean time of one episode, the choice of the actions and the simulation together.

    Attributes:
      seconds: wall time.
      cpu_seconds: processor time of all threads, by which the time on other numbers of cores is estimated.
      cores: number of cores that the process was allowed to use.

    Raises:
      ReferencesError: a time is negative or not finite, or `cores` is below 1.
    """

    seconds: float
    cpu_seconds: float
    cores: int

    def __post_init__(self):
        if self.cores < 1 or not all(0 <= time < float("inf") for time in (self.seconds, self.cpu_seconds)):
            raise ReferencesError(f"time is {self}, expected times of 0 or more that are finite and at least one core")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cut:
    """Limit at which episodes of a slow expert were cut off, before they ended and before the task's own limit.

    Attributes:
      steps: number of steps of a cut episode.
      episodes: number of the expert's episodes that were cut off; the others ended before.

    Raises:
      ReferencesError: a number is below 1.
    """

    steps: int
    episodes: int

    def __post_init__(self):
        if min(self.steps, self.episodes) < 1:
            raise ReferencesError(f"cut is {self}, expected numbers of 1 or more")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecisionCost:
    """Mean cost of one decision of an expert that searches a simulator.

    Attributes:
      frames: simulated frames.
      seconds: processor time, with the part of the episode that is played between two decisions.

    Raises:
      ReferencesError: a number is negative or not finite.
    """

    frames: float
    seconds: float

    def __post_init__(self):
        if not all(0 <= number < float("inf") for number in (self.frames, self.seconds)):
            raise ReferencesError(f"decision cost is {self}, expected numbers of 0 or more that are finite")


@dataclasses.dataclass(frozen=True, kw_only=True)
class References:
    """Scores that an agent's score on one task is compared with.

    Attributes:
      task: name of the task, `suite/task`.
      packages: pip packages that the task came from when it was measured, each as "name version".
      spec_hash: first eight hex digits of the SHA-256 of the task's TaskSpec, see `hash_spec`.
      metric: "return" or "success", the unit of all scores.
      first_seed: seed of the first episode; episode n of each score was played with seed first_seed + n.
      random: uniformly random actions.
      constant: the best of the constant actions that were tried.
      constant_action: description of that action, such as "action=+1 at 3".
      constant_candidates: number of constant actions that were tried.
      command: command that measured the scores.
      expert: the task's expert without noise; None if the task has no expert.
      expert_agent: description of the expert; None without one.
      expert_time: time of an episode of the expert; None without one, or if it was not measured.
      expert_cut: where episodes of the expert were cut off; None if all of them are whole.
      expert_decision: cost of a decision of the expert; None if it does not search, or if it was not measured.
      human: published score of a human tester, maybe measured by another protocol; None if there is none.
      published_random: published score of random play, by the same protocol as `human`; None if there is none.
      scores_of: task of another suite, with the same dynamics and rewards, on which all of this was measured; None if
        it was measured on the task itself.

    Raises:
      ReferencesError: `packages` or `spec_hash` does not have the form above.
    """

    task: str
    packages: tuple[str, ...]
    spec_hash: str
    metric: str
    first_seed: int
    random: Score
    constant: Score
    constant_action: str
    constant_candidates: int
    command: str
    expert: Score | None = None
    expert_agent: str | None = None
    expert_time: EpisodeTime | None = None
    expert_cut: Cut | None = None
    expert_decision: DecisionCost | None = None
    human: float | None = None
    published_random: float | None = None
    scores_of: str | None = None

    def __post_init__(self):
        if not all(_PACKAGE.fullmatch(package) for package in self.packages):
            raise ReferencesError(
                f"{self.task}: packages is {self.packages!r}, expected pip packages as 'name version'. "
                "Measure the task again."
            )
        if not _HASH.fullmatch(self.spec_hash):
            raise ReferencesError(
                f"{self.task}: spec_hash is {self.spec_hash!r}, expected 8 hex digits. Measure the task again."
            )

    @property
    def version(self) -> str:
        """Packages and hash of the TaskSpec in one line, such as "minigrid 3.2.0, spec a2f95d96"."""
        return _version(self.packages, self.spec_hash)

    def combined_with(self, other: References) -> References:
        """Return the entry of the same task and version whose scores are each those of more episodes.

        Of two scores of as many episodes, the one of this entry is taken. Whole episodes of the expert come before cut
        ones. The time of the expert is that of its score, or of the other one if that has none. The commands of both
        are named if scores of both are taken.
        """
        constant = max((self, other), key=lambda entry: entry.constant.episodes)
        random = max((self, other), key=lambda entry: entry.random.episodes)
        expert = max((self, other), key=References._rank_of_expert)
        taken = [entry for entry in (self, other) if entry in (constant, random, expert)]
        return dataclasses.replace(
            constant,
            random=random.random,
            expert=expert.expert,
            expert_agent=expert.expert_agent,
            expert_time=expert.expert_time or self.expert_time or other.expert_time,
            expert_cut=expert.expert_cut,
            expert_decision=expert.expert_decision,
            first_seed=random.first_seed,
            command="; ".join(dict.fromkeys(entry.command for entry in taken)),
            human=self.human if self.human is not None else other.human,
            published_random=self.published_random if self.published_random is not None else other.published_random,
        )

    def _rank_of_expert(self) -> tuple[bool, bool, int]:
        """Return a key that is larger for a better score of an expert: whole episodes, then more of them."""
        has_expert = self.expert is not None
        return has_expert, self.expert_cut is None, self.expert.episodes if self.expert else 0

    def without_expert(self) -> References:
        """Return the entry without the score of an expert, and all that belongs to it."""
        return dataclasses.replace(
            self, expert=None, expert_agent=None, expert_time=None, expert_cut=None, expert_decision=None
        )

    @property
    def has_scale(self) -> bool:
        """True if whole episodes of an expert beat random play beyond chance, so that scores can be normalised.

        The distance of their means must exceed twice its standard error. An expert about equal to random play makes a
        denominator that is mostly noise, and one whose episodes were cut off would make the scores of whole episodes
        seem better than they are.
        """
        if self.expert is None or self.expert_cut is not None:
            return False
        variances = [score.std**2 / score.episodes for score in (self.expert, self.random)]
        return self.expert.mean - self.random.mean > _SCALE_ERRORS * math.sqrt(sum(variances))

    def to_json(self) -> dict[str, Any]:
        """Return the entry as a dict for JSON, without the fields that are None and the measures that are empty."""
        return dataclasses.asdict(self, dict_factory=_filled)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> References:
        """Build the entry from the dict that `to_json` returned.

        Raises:
          ReferencesError: a field without a default is missing, or one is unknown or not valid.
        """
        return DataclassReader(error=ReferencesError).read(cls, fields, "references")


def _filled(items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    return {key: value for key, value in items if value is not None and value != {}}


def hash_spec(spec: TaskSpec) -> str:
    """Return the first eight hex digits of the SHA-256 of a TaskSpec's JSON, with sorted keys."""
    return hashlib.sha256(json.dumps(spec.to_json(), sort_keys=True).encode()).hexdigest()[:8]


def installed_version(task: str) -> str:
    """Return the installed version of a task in the form of `References.version`."""
    return _version(package_versions(task), hash_spec(task_spec(task)))


def _version(packages: Sequence[str], spec_hash: str) -> str:
    return ", ".join([*packages, f"spec {spec_hash}"])
