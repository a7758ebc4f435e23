"""Base class of all environments: a `dm_env.Environment` with a TaskSpec, a seed, a success and images."""

from __future__ import annotations

import abc
import dataclasses
import functools
import itertools
from collections.abc import Mapping
from typing import Any

import dm_env
import numpy as np
from dm_env import specs as dm_specs

from gato_jax.episodes import Continuous, Discrete, Image, Modality, TaskSpec, Text

Observation = dict[str, Any]
Action = Mapping[str, Any]

MAX_SEED = 2**31 - 1  # every suite's generator takes seeds up to here


class ActionError(ValueError):
    """An action that the TaskSpec does not allow, or a text where a control action is needed; the message names it."""


class SeedError(ValueError):
    """A seed that is not an integer from 0 to MAX_SEED; the message has the value."""


class MissingPackageError(ImportError):
    """A task that cannot be loaded here; the message names the pip package to install, or another reason."""


@dataclasses.dataclass(kw_only=True, slots=True)  # not frozen, which would take longer than a step of a small game
class Outcome:
    """Result of one step of a suite's own environment.

    Attributes:
      observation: Values of at least the keys of the TaskSpec; other keys are dropped, and dtypes converted.
      reward: Reward of the step.
      terminated: The episode ends here (discount 0), even if it is cut off as well.
      truncated: The episode is cut off here (discount 1), by a limit other than the TaskSpec's `max_steps`.
      success: True if the task's own criterion of success is met at this step; None if the task has no such criterion.
    """

    observation: Observation
    reward: float
    terminated: bool = False
    truncated: bool = False
    success: bool | None = None


class Environment(dm_env.Environment):
    """An environment of one task.

    Observations and actions are dictionaries of arrays in the units of `task_spec`; text is str. `seed(n)` followed by
    `reset()` starts the episode of seed n, which is the same in a new instance and in one that has played before. A
    further `reset()` without a seed starts the episode of seed n + 1. Without any seed, the first episode has seed 0.

    A suite implements `_start`, `_advance` and `render`.

    Attributes:
      task_spec: The task.
      max_steps: Number of steps after which episodes are cut off with discount 1; None for no limit. It is that of
        `task_spec` at first, and may be lowered.
      observed: False if nobody looks at the observations: a suite may then leave images black, which is faster.
      source: Packages that the task comes from, with their versions, comma-separated; empty until `load` sets it.
      licence: Licence of these packages; empty until `load` sets it.
      renderer: Renderer of the images among the observations, see `rendering.describe_renderer`; empty if none are
        rendered, or always in the same way.
      mujoco_model: MuJoCo model of the task, for domain randomisation; None without one, or if each episode builds its
        own.
      fixed_views: True if images are drawn from fixed poses, not from the cameras of the model.
    """

    source: str = ""
    licence: str = ""
    renderer: str = ""
    mujoco_model: Any = None
    fixed_views: bool = False

    def __init__(self, task_spec: TaskSpec):
        self.task_spec = task_spec
        self.max_steps = task_spec.max_steps
        self.observed = True
        self._steps = 0
        self._next_seed = 0
        self._done = True
        self._success: bool | None = None

    def seed(self, seed: int) -> None:
        """Choose the episode that the next `reset` starts; the current one goes on until then.

        Raises:
          SeedError: The seed is not an integer from 0 to MAX_SEED.
        """
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed <= MAX_SEED:
            raise SeedError(f"{self.task_spec.name}: seed is {seed!r}, expected an integer from 0 to {MAX_SEED}.")
        self._next_seed = int(seed)

    def reset(self) -> dm_env.TimeStep:
        seed, self._next_seed = self._next_seed, self._next_seed + 1
        self._done, self._success, self._steps = False, None, 0
        return dm_env.restart(self._conform(self._start(seed)))

    def step(self, action: Action) -> dm_env.TimeStep:
        """Take one action and return the next timestep.

        Before the first `reset` and after the last timestep of an episode, ignore the action and return the first
        timestep of the next episode, as dm_env does.

        Raises:
          ActionError: The action has a wrong key, shape, dtype or value.
        """
        if self._done:
            return self.reset()
        outcome = self._advance(self._check(action))
        observation = self._conform(outcome.observation)
        self._success = outcome.success
        self._steps += 1
        truncated = outcome.truncated or self._steps == self.max_steps
        self._done = outcome.terminated or truncated
        if outcome.terminated:
            return dm_env.termination(float(outcome.reward), observation)
        if truncated:
            return dm_env.truncation(float(outcome.reward), observation, 1.0)
        return dm_env.transition(float(outcome.reward), observation, 1.0)

    @property
    def success(self) -> bool | None:
        """True if the last step met the criterion of success; None before any step, or without a criterion."""
        return self._success

    @property
    def variation(self) -> Mapping[str, Any]:
        """Parameters drawn from the seed for this episode, as values for JSON, such as a game's mode; for provenance.

        Initial states and goals, which every task draws, are not listed.
        """
        return {}

    @property
    def measures(self) -> Mapping[str, float]:
        """Measures of the episode so far beside its score, {name: value}; reference scores report their means.

        `success` is 1.0 or 0.0, where the task has a criterion of success and its score is the return.
        """
        if self.success is None or self.task_spec.metric == "success":
            return {}
        return {"success": float(self.success)}

    @property
    def unwrapped(self) -> Environment:
        """The environment into whose simulator experts look: this one, or the one that a wrapper plays."""
        return self

    @property
    def action_names(self) -> tuple[str, ...]:
        """Names for display, for the action keys in alphabetical order.

        A key with a single discrete action has one name for each of its values, `0`, `1`, ... or the suite's own names
        such as `FIRE`; a key with several numbers has one for each, `KEY[0]`, `KEY[1]`, ...; any other key has
        its own name.
        """
        return tuple(itertools.chain(*(_numbers(key, m) for key, m in sorted(self.task_spec.action.items()))))

    def score(self, episode_return: float) -> float:
        """Return the score of the episode that was just played, in the task's own metric.

        Args:
          episode_return: Undiscounted sum of the rewards of the episode.

        Returns:
          The return itself, or the success of the last step as 0.0 or 1.0, as `task_spec.metric` says.

        Raises:
          RuntimeError: the metric is success, and the environment did not set it.
        """
        if self.task_spec.metric == "return":
            return episode_return
        if self.success is None:
            raise RuntimeError(
                f"{self.task_spec.name}: success is None, expected True or False for the metric 'success'. Set it in "
                "the Outcome of each step."
            )
        return float(self.success)

    @abc.abstractmethod
    def render(self) -> np.ndarray:
        """Return an image of the current scene for display, (height, width, 3) uint8; each suite has its own size."""

    @abc.abstractmethod
    def _start(self, seed: int) -> Observation:
        """Start the episode of this seed and return its first observation; earlier episodes have no effect on it."""

    @abc.abstractmethod
    def _advance(self, action: dict[str, np.ndarray]) -> Outcome:
        """Take one action, as `ActionCheck` returned it, and return its outcome; called only within an episode."""

    def _check(self, action: Action) -> dict[str, np.ndarray]:
        """Return the action as arrays in the dtypes of the task, or raise ActionError if the task forbids it."""
        return self._action_check(action)

    @functools.cached_property
    def _action_check(self) -> ActionCheck:
        return ActionCheck(self.task_spec)

    def observation_spec(self) -> dict[str, dm_specs.Array]:
        return {key: _dm_spec(modality, key) for key, modality in self.task_spec.observation.items()}

    def action_spec(self) -> dict[str, dm_specs.Array]:
        return {key: _dm_spec(modality, key) for key, modality in self.task_spec.action.items()}

    def _conform(self, observation: Observation) -> Observation:
        return {
            key: observation[key] if dtype is None else np.asarray(observation[key], dtype)
            for key, dtype in self._observed_dtypes
        }

    @functools.cached_property
    def _observed_dtypes(self) -> tuple[tuple[str, Any], ...]:
        """Keys of the observation, each with the dtype of its arrays; None for text."""
        modalities = self.task_spec.observation.items()
        return tuple((key, None if isinstance(modality, Text) else _dtype(modality)) for key, modality in modalities)


def _numbers(key: str, modality: Modality) -> tuple[str, ...]:
    if isinstance(modality, Discrete) and not modality.shape:
        return tuple(str(value) for value in range(modality.n))
    size = int(np.prod(modality.shape, dtype=int)) if isinstance(modality, Continuous | Discrete) else 1
    return tuple(f"{key}[{index}]" for index in range(size)) if size > 1 else (key,)


def control_actions(task_spec: TaskSpec) -> dict[str, Discrete | Continuous]:
    """Return {key: modality} of the action of a control task, in the order of the TaskSpec.

    Raises:
      ActionError: An action is text, as in captions and dialogue, which no environment takes.
    """
    actions = {}
    for key, modality in task_spec.action.items():
        if not isinstance(modality, (Discrete, Continuous)):
            raise ActionError(f"{task_spec.name}: action {key!r} is {modality!r}, expected Discrete or Continuous.")
        actions[key] = modality
    return actions


class ActionCheck:
    """Check of the actions of one task, which returns them as arrays of the dtypes of its modalities: int32 or float32.

    Nothing is clipped. Continuous values are compared with the limits in float32; any dtype is accepted for them, but
    only integers for discrete ones.

    Raises:
      ActionError: The task's action is text.
    """

    def __init__(self, task_spec: TaskSpec):
        self._name = task_spec.name
        self._modalities = control_actions(task_spec)
        self._limits = {
            key: (0, modality.n - 1) if isinstance(modality, Discrete) else limits(modality)
            for key, modality in self._modalities.items()
        }

    def __call__(self, action: Action) -> dict[str, np.ndarray]:
        """Return the action as arrays.

        Raises:
          ActionError: The action has a wrong key, shape, dtype or value.
        """
        if action.keys() != self._modalities.keys():
            raise ActionError(
                f"{self._name}: the keys of the action are {sorted(action)}, expected {sorted(self._modalities)}."
            )
        return {key: self._checked(key, modality, action[key]) for key, modality in self._modalities.items()}

    def _checked(self, key: str, modality: Discrete | Continuous, given: Any) -> np.ndarray:
        value = np.asarray(given)
        if value.shape != modality.shape:
            raise ActionError(f"{self._name}: shape of action {key!r} is {value.shape}, expected {modality.shape}.")
        low, high = self._limits[key]
        if isinstance(modality, Discrete):
            if value.dtype.kind not in "iu":
                raise ActionError(f"{self._name}: dtype of action {key!r} is {value.dtype}, expected integers.")
        elif value.dtype != np.float32:
            value = value.astype(np.float32)  # compared in float32, where the limit 0.05 is slightly more than 0.05
        if not ((value >= low) & (value <= high)).all():
            raise ActionError(
                f"{self._name}: action {key!r} is {value.tolist()}, outside the limits [{low}, {high}]. Clip it."
            )
        # A copy, as a simulator may keep or change what it is given.
        return value.astype(np.int32 if isinstance(modality, Discrete) else np.float32)


def limits(modality: Continuous) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower and the upper limits of a modality, each as a float32 array of its shape, maybe infinite."""
    low, high = (
        np.broadcast_to(limit, modality.shape) if np.ndim(limit) == 0 else np.reshape(limit, modality.shape)
        for limit in (modality.low, modality.high)
    )
    return low.astype(np.float32), high.astype(np.float32)


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
