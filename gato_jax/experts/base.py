"""The base class of experts, which play one task well and need no downloaded weights."""

from __future__ import annotations

import abc
import dataclasses
from typing import Generic, TypeVar

import dm_env
import numpy as np

from gato_jax.environments import Environment
from gato_jax.environments.base import control_actions, limits
from gato_jax.episodes import Continuous
from gato_jax.rollouts import Action

Env = TypeVar("Env", bound=Environment)


@dataclasses.dataclass
class SearchEffort:
    """Counts of what an expert that searches a simulator has done since it was built.

    Attributes:
      decisions: Number of searches.
      frames: Number of simulated frames.
    """

    decisions: int = 0
    frames: int = 0


class Expert(abc.ABC, Generic[Env]):
    """A chooser of actions in one task, which may look into the simulator; Env is the class of its environment.

    Attributes:
      agent: Description of the expert, for the provenance of its episodes.
      default_noise: Noise at which the expert still succeeds, see `disturb`; used where a recording asks for no other.
      effort: Counts of its searches; None unless the expert counts them.
    """

    agent: str = ""
    default_noise: float = 0.0
    effort: SearchEffort | None = None

    def __init__(self, task: str):  # noqa: B027  most play all tasks of their suite alike
        """Build the expert of a task, which is named without its suite."""

    def reset(self, environment: Env, seed: int) -> None:  # noqa: B027  most have nothing to forget
        """Begin an episode that `environment` has just started with `seed`; forget the one before."""

    @abc.abstractmethod
    def act(self, environment: Env, timestep: dm_env.TimeStep) -> Action:
        """Return the expert's action at this timestep: the label for an imitator.

        Raises:
          ActorFailure: The expert has no action, and gives the episode up.
        """

    def acted(self, action: Action) -> None:  # noqa: B027  most need not know
        """Take note of the action that is about to be executed, which differs from the expert's own under noise."""

    def disturb(self, environment: Env, action: Action, noise: float, generator: np.random.Generator) -> Action:
        """Return a new action with noise on the given one, which is not changed.

        Args:
          environment: The environment that the action is for.
          action: The expert's action.
          noise: For continuous actions, the standard deviation of Gaussian noise, as a fraction of half the range
            between the limits; the result is clipped to the limits. For discrete actions, the probability that each
            element is replaced by a uniformly drawn value. Subclasses may restrict it to some actions.
          generator: Source of the noise.
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
