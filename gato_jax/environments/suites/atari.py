"""Atari 2600: the 104 single-player games whose ROMs come with ale-py, observed as single 64x64 frames.

The task version is ALE's v5, except for the frame size, the start and the length of an episode. An action of the game's
minimal set is repeated for four emulator frames. The observation is the maximum of the last two, resized from 210x160
by area averaging. In each frame the previous action is repeated with probability 0.25 ("sticky actions"). One to 30
idle frames at the start, their number drawn from the seed, make episodes differ. An episode ends with the game, or
after 1,000 steps, as an agent may never start the game. The return is the game's score, unclipped.
"""

from __future__ import annotations

import functools

import numpy as np
import PIL.Image

from gato_jax.environments.base import Environment, MissingPackageError, Outcome
from gato_jax.environments.suite import Suite
from gato_jax.episodes import Discrete, Image, TaskSpec

SIDE = 64
FRAME_SKIP = 4
STICKY_ACTION_PROBABILITY = 0.25
MAX_IDLE_FRAMES = 30
MAX_STEPS = 1000
_FRAMES_PER_SECOND = 60

TASKS = tuple(
    """
adventure air_raid alien amidar assault asterix asteroids atlantis atlantis2 backgammon bank_heist basic_math
battle_zone beam_rider berzerk blackjack bowling boxing breakout carnival casino centipede chopper_command
crazy_climber crossbow darkchambers defender demon_attack donkey_kong double_dunk earthworld
elevator_action enduro entombed et fishing_derby flag_capture freeway frogger frostbite galaxian gopher gravitar
hangman haunted_house hero human_cannonball ice_hockey jamesbond journey_escape kaboom kangaroo
keystone_kapers king_kong klax koolaid krull kung_fu_master laser_gates lost_luggage mario_bros
miniature_golf montezuma_revenge mr_do ms_pacman name_this_game othello pacman phoenix pitfall pitfall2 pong
pooyan private_eye qbert riverraid road_runner robotank seaquest sir_lancelot skiing solaris space_invaders
space_war star_gunner superman surround tennis tetris tic_tac_toe_3d time_pilot trondead turmoil tutankham
up_n_down venture video_checkers video_chess video_cube video_pinball wizard_of_wor word_zapper
yars_revenge zaxxon
""".split()
)


@functools.cache
def spec(task: str) -> TaskSpec:
    """Return the TaskSpec of a game, such as `pong`; the ROM determines the number of actions. The result is cached.

    Raises:
      MissingPackageError: ale-py has no ROM of the game.
    """
    return TaskSpec(
        suite="atari",
        task=task,
        observation={"image": Image(height=SIDE, width=SIDE)},
        action={"action": Discrete(n=len(_console(task).getMinimalActionSet()))},
        metric="return",
        control_rate_hz=_FRAMES_PER_SECOND / FRAME_SKIP,
        max_steps=MAX_STEPS,
    )


class Atari(Environment):
    """An environment of one game, which is named without the suite, such as `pong`.

    Attributes:
      console: ALE, with the game's ROM loaded.
      actions: Minimal set of actions of the game.
      screen: Last frame, (210, 160, 3) uint8.
    """

    def __init__(self, task: str):
        super().__init__(spec(task))
        self.console = _console(task)
        self.actions = self.console.getMinimalActionSet()
        self.console.reset_game()
        self._beginning = self.console.cloneState(include_rng=True)
        self.screen = self.console.getScreenRGB()

    def _start(self, seed: int) -> dict[str, np.ndarray]:
        # ALE takes a seed only when it loads a ROM, which takes a third of a second. Restoring the state at the
        # beginning and drawing the sticky actions here takes no time.
        self.console.restoreState(self._beginning)
        self._generator = np.random.default_rng(seed)
        self._pressed = self.actions[0]
        for _ in range(self._generator.integers(1, MAX_IDLE_FRAMES + 1)):
            self.console.act(self.actions[0])
        self.screen = self.console.getScreenRGB()
        return {"image": _shrink(self.screen)}

    def _advance(self, action: dict[str, np.ndarray]) -> Outcome:
        reward = 0
        for sticks in self._generator.random(FRAME_SKIP) < STICKY_ACTION_PROBABILITY:
            before = self.screen
            if not sticks:
                self._pressed = self.actions[int(action["action"])]
            reward += self.console.act(self._pressed)
            self.screen = self.console.getScreenRGB()
        return Outcome(
            # The console draws some objects in every other frame only; the maximum of two frames shows all of them.
            observation={"image": _shrink(np.maximum(before, self.screen))},
            reward=float(reward),
            terminated=self.console.game_over(),
        )

    @property
    def action_names(self) -> tuple[str, ...]:
        return tuple(action.name for action in self.actions)

    def render(self) -> np.ndarray:
        return self.screen


def _console(task: str):
    import ale_py
    from ale_py import roms

    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    console = ale_py.ALEInterface()
    console.setInt("random_seed", 0)
    console.setFloat("repeat_action_probability", 0.0)  # Atari._advance draws the sticky actions
    rom = roms.get_rom_path(task)
    if rom is None:
        raise MissingPackageError(f"atari/{task}: ale-py has no ROM of this game. Update it by pip install -U ale-py.")
    console.loadROM(rom)
    return console


def _shrink(screen: np.ndarray) -> np.ndarray:
    """Return the screen, (height, width, 3) uint8, resized to (64, 64, 3) by area averaging."""
    return np.asarray(PIL.Image.fromarray(screen).resize((SIDE, SIDE), PIL.Image.Resampling.BOX))


SUITE = Suite(
    name="atari",
    tasks=TASKS,
    packages={"ale_py": "ale-py"},
    licence="GPL-2.0 (ale-py)",
    spec=spec,
    load=Atari,
    specs_in_table=True,
)
