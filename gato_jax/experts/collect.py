"""Episodes of experts, for recording."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator

from gato_jax.episodes import Episode
from gato_jax.experts.actor import ExpertActor
from gato_jax.rollouts import play


def record(
    task: str, seeds: Iterable[int], *, noise: float | None = None, successes_only: bool = False
) -> Iterator[Episode]:
    """Yield the expert's episode for each seed.

    Args:
      task: Name of the task.
      seeds: Seeds of the environment.
      noise: Noise on the executed actions; None takes the expert's default.
      successes_only: Whether to leave out the episodes that do not succeed.
    """
    actor = functools.partial(ExpertActor, noise)
    for episode in play(actor, itertools.product([task], seeds), skip_failures=successes_only):
        if not successes_only or episode.success is not False:
            yield episode
