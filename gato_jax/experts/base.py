"""What an expert is: something that plays a task well and needs no downloaded weights."""

from __future__ import annotations

import abc
from typing import Generic, TypeVar

import dm_env
import numpy as np

from gato_jax.environments import Environment
from gato_jax.environments.base import control_actions, limits
from gato_jax.episodes import Continuous

Action = dict[str, np.ndarray]
Env = TypeVar("Env", bound=Environment)


class ExpertFailure(RuntimeError):
    """The expert cannot go on with this episode; the message says why."""


class Expert(abc.ABC, Generic[Env]):
    """Chooses actions in one task, and may look into the simulator to do so: Env is the class of its environment.

    Attributes:
      agent: what chooses the actions, for the provenance of an episode.
      licence: of the package that the task and the expert come from.
      default_noise: how much `disturb` does where nobody says; chosen so that the expert still succeeds.
    """

    agent: str = ""
    licence: str = ""
    default_noise: float = 0.0

    def reset(self, environment: Env, seed: int) -> None:  # noqa: B027  most have nothing to forget
        """Begins an episode that `environment` has just started."""

    @abc.abstractmethod
    def act(self, environment: Env, timestep: dm_env.TimeStep) -> Action:
        """The expert's action at this step: the label of imitation.

        Raises:
          ExpertFailure: the expert has no action.
        """

    def acted(self, action: Action) -> None:  # noqa: B027  most need not know
        """Learns which action was executed, which differs from its own where there is noise."""

    def disturb(self, environment: Env, action: Action, noise: float, generator: np.random.Generator) -> Action:
        """The action to execute.

        Continuous actions get Gaussian noise, whose standard deviation is this share of half the limits' distance, and
        are clipped to the limits. Discrete ones are replaced by a uniformly drawn one with this probability.
        """
        disturbed = {}
        for key, modality in control_actions(environment.task_spec).items():
            if isinstance(modality, Continuous):
                low, high = limits(modality)
                value = action[key] + noise * (high - low) / 2 * generator.standard_normal(modality.shape)
                disturbed[key] = np.clip(value, low, high).astype(np.float32)
            else:
                replaced = generator.random(modality.shape) < noise
                disturbed[key] = np.where(replaced, generator.integers(modality.n, size=modality.shape), action[key])
        return disturbed
