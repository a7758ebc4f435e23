"""Context managers that add task, episode, step and key to the messages of TokenizationErrors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from gato_jax.tokenization.codecs.values import TokenizationError


@contextlib.contextmanager
def key_context(side: str, key: str) -> Iterator[None]:
    """Prefix the TokenizationErrors of a block with `SIDE 'KEY': `, and keep their step.

    Args:
      side: "observation" or "action".
      key: key of the observation or action.
    """
    try:
        yield
    except TokenizationError as error:
        raise TokenizationError(f"{side} {key!r}: {error}", step=error.step) from None


@contextlib.contextmanager
def episode_context(task: str, number: int | None = None, *, steps: bool = True) -> Iterator[None]:
    """Prefix the TokenizationErrors of a block with `TASK, episode NUMBER, step STEP, `, and keep their step.

    An error without a step has no step in its message either.

    Args:
      task: name of the task.
      number: number of the episode in its dataset; None to leave it out.
      steps: False to leave the step out, for a block that encodes a single timestep.
    """
    try:
        yield
    except TokenizationError as error:
        episode = "" if number is None else f", episode {number}"
        step = f", step {error.step}" if steps and error.step is not None else ""
        raise TokenizationError(f"{task}{episode}{step}, {error}", step=error.step) from None
