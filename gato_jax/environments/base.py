"""What every environment here is: a `dm_env.Environment` with a TaskSpec, a seed, a success and a frame for people."""

from __future__ import annotations

import abc
import dataclasses
import importlib.util
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import dm_env
import numpy as np
from dm_env import specs as dm_specs

from gato_jax.episodes import Continuous, Discrete, Image, Modality, TaskSpec, Text

Observation = dict[str, Any]
Action = Mapping[str, Any]


class ActionError(ValueError):
    """An action that its TaskSpec does not allow; the message names the task, the key and what was wrong."""


class MissingPackageError(ImportError):
    """A task whose package is not installed; the message names the pip package, or what else is missing."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result of one step of a suite's own environment.

    Attributes:
      terminated: The episode ends here (discount 0).
      truncated: The episode is cut off here by its time limit (discount 1).
      success: Whether the task's own criterion of success is met; None if the task has no such criterion.
    """

    observation: Observation
    reward: float
    terminated: bool = False
    truncated: bool = False
    success: bool | None = None


class Environment(dm_env.Environment):
    """One task. Observations and actions are {key: array} in the units of `task_spec`; text is str.

    `seed(n)` and then `reset()` start the episode that n stands for, the same one on a fresh instance and on one that
    has played before. A further `reset()` without a seed goes on with n + 1.

    A suite implements `_start`, `_advance` and `render`.

    Attributes:
      task_spec: The task.
      source: Packages that the task comes from, with their versions; `load` sets it.
      licence: Licence of these packages; `load` sets it.
    """

    source: str = ""
    licence: str = ""

    def __init__(self, task_spec: TaskSpec):
        self.task_spec = task_spec
        self._next_seed = 0
        self._done = True
        self._success: bool | None = None

    def seed(self, seed: int) -> None:
        """Sets the episode that the next `reset` starts."""
        self._next_seed = int(seed)

    def reset(self) -> dm_env.TimeStep:
        seed, self._next_seed = self._next_seed, self._next_seed + 1
        self._done, self._success = False, None
        return dm_env.restart(self._conform(self._start(seed)))

    def step(self, action: Action) -> dm_env.TimeStep:
        """Acts once; after the last step of an episode it starts the next one, as dm_env has it.

        Raises:
          ActionError: a wrong key, shape, type or value.
        """
        if self._done:
            return self.reset()
        outcome = self._advance(check_action(self.task_spec, action))
        observation = self._conform(outcome.observation)
        self._success = outcome.success
        self._done = outcome.terminated or outcome.truncated
        if outcome.terminated:
            return dm_env.termination(float(outcome.reward), observation)
        if outcome.truncated:
            return dm_env.truncation(float(outcome.reward), observation, 1.0)
        return dm_env.transition(float(outcome.reward), observation, 1.0)

    @property
    def success(self) -> bool | None:
        """Whether the last step met the task's own criterion; None before it, and for a task that has none."""
        return self._success

    @property
    def action_names(self) -> tuple[str, ...]:
        """For people: names of the values where the action is one discrete value, else of each number in it."""
        return tuple(itertools.chain(*(_numbers(key, m) for key, m in sorted(self.task_spec.action.items()))))

    def score(self, episode_return: float) -> float:
        """An episode's score in the task's own metric: its undiscounted return, or its success as 0 or 1."""
        if self.task_spec.metric == "return":
            return episode_return
        if self.success is None:
            raise RuntimeError(f"{self.task_spec.name}: scored by success, but the episode has none")
        return float(self.success)

    @abc.abstractmethod
    def render(self) -> np.ndarray:
        """The present scene for people, (height, width, 3) uint8."""

    @abc.abstractmethod
    def _start(self, seed: int) -> Observation:
        """Starts the episode of this seed, whatever was played before, and returns its first observation."""

    @abc.abstractmethod
    def _advance(self, action: dict[str, np.ndarray]) -> Outcome:
        """Takes one checked action."""

    def observation_spec(self) -> dict[str, dm_specs.Array]:
        return {key: _dm_spec(modality, key) for key, modality in self.task_spec.observation.items()}

    def action_spec(self) -> dict[str, dm_specs.Array]:
        return {key: _dm_spec(modality, key) for key, modality in self.task_spec.action.items()}

    def _conform(self, observation: Observation) -> Observation:
        return {
            key: observation[key] if isinstance(modality, Text) else np.asarray(observation[key], _dtype(modality))
            for key, modality in self.task_spec.observation.items()
        }


def _numbers(key: str, modality: Modality) -> tuple[str, ...]:
    if isinstance(modality, Discrete) and not modality.shape:
        return tuple(str(value) for value in range(modality.n))
    size = int(np.prod(modality.shape, dtype=int)) if isinstance(modality, Continuous | Discrete) else 1
    return tuple(f"{key}[{index}]" for index in range(size)) if size > 1 else (key,)


def control_actions(task_spec: TaskSpec) -> dict[str, Discrete | Continuous]:
    """The modality of each action, all of them numbers: text is an action of captions and dialogue only.

    Raises:
      ActionError: an action is text.
    """
    actions = {}
    for key, modality in task_spec.action.items():
        if not isinstance(modality, (Discrete, Continuous)):
            raise ActionError(f"{task_spec.name}: action {key!r} is {modality!r}, which no environment takes")
        actions[key] = modality
    return actions


def check_action(task_spec: TaskSpec, action: Action) -> dict[str, np.ndarray]:
    """Returns the action as arrays of the spec's types, or raises ActionError."""
    if set(action) != set(task_spec.action):
        raise ActionError(f"{task_spec.name}: an action has the keys {sorted(task_spec.action)}, got {sorted(action)}")
    checked = {}
    for key, modality in control_actions(task_spec).items():
        value = np.asarray(action[key])
        if value.shape != modality.shape:
            raise ActionError(f"{task_spec.name}: action {key!r} has shape {value.shape}, needs {modality.shape}")
        if isinstance(modality, Discrete):
            low, high = 0, modality.n - 1
            if not np.issubdtype(value.dtype, np.integer):
                raise ActionError(f"{task_spec.name}: action {key!r} is {value.dtype}, needs an integer")
        else:
            value = value.astype(np.float32)  # in which a limit such as 0.05 is a little more than 0.05
            low, high = limits(modality)
        if not np.all((value >= low) & (value <= high)):
            raise ActionError(f"{task_spec.name}: action {key!r} is {value.tolist()}, outside [{low}, {high}]")
        checked[key] = value.astype(_dtype(modality))
    return checked


def limits(modality: Continuous) -> tuple[np.ndarray, np.ndarray]:
    """`low` and `high` as float32 arrays of the modality's shape."""
    low, high = (
        np.broadcast_to(limit, modality.shape) if np.ndim(limit) == 0 else np.reshape(limit, modality.shape)
        for limit in (modality.low, modality.high)
    )
    return low.astype(np.float32), high.astype(np.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Suite:
    """The tasks of one suite. Nothing here imports the suite's packages; `load` does.

    Attributes:
      tasks: names without the suite's own, as they are written after the slash.
      packages: {module: the pip package that has it}.
      licence: of these packages, for the provenance of the episodes that are played with them.
      spec, load: take a task's name without the suite's.
      spec_needs_package: whether `spec` imports the suite's packages.
      unavailable: {task: why it does not run here}.
    """

    name: str
    tasks: tuple[str, ...]
    packages: Mapping[str, str]
    licence: str
    spec: Callable[[str], TaskSpec]
    load: Callable[[str], Environment]
    spec_needs_package: bool = False
    unavailable: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def missing(self) -> list[str]:
        """The pip packages that are not installed."""
        return [pip for module, pip in self.packages.items() if importlib.util.find_spec(module) is None]


def _dtype(modality: Modality):
    return {Image: np.uint8, Discrete: np.int32, Continuous: np.float32}[type(modality)]


def _dm_spec(modality: Modality, key: str) -> dm_specs.Array:
    if isinstance(modality, Text):
        return dm_specs.StringArray(shape=(), name=key)
    if isinstance(modality, Continuous):
        low, high = limits(modality)
        return dm_specs.BoundedArray(modality.shape, np.float32, low, high, name=key)
    top = 255 if isinstance(modality, Image) else modality.n - 1
    return dm_specs.BoundedArray(modality.shape, _dtype(modality), 0, top, name=key)
