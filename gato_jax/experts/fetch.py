"""A script for Fetch pick and place: above the block, down, close, to the target.

Each action follows from where gripper, block and target are now, with no memory of a phase, so that single steps can be
imitated and a dropped block is picked up again.
"""

from __future__ import annotations

import dm_env
import numpy as np

from gato_jax.environments.fetch import MAX_DISPLACEMENT, FetchPickAndPlace
from gato_jax.experts.base import Expert
from gato_jax.rollouts import Action

_GAIN = 0.5  # of the distance, in one step
_ABOVE = 0.08  # metres over the block, from where the gripper goes down
_ALIGNED, _AT_BLOCK = 0.015, 0.015  # metres: sideways of the block; between the fingers
_SLACK = 0.03  # metres that a held block may slip
_HELD_OPENING = 0.056  # metres between fingers that have closed on the block, which is 0.05 wide
_OPEN, _CLOSED = 1.0, 0.0


class FetchScript(Expert[FetchPickAndPlace]):
    """Knows the block's and the target's position from the simulator; an imitator has to see them.

    Noise moves the gripper only: it neither opens it nor turns it.
    """

    agent = "script for pick and place that knows the block's position"
    default_noise = 0.1

    def __init__(self, task: str):
        del task

    def act(self, environment: FetchPickAndPlace, timestep: dm_env.TimeStep) -> Action:
        gripper, block, goal = environment.gripper, environment.block, environment.goal
        offset = block - gripper
        sideways = np.linalg.norm(offset[:2])
        if np.linalg.norm(offset) < _SLACK and environment.opening < _HELD_OPENING:
            way, hand = goal - block, _CLOSED
        elif np.linalg.norm(offset) < _AT_BLOCK:
            way, hand = offset, _CLOSED
        elif sideways < _ALIGNED:
            way, hand = offset, _OPEN
        else:
            way, hand = offset + [0.0, 0.0, _ABOVE], _OPEN
        action = np.zeros(7, np.float32)
        action[:3] = np.clip(_GAIN * way, -MAX_DISPLACEMENT, MAX_DISPLACEMENT)
        action[6] = hand
        return {"action": action}

    def disturb(
        self, environment: FetchPickAndPlace, action: Action, noise: float, generator: np.random.Generator
    ) -> Action:
        disturbed = super().disturb(environment, action, noise, generator)["action"]
        disturbed[3:] = action["action"][3:]
        return {"action": disturbed}


EXPERTS = {"fetch/pick_and_place": FetchScript}
