"""What a score is compared with, measured on the very task that the agent plays: random play, the best constant action,
the expert."""

from __future__ import annotations

import dataclasses
import json
import pathlib

import numpy as np

from gato_jax.environments import REFERENCE_SEEDS, task_spec
from gato_jax.experts.measure import best_constant, constant_scores, expert_scores, random_scores


class ReferenceError(ValueError):
    """References that are missing or make no scale; the message names the task and the remedy."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class References:
    """Mean scores in the task's own metric.

    Attributes:
      constant: of the best constant action, which shows whether the agent looks at its observation at all.
      constant_action: which one that is.
    """

    task: str
    metric: str
    episodes: int
    random: float
    constant: float
    constant_action: str
    expert: float


def measure_references(task: str, *, episodes: int, directory: pathlib.Path) -> References:
    """Measured once and kept in `directory`; measured again when another number of episodes is asked for."""
    path = directory / f"{task.replace('/', '__')}.json"
    if path.exists():
        known = References(**json.loads(path.read_text()))
        if known.episodes == episodes:
            return known
    seeds = REFERENCE_SEEDS[:episodes]
    name, constant = best_constant(constant_scores(task, seeds))
    references = References(
        task=task,
        metric=task_spec(task).metric,
        episodes=episodes,
        random=float(np.mean(random_scores(task, seeds))),
        constant=constant,
        constant_action=name,
        expert=float(np.mean(expert_scores(task, seeds))),
    )
    directory.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dataclasses.asdict(references), indent=2))
    return references
