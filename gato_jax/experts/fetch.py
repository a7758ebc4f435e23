"""A script for Fetch pick and place: move above the block, go down, close the gripper, move to the target.

Each action follows from the current positions of gripper, block and target alone. So single steps can be imitated
without memory, and a block that was dropped is picked up again.
"""

from __future__ import annotations

import dm_env
import numpy as np

from gato_jax.environments.suites.fetch import MAX_DISPLACEMENT, FetchPickAndPlace
from gato_jax.experts.base import Expert
from gato_jax.rollouts import Action

_GAIN = 0.5  # fraction of the distance to move in one step
_ABOVE = 0.08  # height in metres above the block from which the gripper goes down
_ALIGNED, _AT_BLOCK = 0.015, 0.015  # largest horizontal and total distance to the block in metres
_SLACK = 0.03  # distance in metres that a held block may slip
_HELD_OPENING = 0.056  # largest opening in metres with the block, 0.05 wide, between the fingers
_OPEN, _CLOSED = 1.0, 0.0


class FetchScript(Expert[FetchPickAndPlace]):
    """A script that reads the positions of block and target from the simulator, whereas an imitator has to see them.

    Noise affects the displacement only, not the rotation or the opening of the gripper.
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
            displacement, opening = goal - block, _CLOSED
        elif np.linalg.norm(offset) < _AT_BLOCK:
            displacement, opening = offset, _CLOSED
        elif sideways < _ALIGNED:
            displacement, opening = offset, _OPEN
        else:
            displacement, opening = offset + [0.0, 0.0, _ABOVE], _OPEN
        action = np.zeros(7, np.float32)
        action[:3] = np.clip(_GAIN * displacement, -MAX_DISPLACEMENT, MAX_DISPLACEMENT)
        action[6] = opening
        return {"action": action}

    def disturb(
        self, environment: FetchPickAndPlace, action: Action, noise: float, generator: np.random.Generator
    ) -> Action:
        disturbed = super().disturb(environment, action, noise, generator)["action"]
        disturbed[3:] = action["action"][3:]
        return {"action": disturbed}


EXPERTS = {"fetch/pick_and_place": FetchScript}
