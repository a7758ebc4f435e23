"""Reference scores of a task (random play, best constant action, expert), their version, and the committed table."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from gato_jax.environments import package_versions, task_spec
from gato_jax.episodes import TaskSpec

TABLE = pathlib.Path(__file__).with_name("reference_scores.jsonl")
_PACKAGE = re.compile(r"[A-Za-z0-9][\w.-]* \d\S*")
_HASH = re.compile(r"[0-9a-f]{8}")


class ReferenceError(ValueError):
    """An entry or a table of reference scores that is not valid; the message names the field, the value and the file."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """Mean and sample standard deviation of the scores of some episodes, in the task's own metric."""

    mean: float
    std: float
    episodes: int

    def __post_init__(self):
        if self.episodes < 1 or not self.std >= 0 or not abs(self.mean) < float("inf"):
            raise ReferenceError(f"score is {self}, expected a finite mean, std of 0 or more and at least one episode")


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
      expert_agent: description of the expert.
      human: published score of a human tester. It may have been measured by another protocol.
      published_random: published score of random play, by the same protocol as `human`.
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
    human: float | None = None
    published_random: float | None = None

    def __post_init__(self):
        if not self.packages or not all(_PACKAGE.fullmatch(package) for package in self.packages):
            raise ReferenceError(
                f"{self.task}: packages is {self.packages!r}, expected pip packages as 'name version'. "
                "Measure the task again."
            )
        if not _HASH.fullmatch(self.spec_hash):
            raise ReferenceError(
                f"{self.task}: spec_hash is {self.spec_hash!r}, expected 8 hex digits. Measure the task again."
            )

    @property
    def version(self) -> str:
        """Packages and TaskSpec in one line, for messages."""
        return ", ".join([*self.packages, f"spec {self.spec_hash}"])

    @property
    def has_scale(self) -> bool:
        """True if the expert beats random play, so that scores can be normalised."""
        return self.expert is not None and self.expert.mean > self.random.mean

    def to_json(self) -> dict[str, Any]:
        """Return the entry as a JSON object, without the fields that are None."""
        return {key: value for key, value in dataclasses.asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> References:
        """Build the entry from what `to_json` returned.

        Raises:
          ReferenceError: a field is missing, unknown or not valid.
        """
        try:
            scores = {
                key: Score(**fields[key]) for key in ("random", "constant", "expert") if fields.get(key) is not None
            }
            return cls(**{**fields, **scores, "packages": tuple(fields["packages"])})
        except (KeyError, TypeError) as error:
            raise ReferenceError(f"an entry of reference scores is {str(fields):.80}: {error}") from None


def hash_spec(spec: TaskSpec) -> str:
    """Return the first eight hex digits of the SHA-256 of a TaskSpec's JSON, with sorted keys."""
    return hashlib.sha256(json.dumps(spec.to_json(), sort_keys=True).encode()).hexdigest()[:8]


def installed_version(task: str) -> dict[str, Any]:
    """Return `packages` and `spec_hash` of the installed version of a task, as `References` has them."""
    return {"packages": tuple(package_versions(task)), "spec_hash": hash_spec(task_spec(task))}


def is_installed_version(references: References) -> bool:
    """Return True if the scores were measured on the installed version of their task."""
    return installed_version(references.task) == {
        "packages": references.packages,
        "spec_hash": references.spec_hash,
    }


def read_table(path: pathlib.Path = TABLE) -> dict[str, References]:
    """Read a table of reference scores, {task: entry}; empty if the file does not exist.

    Raises:
      ReferenceError: a line is not a valid entry; the message names the file and the line.
    """
    if not path.exists():
        return {}
    table = {}
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            entry = References.from_json(json.loads(line))
        except ValueError as error:
            raise ReferenceError(
                f"{path}, line {number}: {error}. Delete the line and measure the task again."
            ) from None
        table[entry.task] = entry
    return table


def write_table(table: Mapping[str, References], path: pathlib.Path):
    """Write a table as JSON Lines, sorted by task. A process that is killed leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text("".join(json.dumps(table[task].to_json()) + "\n" for task in sorted(table)))
    partial.replace(path)
