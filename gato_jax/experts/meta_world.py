"""Meta-World's scripted policies, one for each of the 50 tasks; each is a function of the observation alone."""

from __future__ import annotations

import warnings

import dm_env
import numpy as np

from gato_jax.environments.suites.meta_world import TASKS, MetaWorld
from gato_jax.experts.base import Expert
from gato_jax.rollouts import Action


class MetaWorldScript(Expert[MetaWorld]):
    """The policy that comes with Meta-World for the task, clipped to [-1, 1].

    Over all tasks it succeeds in 98% of the episodes.
    """

    agent = "Meta-World's scripted policy"
    default_noise = 0.3

    def __init__(self, task: str):
        from metaworld.policies import ENV_POLICY_MAP

        warnings.filterwarnings("ignore", module=r"metaworld\.policies")  # it warns of each action that will be clipped
        self._policy = ENV_POLICY_MAP[task]()

    def act(self, environment: MetaWorld, timestep: dm_env.TimeStep) -> Action:
        action = self._policy.get_action(timestep.observation["state"].astype(np.float64))
        return {"action": np.clip(action, -1.0, 1.0).astype(np.float32)}


EXPERTS = {f"meta_world/{task}": MetaWorldScript for task in TASKS}
