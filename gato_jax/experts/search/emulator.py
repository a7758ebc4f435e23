"""The interface of an emulator that a search can copy and restore."""

from __future__ import annotations

import abc
import dataclasses
import random
from typing import Any, Generic, TypeVar

import numpy as np

State = TypeVar("State")


@dataclasses.dataclass(slots=True)  # not frozen, which would take as long as the rest of a node
class Transition:
    """Result of one decision.

    Attributes:
      reward: Sum of the rewards.
      frames: Number of emulated frames.
      lost_life: A life was lost, which ends a decision early.
      terminated: The episode is over.
    """

    reward: float
    frames: int
    lost_life: bool = False
    terminated: bool = False


class Emulator(abc.ABC, Generic[State]):
    """A simulator of a task apart from the environment that is played, with a current state.

    Attributes:
      actions: Number of actions.
      decision_steps: Number of steps of the environment for which a decision holds its action.
      feature_count: Number of boolean features.
    """

    actions: int
    decision_steps: int
    feature_count: int

    @abc.abstractmethod
    def read(self, live: Any) -> State:
        """Return the state of the environment that is played, which is not changed."""

    @abc.abstractmethod
    def clone(self) -> State:
        """Return the current state."""

    @abc.abstractmethod
    def restore(self, state: State) -> None:
        """Go to a state."""

    @abc.abstractmethod
    def step(self, action: int, generator: random.Random) -> Transition:
        """Take one decision: hold an action for `decision_steps` steps, or until a life is lost or the episode ends.

        Args:
          action: Number of the action.
          generator: Source of everything random that a player cannot know, such as sticky actions.
        """

    @abc.abstractmethod
    def features(self) -> np.ndarray:
        """Return the numbers of the features that the current state has, (n,) of an integer dtype, each once."""

    @abc.abstractmethod
    def fingerprint(self) -> bytes:
        """Return bytes that are the same in states that a player need not tell apart."""

    @abc.abstractmethod
    def same(self, first: State, second: State) -> bool:
        """Return True if two states lead on to the same future."""
