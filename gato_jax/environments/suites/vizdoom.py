"""ViZDoom: 11 levels of Doom, seen by the player's own eyes.

They stand in for levels of DM Lab, see `paper.dm_lab_substitutes`. The observation is the 160x120 screen, averaged to
60x80, and after the end of an episode the last screen before it. An action is one of a few combinations of buttons,
held for four of Doom's 35 tics a second. Rewards are those of the scenario. Episodes are cut off after the scenario's
limit, or after 2,100 tics where it has none; `take_cover` and `defend_the_line` have none.

Each environment starts an engine, a process of its own, at its first episode. It ends with `close`, with the
environment, and with this process, however this process ends.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import PIL.Image

from gato_jax.environments.base import Environment, Outcome
from gato_jax.environments.rendering.process_owner import ProcessOwner
from gato_jax.environments.suite import Suite
from gato_jax.environments.suites.vizdoom_engine import Engine, Scene
from gato_jax.episodes import Discrete, Image, TaskSpec

HEIGHT, WIDTH = 60, 80
FRAME_SKIP = 4
_TICS_PER_SECOND = 35

_STRAFE = "- MOVE_LEFT MOVE_RIGHT"
_AIM = "- TURN_LEFT TURN_RIGHT ATTACK TURN_LEFT+ATTACK TURN_RIGHT+ATTACK"
_STRAFE_AND_SHOOT = f"{_STRAFE} ATTACK MOVE_LEFT+ATTACK MOVE_RIGHT+ATTACK"
_WALK = "- TURN_LEFT TURN_RIGHT MOVE_FORWARD MOVE_FORWARD+TURN_LEFT MOVE_FORWARD+TURN_RIGHT"
_FIGHT = f"{_WALK} MOVE_BACKWARD MOVE_LEFT MOVE_RIGHT ATTACK TURN_LEFT+ATTACK TURN_RIGHT+ATTACK MOVE_FORWARD+ATTACK"

LEVELS = {  # {level: (actions, each a combination of buttons or `-` for none; tics after which an episode is cut off)}
    "basic": (_STRAFE_AND_SHOOT, 300),
    "deadly_corridor": (_FIGHT, 2100),
    "deathmatch": (f"{_FIGHT} SELECT_NEXT_WEAPON", 4200),
    "defend_the_center": (_AIM, 2100),
    "defend_the_line": (_AIM, 2100),
    "health_gathering": (_WALK, 2100),
    "health_gathering_supreme": (_WALK, 2100),
    "my_way_home": (f"{_WALK} MOVE_LEFT MOVE_RIGHT", 2100),
    "predict_position": (_AIM, 300),
    "rocket_basic": (_STRAFE_AND_SHOOT, 300),
    "take_cover": (_STRAFE, 2100),
}
# Levels that end before their limit when the player dies or when the task is done.
_WITH_SUCCESS = ("basic", "deadly_corridor", "my_way_home", "rocket_basic")


def spec(task: str) -> TaskSpec:
    """Return the TaskSpec of a level, such as `my_way_home`."""
    actions, tics = LEVELS[task]
    return TaskSpec(
        suite="vizdoom",
        task=task,
        observation={"image": Image(height=HEIGHT, width=WIDTH)},
        action={"action": Discrete(n=len(actions.split()))},
        control_rate_hz=_TICS_PER_SECOND / FRAME_SKIP,
        max_steps=tics // FRAME_SKIP,
    )


class VizDoom(Environment):
    """An environment of one level, which is named without the suite, such as `my_way_home`.

    Attributes:
      screen: Last screen, (120, 160, 3) uint8.
    """

    def __init__(self, task: str):
        super().__init__(spec(task))
        self._owner = ProcessOwner(self.task_spec.name)
        combinations = [set(name.split("+")) - {"-"} for name in self.action_names]
        buttons = sorted(set().union(*combinations))
        self._pressed = [[button in combination for button in buttons] for combination in combinations]
        self._buttons = buttons
        self._engine: Engine | None = None
        self.screen = np.zeros((2 * HEIGHT, 2 * WIDTH, 3), np.uint8)

    def _start(self, seed: int) -> dict[str, Any]:
        self._owner.require()
        if self._engine is None:
            self._engine = Engine(self.task_spec.task, self._buttons, height=2 * HEIGHT, width=2 * WIDTH)
        self.screen = self._engine.start(seed)
        return self._observe()

    def _advance(self, action: dict[str, np.ndarray]) -> Outcome:
        self._owner.require()
        if self._engine is None:
            raise RuntimeError(f"{self.task_spec.name}: the environment is closed, expected an open one. Reset it.")
        reward, screen = self._engine.act(self._pressed[int(action["action"])], FRAME_SKIP)
        if screen is not None:
            self.screen = screen
        ended = screen is None
        has_success = self.task_spec.task in _WITH_SUCCESS
        return Outcome(
            observation=self._observe(),
            reward=reward,
            terminated=ended,
            success=ended and not self._engine.is_player_dead if has_success else None,
        )

    def scene(self) -> Scene:
        """Return where everything is, for experts.

        Raises:
          RuntimeError: No episode has begun.
        """
        if self._engine is None:
            raise RuntimeError(f"{self.task_spec.name}: no episode has begun, expected one. Reset the environment.")
        return self._engine.scene()

    def _observe(self) -> dict[str, Any]:
        picture = PIL.Image.fromarray(self.screen).resize((WIDTH, HEIGHT), PIL.Image.Resampling.BOX)
        return {"image": np.asarray(picture)}

    @property
    def action_names(self) -> tuple[str, ...]:
        return tuple(LEVELS[self.task_spec.task][0].split())

    def render(self) -> np.ndarray:
        return self.screen

    def close(self) -> None:
        """End the engine; a further episode starts another one."""
        if self._engine is not None and self._owner.is_here():
            self._engine.close()
            self._engine = None


SUITE = Suite(
    name="vizdoom",
    tasks=tuple(LEVELS),
    packages={"vizdoom": "vizdoom"},
    licence="MIT AND BSD-3-Clause AND LicenseRef-ZDoom",  # ViZDoom, Freedoom's data, the engine
    spec=spec,
    load=VizDoom,
)
