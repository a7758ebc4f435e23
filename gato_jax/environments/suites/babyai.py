"""BabyAI: 96 levels of a grid world in which an agent with a narrow view follows an instruction in English.

The observation is minigrid's own: `image`, the 7x7 cells in front of the agent as (object type, colour, state) codes;
`direction`, in which it looks (0 right, 1 down, 2 left, 3 up); and `mission`, the instruction. The seven actions are
left, right, forward, pick up, drop, toggle and done. The return is 1 - 0.9 * steps / limit on success and 0 otherwise;
each level has its own limit.
"""

from __future__ import annotations

import contextlib
import io
from typing import cast

import numpy as np

from gato_jax.environments.base import Environment, Outcome
from gato_jax.environments.suite import Suite
from gato_jax.episodes import Discrete, TaskSpec, Text

CODES = 11  # object types are 0-10; colours (0-5) and states (0-3) are fewer
_FRAME_SIDE = 96

TASKS = tuple(
    """
ActionObjDoor-v0 BlockedUnlockPickup-v0 BossLevel-v0 BossLevelNoUnlock-v0 FindObjS5-v0 FindObjS6-v0 FindObjS7-v0
GoTo-v0 GoToDoor-v0 GoToImpUnlock-v0 GoToLocal-v0 GoToLocalS5N2-v0 GoToLocalS6N2-v0 GoToLocalS6N3-v0
GoToLocalS6N4-v0 GoToLocalS7N4-v0 GoToLocalS7N5-v0 GoToLocalS8N2-v0 GoToLocalS8N3-v0 GoToLocalS8N4-v0
GoToLocalS8N5-v0 GoToLocalS8N6-v0 GoToLocalS8N7-v0 GoToObj-v0 GoToObjDoor-v0 GoToObjMaze-v0 GoToObjMazeOpen-v0
GoToObjMazeS4-v0 GoToObjMazeS4R2-v0 GoToObjMazeS5-v0 GoToObjMazeS6-v0 GoToObjMazeS7-v0 GoToObjS4-v0 GoToObjS6-v1
GoToOpen-v0 GoToRedBall-v0 GoToRedBallGrey-v0 GoToRedBallNoDists-v0 GoToRedBlueBall-v0 GoToSeq-v0 GoToSeqS5R2-v0
KeyCorridor-v0 KeyCorridorS3R1-v0 KeyCorridorS3R2-v0 KeyCorridorS3R3-v0 KeyCorridorS4R3-v0 KeyCorridorS5R3-v0
KeyCorridorS6R3-v0 KeyInBox-v0 MiniBossLevel-v0 MoveTwoAcrossS5N2-v0 MoveTwoAcrossS8N9-v0 OneRoomS12-v0
OneRoomS16-v0 OneRoomS20-v0 OneRoomS8-v0 Open-v0 OpenDoor-v0 OpenDoorColor-v0 OpenDoorDebug-v0 OpenDoorLoc-v0
OpenDoorsOrderN2-v0 OpenDoorsOrderN2Debug-v0 OpenDoorsOrderN4-v0 OpenDoorsOrderN4Debug-v0 OpenRedBlueDoors-v0
OpenRedBlueDoorsDebug-v0 OpenRedDoor-v0 OpenTwoDoors-v0 Pickup-v0 PickupAbove-v0 PickupDist-v0
PickupDistDebug-v0 PickupLoc-v0 PutNextLocal-v0 PutNextLocalS5N3-v0 PutNextLocalS6N4-v0 PutNextS4N1-v0
PutNextS5N1-v0 PutNextS5N2-v0 PutNextS5N2Carrying-v0 PutNextS6N3-v0 PutNextS6N3Carrying-v0 PutNextS7N4-v0
PutNextS7N4Carrying-v0 Synth-v0 SynthLoc-v0 SynthS5R2-v0 SynthSeq-v0 UnblockPickup-v0 Unlock-v0 UnlockLocal-v0
UnlockLocalDist-v0 UnlockPickup-v0 UnlockPickupDist-v0 UnlockToUnlock-v0
""".split()
)


def spec(task: str) -> TaskSpec:
    """Return the TaskSpec of a level, such as `GoToObj-v0`; all levels have the same one, except for the name."""
    return TaskSpec(
        suite="babyai",
        task=task,
        observation={
            "image": Discrete(n=CODES, shape=(7, 7, 3)),
            "direction": Discrete(n=4),
            "mission": Text(),
        },
        action={"action": Discrete(n=7)},
        metric="return",
    )


class BabyAI(Environment):
    """An environment of one level, which is named without the suite, such as `GoToObj-v0`.

    Attributes:
      level: minigrid's own environment.
    """

    def __init__(self, task: str):
        import gymnasium
        import minigrid  # registers its environments on import
        from minigrid.minigrid_env import MiniGridEnv

        gymnasium.register_envs(minigrid)
        super().__init__(spec(task))
        self.level = cast(MiniGridEnv, gymnasium.make(f"BabyAI-{task}", disable_env_checker=True).unwrapped)

    def _start(self, seed: int) -> dict:
        with contextlib.redirect_stdout(io.StringIO()):  # minigrid prints each layout that it rejects
            observation, _ = self.level.reset(seed=seed)
        return observation

    def _advance(self, action: dict[str, np.ndarray]) -> Outcome:
        observation, reward, terminated, truncated, _ = self.level.step(int(action["action"]))
        return Outcome(
            observation=observation,
            reward=float(reward),
            terminated=terminated,
            truncated=truncated,
            success=float(reward) > 0,
        )

    @property
    def action_names(self) -> tuple[str, ...]:
        return tuple(action.name for action in self.level.actions)

    def render(self) -> np.ndarray:
        tile = max(4, -(-_FRAME_SIDE // max(self.level.width, self.level.height)))
        return self.level.get_frame(highlight=True, tile_size=tile)


SUITE = Suite(
    name="babyai", tasks=TASKS, packages={"minigrid": "minigrid"}, licence="Apache-2.0", spec=spec, load=BabyAI
)
