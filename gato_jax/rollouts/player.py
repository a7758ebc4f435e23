"""An actor that can be made, with its description."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from gato_jax.rollouts.actor import Actor


class Player(NamedTuple):
    """An actor that can be made, with its description.

    Attributes:
      make_actor: Function that makes the actor.
      describe: Function that returns the description of the actor on a task, see `Actor.describe`.
      digest: Digest of the parameters of an agent that plays; None for other actors.
    """

    make_actor: Callable[[], Actor]
    describe: Callable[[str], str]
    digest: str | None = None
