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


def pick_and_place(
    gripper: np.ndarray, opening: float, block: np.ndarray, goal: np.ndarray
) -> tuple[np.ndarray, float]:
    """Return the next displacement of the gripper, (3,) metres, not clipped, and its opening, 0 or 1.

    Args:
      gripper: Position of the point between the fingers, (3,) metres.
      opening: Distance between the fingers, in metres.
      block: Position of the block's centre, (3,) metres.
      goal: Position of the target, (3,) metres.
    """
    offset = block - gripper
    if np.linalg.norm(offset) < _SLACK and opening < _HELD_OPENING:
        return _GAIN * (goal - block), _CLOSED
    if np.linalg.norm(offset) < _AT_BLOCK:
        return _GAIN * offset, _CLOSED
    if np.linalg.norm(offset[:2]) < _ALIGNED:
        return _GAIN * offset, _OPEN
    return _GAIN * (offset + [0.0, 0.0, _ABOVE]), _OPEN


class FetchScript(Expert[FetchPickAndPlace]):
    """A script that reads the positions of block and target from the simulator, whereas an imitator has to see them.

    Noise affects the displacement only, not the rotation or the opening of the gripper.
    """

    agent = "script for pick and place that knows the block's position"
    default_noise = 0.1

    def act(self, environment: FetchPickAndPlace, timestep: dm_env.TimeStep) -> Action:
        displacement, opening = pick_and_place(
            environment.gripper, environment.opening, environment.block, environment.goal
        )
        action = np.zeros(7, np.float32)
        action[:3] = np.clip(displacement, -MAX_DISPLACEMENT, MAX_DISPLACEMENT)
        action[6] = opening
        return {"action": action}

    def disturb(
        self, environment: FetchPickAndPlace, action: Action, noise: float, generator: np.random.Generator
    ) -> Action:
        disturbed = super().disturb(environment, action, noise, generator)["action"]
        disturbed[3:] = action["action"][3:]
        return {"action": disturbed}


EXPERTS = {"fetch/pick_and_place": FetchScript}
