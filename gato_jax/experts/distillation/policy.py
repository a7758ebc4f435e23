"""Experts that play with the network of a file, in NumPy: tens of microseconds an action, and no JAX."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import dm_env
import numpy as np

from gato_jax.environments import Environment
from gato_jax.environments.base import control_actions, limits
from gato_jax.environments.suites import dm_control
from gato_jax.episodes import Continuous, TaskSpec
from gato_jax.experts.base import Expert
from gato_jax.experts.distillation import network
from gato_jax.experts.distillation.policy_file import SUFFIX, PolicyFile, PolicyFileError
from gato_jax.rollouts import Action

POLICIES = pathlib.Path(__file__).parent / "policies"  # SUITE/TASK.safetensors, TASK with its slashes


class DistillationError(ValueError):
    """A task that no network of this package can play, or a training that cannot be done; the message names it."""


class DistilledPolicy(Expert[Environment]):
    """An expert that plays with the network of a file.

    Args:
      task: Name of the task without its suite, as for every expert.
      policy: The policy; None reads the file of the class.

    Raises:
      PolicyFileError: There is no such file, or it is damaged.
    """

    agent = "network distilled from a planner"
    default_noise = 0.1
    file: ClassVar[pathlib.Path]

    def __init__(self, task: str, policy: PolicyFile | None = None):
        self._policy = policy or _read(self.file)

    def reset(self, environment: Environment, seed: int) -> None:
        trained_on, played = self._policy.about.task, environment.task_spec
        if trained_on.partition("/")[2] != played.task:  # the suite may be another one, with the same task from pixels
            raise PolicyFileError(
                f"policy: its task is {trained_on}, expected {played.name}, which is played. "
                f"Train one with gato train_expert --task={played.name}."
            )
        self._key, modality = vector_action(played)
        self._low, self._high = limits(modality)

    def act(self, environment: Environment, timestep: dm_env.TimeStep) -> Action:
        about = self._policy.about
        inputs = network_inputs(self.observe(environment, timestep), about.observation, about.angles)
        value = network.act(self._policy.params, inputs, about.modes)
        return {self._key: np.clip(from_unit(value, self._low, self._high), self._low, self._high)}

    def observe(self, environment: Environment, timestep: dm_env.TimeStep) -> Mapping[str, Any]:
        """Return the observation that the network reads: that of the timestep."""
        return timestep.observation


class StateOfPixels(DistilledPolicy):
    """A policy of DM Control for the same task from pixels, which reads the state from the simulator."""

    def observe(self, environment: Any, timestep: dm_env.TimeStep) -> Mapping[str, Any]:
        suite = environment.suite_environment
        observation = suite.task.get_observation(suite.physics)
        return {key: np.asarray(value, np.float32) for key, value in observation.items()}


def network_inputs(observation: Mapping[str, Any], sizes: Mapping[str, int], angles: Collection[str]) -> np.ndarray:
    """Return the inputs (..., inputs) float32 of a network for observations, each (..., size of its key).

    Args:
      observation: Observations by their keys.
      sizes: Size of each observation that the network reads.
      angles: Keys of those of which it reads sine and cosine.

    Raises:
      PolicyFileError: The observation lacks a key of the policy, or one has another size.
    """
    parts = [np.atleast_1d(np.asarray(observation.get(key, ()), np.float32)) for key in sizes]
    for (key, size), part in zip(sizes.items(), parts, strict=True):
        if part.shape[-1] != size:
            raise PolicyFileError(
                f"policy: size of the observation {key!r} is {part.shape[-1]}, expected {size}. "
                "Play the task that the policy was trained on."
            )
    unwound = [_unwind(part) if key in angles else part for key, part in zip(sizes, parts, strict=True)]
    return np.concatenate(unwound, axis=-1)


def _unwind(angles: np.ndarray) -> np.ndarray:
    """Return sines and cosines (..., 2 size) of angles (..., size), which may have turned several times."""
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=-1)


def observation_sizes(spec: TaskSpec) -> dict[str, int]:
    """Return {key: size} of the observations of a task, in alphabetical order.

    Raises:
      DistillationError: An observation is no vector of numbers.
    """
    sizes = {}
    for key, modality in sorted(spec.observation.items()):
        if not isinstance(modality, Continuous) or len(modality.shape) != 1:
            raise DistillationError(
                f"distillation: observation {key!r} of {spec.name} is {modality!r}, expected a vector of numbers. "
                "Choose a task that is observed as state vectors."
            )
        sizes[key] = modality.shape[0]
    return sizes


def vector_action(spec: TaskSpec) -> tuple[str, Continuous]:
    """Return the key and the modality of the action of a task.

    Raises:
      DistillationError: The action is not one vector of numbers with finite limits.
    """
    actions = control_actions(spec)
    if len(actions) == 1:
        ((key, modality),) = actions.items()
        if isinstance(modality, Continuous) and len(modality.shape) == 1 and np.isfinite(limits(modality)).all():
            return key, modality
    raise DistillationError(
        f"distillation: action of {spec.name} is {actions}, expected one vector with finite limits. "
        "Choose a task of continuous control."
    )


def from_unit(value: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return actions within the limits, float32, for values in [-1, 1]."""
    return (low + (value + 1) / 2 * (high - low)).astype(np.float32)


def to_unit(action: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return values in [-1, 1], float32, for actions within the limits."""
    return (2 * (action - low) / (high - low) - 1).astype(np.float32)


@functools.cache
def _read(path: pathlib.Path) -> PolicyFile:
    return PolicyFile.read(path)


def _committed() -> dict[str, type[DistilledPolicy]]:
    """Return {`suite/task`: class} of the tasks with a file, those of DM Control from pixels among them."""
    experts = {}
    for file in sorted(POLICIES.rglob(f"*{SUFFIX}")):
        name = file.relative_to(POLICIES).with_suffix("").as_posix()
        experts[name] = type("DistilledPolicy", (DistilledPolicy,), {"file": file})
        suite, _, task = name.partition("/")
        if suite == "dm_control" and task in dm_control.BENCHMARKING:
            experts[f"dm_control_pixels/{task}"] = type("StateOfPixels", (StateOfPixels,), {"file": file})
    return experts


EXPERTS = _committed()
