"""The Gymnasium environment of a task, and the spaces of a TaskSpec. Importing this module needs Gymnasium."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from typing import Any

import dm_env
import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec

from gato_jax.environments.base import Environment, limits
from gato_jax.environments.registry import load
from gato_jax.episodes import Continuous, Discrete, Image, Modality, Text

MAX_TEXT = 4096  # characters
_CHARACTERS = string.printable + "".join(
    map(chr, range(0xA1, 0x180))
)  # ASCII and the accented letters of Latin scripts
_DEFAULT_FPS = 30
_NOT_IN_ID = re.compile(r"[^\w:.-]")  # characters that Gymnasium refuses in an id


class TaskEnv(gymnasium.Env):
    """A task as a Gymnasium environment; see `as_gymnasium` for the arguments.

    Attributes:
      environment: The task's own environment.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": _DEFAULT_FPS}

    def __init__(self, task: str | Environment, render_mode: str | None = None):
        self.environment = load(task) if isinstance(task, str) else task
        spec = self.environment.task_spec
        if isinstance(task, str):
            name = _NOT_IN_ID.sub(".", task)
            self.spec = EnvSpec(f"gato_jax/{name}", entry_point=f"{__name__}:TaskEnv", kwargs={"task": task})
        self.render_mode = render_mode
        self.metadata = self.metadata | {"render_fps": spec.control_rate_hz or _DEFAULT_FPS}
        self.observation_space = _side_space(spec.observation)
        self.action_space = _side_space(spec.action)
        self._needs_reset = True

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode; `options` are ignored.

        Raises:
          SeedError: The seed is out of range.
        """
        if seed is not None:
            self.environment.seed(seed)
        super().reset(seed=seed)
        timestep = self.environment.reset()
        self._needs_reset = False
        return self._observation(timestep), {"variation": dict(self.environment.variation)}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take one action.

        Raises:
          ResetNeeded: There is no episode, or it has ended.
          ActionError: The action is not one of the task's.
        """
        if self._needs_reset:
            name = self.environment.task_spec.name
            raise gymnasium.error.ResetNeeded(f"{name}: step was called without an episode. Call reset() first.")
        keys = self.environment.task_spec.action
        timestep = self.environment.step(action if len(keys) > 1 else {next(iter(keys)): action})
        self._needs_reset = timestep.last()
        terminated = timestep.last() and timestep.discount == 0.0
        success = self.environment.success
        info = {} if success is None else {"success": success}
        truncated = timestep.last() and not terminated
        return self._observation(timestep), float(timestep.reward), terminated, truncated, info

    def render(self) -> np.ndarray | None:
        """Return a frame, (height, width, 3) uint8, if `render_mode` is `rgb_array`."""
        return None if self.render_mode is None else self.environment.render()

    def close(self) -> None:
        self.environment.close()

    def _observation(self, timestep: dm_env.TimeStep) -> Any:
        modalities = self.environment.task_spec.observation
        values = {key: _value(modality, timestep.observation[key]) for key, modality in modalities.items()}
        return values if len(values) > 1 else next(iter(values.values()))


def _side_space(modalities: Mapping[str, Modality]) -> spaces.Space:
    """Return the space of the observations or actions of a task."""
    parts = {key: _space(modality) for key, modality in modalities.items()}
    return spaces.Dict(parts) if len(parts) > 1 else next(iter(parts.values()))


def _space(modality: Modality) -> spaces.Space:
    match modality:
        case Image():
            return spaces.Box(0, 255, modality.shape, np.uint8)
        case Continuous():
            low, high = limits(modality)
            return spaces.Box(low, high, modality.shape, np.float32)
        case Discrete(shape=()):
            return spaces.Discrete(modality.n)
        case Discrete():
            return spaces.MultiDiscrete(np.full(modality.shape, modality.n), dtype=np.int32)
        case Text():
            return spaces.Text(MAX_TEXT, min_length=0, charset=_CHARACTERS)


def _value(modality: Modality, value: Any) -> Any:
    """Return a value of a modality as a value of its space."""
    return np.int64(value) if isinstance(modality, Discrete) and not modality.shape else value
