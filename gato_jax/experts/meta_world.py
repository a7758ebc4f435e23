"""Experts of Meta-World: its scripted policies, and scripts of our own where those fail in some episodes."""

from __future__ import annotations

import warnings

import dm_env
import numpy as np

from gato_jax.environments.suites.meta_world import TASKS, MetaWorld
from gato_jax.experts.base import Expert
from gato_jax.experts.meta_world_scripts import SCRIPTS, Scene
from gato_jax.rollouts import Action

_GAIN = 10.0  # fraction of full speed per metre of distance


class MetaWorldPolicy(Expert[MetaWorld]):
    """The policy that comes with Meta-World for the task, clipped to [-1, 1]."""

    agent = "Meta-World's scripted policy"
    default_noise = 0.3

    def __init__(self, task: str):
        from metaworld.policies import ENV_POLICY_MAP

        warnings.filterwarnings("ignore", module=r"metaworld\.policies")  # it warns of each action that will be clipped
        self._policy = ENV_POLICY_MAP[task]()

    def act(self, environment: MetaWorld, timestep: dm_env.TimeStep) -> Action:
        action = self._policy.get_action(environment.state)
        return {"action": np.clip(action, -1.0, 1.0).astype(np.float32)}


class MetaWorldScript(Expert[MetaWorld]):
    """The script of `meta_world_scripts` for the task, which moves the hand in proportion to the distance."""

    agent = "script for the task that sees Meta-World's state"
    default_noise = 0.3

    def __init__(self, task: str):
        self._script = SCRIPTS[task]

    def act(self, environment: MetaWorld, timestep: dm_env.TimeStep) -> Action:
        scene = Scene.from_state(environment.state)
        target, effort = self._script(scene)
        action = np.append(_GAIN * (target - scene.hand), effort)
        return {"action": np.clip(action, -1.0, 1.0).astype(np.float32)}


EXPERTS = {
    f"{suite}/{task}": MetaWorldScript if task in SCRIPTS else MetaWorldPolicy
    for suite in ("meta_world", "meta_world_pixels")
    for task in TASKS
}
