"""The interface of everything that chooses actions: random play, a constant action, experts and the agent."""

from __future__ import annotations

import abc
from collections.abc import Sequence

import dm_env
import numpy as np

from gato_jax.environments import Environment

Action = dict[str, np.ndarray]


class ActorFailure(RuntimeError):
    """An episode that an actor cannot go on with; the message gives the reason."""


class Actor(abc.ABC):
    """A chooser of actions in a batch of environments, each in a slot, which is its index in the batch.

    The episodes in the slots begin and end at different times, and their environments may belong to different tasks.
    The actions in one slot depend on the seed and the timesteps of that slot alone, never on the other slots, so that
    an episode is the same however many are played beside it.

    Attributes:
      looks: True if the actions may depend on the observations.
    """

    looks: bool = True

    @abc.abstractmethod
    def reset(self, environments: Sequence[Environment], seeds: Sequence[int | None]) -> None:
        """Begin new episodes in some of the slots.

        Args:
          environments: The environment in each slot, also in those that do not begin an episode. The number of slots
            stays the same as long as an actor is used.
          seeds: For each slot, the seed of the episode that has just been started there, or None where the previous
            episode goes on or the slot is idle.
        """

    @abc.abstractmethod
    def act(self, timesteps: Sequence[dm_env.TimeStep | None]) -> list[Action | ActorFailure]:
        """Return the next action in each slot, in the units of the slot's task.

        Args:
          timesteps: The newest timestep in each slot; None in a slot that is idle.

        Returns:
          One action for each slot, or an ActorFailure where the actor gives the episode up. The action in an idle
          slot is ignored.
        """

    def perturb(self, slot: int, action: Action) -> Action:
        """Return the action to execute in a slot instead of the chosen one, which stays the recorded one.

        It is called once after each action that `act` chose. The default returns the action unchanged.

        An actor that returns another action than it is given injects noise into its demonstrations (DART, arXiv
        1703.09327): an imitator of the recorded actions also learns how to recover.
        """
        return action

    @abc.abstractmethod
    def describe(self, task: str) -> str:
        """Return who chooses the actions of a task `suite/task`, as the provenance of an episode states it.

        For example, `MPPI planner; noise 0.1 on executed actions`.
        """
