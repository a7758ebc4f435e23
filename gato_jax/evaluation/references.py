"""What a score is compared with, measured on the very task that is played: random, best constant action, expert."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib

import numpy as np

from gato_jax.environments import REFERENCE_SEEDS, package_versions, task_spec
from gato_jax.experts.measure import best_constant, constant_scores, expert_scores, random_scores


class ReferenceError(ValueError):
    """References that are missing or make no scale; the message names the task and the remedy."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class References:
    """Mean scores in the task's own metric.

    Attributes:
      version: packages and task that were played; references of another version are measured again.
      constant: of the best constant action, which shows whether the agent looks at its observation at all.
      constant_action: which one that is.
    """

    task: str
    version: str
    metric: str
    episodes: int
    random: float
    constant: float
    constant_action: str
    expert: float

    def require_scale(self):
        """Raises ReferenceError unless the expert beats random play: scores could not be normalised."""
        if not self.expert > self.random:
            raise ReferenceError(
                f"{self.task}: the expert's score {self.expert:g} does not exceed random play's {self.random:g}; "
                "measure both over more episodes, or mend the expert"
            )


def measure_references(task: str, *, episodes: int, directory: pathlib.Path) -> References:
    """Measured once and kept in `directory`; again for another number of episodes or another version of the task."""
    path = directory / f"{task.replace('/', '__')}.json"
    known = _read(path)
    spec = task_spec(task)
    version = ", ".join([*package_versions(task), hashlib.sha256(json.dumps(spec.to_json()).encode()).hexdigest()[:8]])
    if known is not None and (known.episodes, known.version) == (episodes, version):
        return known
    seeds = REFERENCE_SEEDS[:episodes]
    name, constant = best_constant(constant_scores(task, seeds))
    references = References(
        task=task,
        version=version,
        metric=spec.metric,
        episodes=episodes,
        random=float(np.mean(random_scores(task, seeds))),
        constant=constant,
        constant_action=name,
        expert=float(np.mean(expert_scores(task, seeds))),
    )
    directory.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dataclasses.asdict(references), indent=2))
    return references


def _read(path: pathlib.Path) -> References | None:
    """None where nothing was measured, or where a killed process left half a file."""
    try:
        return References(**json.loads(path.read_text()))
    except (FileNotFoundError, TypeError, ValueError):
        return None
