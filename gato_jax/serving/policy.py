"""The interface of policies that the server serves."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any

import numpy as np

from gato_jax.episodes import Continuous, Discrete, Episode, Image, TaskSpec, Text

Observation = Mapping[str, Any]
Action = dict[str, np.ndarray]


class ServedPolicy(abc.ABC):
    """A policy that acts in several sessions at once; each is the episode of one robot. One thread calls it.

    Attributes:
      tasks: {name: TaskSpec} of the tasks that it can play.
      about: facts about the policy that every client is told, of JSON types.
    """

    tasks: Mapping[str, TaskSpec]
    about: Mapping[str, Any]

    @abc.abstractmethod
    def open(self, task: str) -> int:
        """Return the number of a new session for a task; `reset` begins its first episode."""

    @abc.abstractmethod
    def reset(self, session: int, seed: int, prompt: Episode | None = None):
        """Begin an episode in a session. Its actions depend on these arguments and its own observations alone.

        Args:
          session: the session.
          seed: seed of the samples.
          prompt: demonstration by the client; None leaves the prompt to the policy.

        Raises:
          ValueError: The policy cannot read the prompt.
        """

    @abc.abstractmethod
    def act(self, observations: Mapping[int, Observation]) -> dict[int, Action | ValueError]:
        """Return the next action in each of the given sessions; the others do not advance.

        Args:
          observations: {session: observation of one timestep}, as `check_observation` returns them.

        Returns:
          {session: action in the units of its task}, or the error that refuses the observation of this session.
        """

    @abc.abstractmethod
    def close(self, session: int):
        """Forget a session."""

    def warm_up(self, task: str):
        """Act twice for each length of the task's instruction, so that later requests meet compiled programs.

        Raises:
          ValueError: The policy refuses an observation of zeros.
        """
        spec = self.tasks[task]
        texts = sorted({len(text): text for text in spec.instructions or ("",)}.values(), key=len)
        session = self.open(task)
        for text in texts:
            self.reset(session, 0)
            for _ in range(2):
                [action] = self.act({session: neutral_observation(spec, text)}).values()
                if isinstance(action, ValueError):
                    raise action
        self.close(session)


def neutral_observation(spec: TaskSpec, text: str = "") -> dict[str, Any]:
    """Return an observation of zeros, or of the numbers nearest to zero within the limits, with one text for all."""
    values: dict[str, Any] = {}
    for key, modality in spec.observation.items():
        match modality:
            case Text():
                values[key] = text
            case Image():
                values[key] = np.zeros(modality.shape, np.uint8)
            case Discrete():
                values[key] = np.zeros(modality.shape, np.int64)
            case Continuous():
                low, high = modality.limits
                values[key] = np.clip(0.0, low, high).reshape(modality.shape).astype(np.float32)
    return values
