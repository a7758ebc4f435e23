"""Base class of the environments of gymnasium-robotics that are observed as state vectors."""

from __future__ import annotations

import contextlib
import importlib
import io
import warnings
from typing import Any

import numpy as np

from gato_jax.environments.base import Environment, Outcome
from gato_jax.environments.rendering.raycast import Pose, RayCaster, Sphere
from gato_jax.episodes import TaskSpec

GOAL_COLOUR = (0.10, 0.70, 0.20, 0.9)
_FRAME_SIDE = 128


class RoboticsEnvironment(Environment):
    """An environment of gymnasium-robotics, with its own observations, actions and rewards.

    An observation that has no parts gets the key `observation`, that of the action is `action`.

    Args:
      task_spec: The task.
      origin: Class of the environment, as `module:class` below `gymnasium_robotics.envs`.
      view: Pose of the camera of `render`.
      **options: Arguments of the class.

    Attributes:
      simulator: The package's own environment.
    """

    fixed_views = True

    def __init__(self, task_spec: TaskSpec, origin: str, view: Pose, **options: Any):
        super().__init__(task_spec)
        module, name = origin.split(":")
        with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the import prints a note about other tasks
            self.simulator = getattr(importlib.import_module(f"gymnasium_robotics.envs.{module}"), name)(**options)
        self._view = view
        self._ray_caster: RayCaster | None = None

    def _start(self, seed: int) -> dict[str, np.ndarray]:
        observation, _ = self.simulator.reset(seed=seed)
        return self._parts(observation)

    def _advance(self, action: dict[str, np.ndarray]) -> Outcome:
        observation, reward, terminated, truncated, info = self.simulator.step(action["action"].astype(np.float64))
        return Outcome(
            observation=self._parts(observation),
            reward=float(reward),
            terminated=bool(terminated),
            truncated=bool(truncated),
            success=self._is_success(info),
        )

    def _is_success(self, info: dict[str, Any]) -> bool:
        return bool(info["is_success"] if "is_success" in info else info["success"])

    @staticmethod
    def _parts(observation: Any) -> dict[str, np.ndarray]:
        return observation if isinstance(observation, dict) else {"observation": observation}

    @property
    def mujoco_model(self):
        return self.simulator.model

    def render(self) -> np.ndarray:
        if self._ray_caster is None:
            self._ray_caster = RayCaster(
                self.simulator.model, self._view, height=_FRAME_SIDE, width=_FRAME_SIDE, supersampling=2
            )
        return self._ray_caster.render(self.simulator.data, self._markers())

    def _markers(self) -> list[Sphere]:
        """Return goals to draw, which are no geoms of the model."""
        return []

    def close(self) -> None:
        self.simulator.close()
