"""Where a refusal happened: codecs name the value, here task, episode, step and key are put before it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from gato_jax.tokenization.codecs.values import TokenizationError


@contextlib.contextmanager
def of_key(side: str, key: str) -> Iterator[None]:
    """Says of which key of an observation or action a TokenizationError is; its step is kept."""
    try:
        yield
    except TokenizationError as error:
        raise TokenizationError(f"{side} {key!r}: {error}", step=error.step) from None


@contextlib.contextmanager
def of_episode(task: str, number: int | None = None, *, steps: bool = True) -> Iterator[None]:
    """Says of which task a TokenizationError is, and of which episode and step; its step is kept.

    Args:
      task: its name.
      number: of the episode among others; None where there are no others.
      steps: whether there are several steps to choose from.
    """
    try:
        yield
    except TokenizationError as error:
        episode = "" if number is None else f", episode {number}"
        step = f", step {error.step}" if steps and error.step is not None else ""
        raise TokenizationError(f"{task}{episode}{step}, {error}", step=error.step) from None
