"""Atari 2600: the 104 single-player games whose ROMs come with ale-py, in four suites that share one class.

| suite | observation | an episode is cut off after | modes and difficulties |
|---|---|---|---|
| `atari` | 64x64 | 27,000 steps, which are 108,000 frames or 30 minutes | ALE's default |
| `atari_short` | 64x64 | 1,000 steps | ALE's default |
| `atari_80x64` | 80x64, as in the paper's figure of position encodings | 27,000 steps | ALE's default |
| `atari_extended` | 64x64 | 27,000 steps | drawn for each episode |

The protocol is ALE's v5. An action of the game's minimal set is repeated for four emulator frames, and in each frame
the previous action is repeated with probability 0.25 ("sticky actions") instead. An episode ends with the game; some
never end by themselves, as an agent may never start them. The return is the game's score, unclipped. Beside v5, one to
30 idle frames at the start, their number drawn from the seed, make episodes differ, and the observation, an RGB frame,
is the maximum of the last two frames, resized from 210x160 by averaging.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import numpy as np
import PIL.Image

from gato_jax.environments.base import Environment, MissingPackageError, Outcome
from gato_jax.environments.suite import Suite
from gato_jax.episodes import Discrete, Image, TaskSpec

FRAME_SKIP = 4
STICKY_ACTION_PROBABILITY = 0.25
MAX_IDLE_FRAMES = 30
MAX_STEPS = 27_000
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


# Games of a single mode and a single difficulty.
_UNVARIED = frozenset(
    """
assault asterix atlantis2 backgammon carnival darkchambers donkey_kong earthworld elevator_action enduro kaboom
keystone_kapers koolaid krull kung_fu_master laser_gates montezuma_revenge phoenix pitfall pitfall2 road_runner robotank
sir_lancelot skiing solaris tetris
""".split()
)


class UnknownModeError(ValueError):
    """A mode or difficulty that a game does not have; the message lists the available ones."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Version:
    """The properties in which the suites of Atari differ, apart from the modes.

    Attributes:
      suite: Name of the suite.
      height: Height of the observation, in pixels.
      width: Width of the observation, in pixels.
      max_steps: Number of steps after which an episode is cut off.
    """

    suite: str
    height: int = 64
    width: int = 64
    max_steps: int = MAX_STEPS


class Atari(Environment):
    """An environment of one game, which is named without the suite, such as `pong`.

    Attributes:
      console: ALE, with the game's ROM loaded.
      actions: Minimal set of actions of the game.
      pressed: Action of the last frame, which the next one may repeat.
    """

    def __init__(self, version: Version, game: str):
        """Load the ROM of a game.

        Raises:
          MissingPackageError: ale-py has no ROM of the game.
        """
        self.console = make_console(version.suite, game)
        self.actions = self.console.getMinimalActionSet()
        super().__init__(_task_spec(version, game, actions=len(self.actions)))
        self._shape = version.height, version.width
        self._loaded = self.console.cloneState(include_rng=True)
        self._last_frames = np.stack([self.screen, self.screen])  # reused, as new arrays of this size cost time
        self._unobserved = np.zeros((version.height, version.width, 3), np.uint8)
        self._unobserved.flags.writeable = False  # it is the image of all steps

    def _start(self, seed: int) -> dict[str, np.ndarray]:
        # ALE takes a seed only when it loads a ROM, which takes a tenth of a second, so the seed determines the idle
        # frames and the sticky actions, which are drawn here. A restored state lacks the pixels of the last frames and
        # other parts of the console that a few games depend on. The reset after it clears them.
        self._generator = np.random.default_rng(seed)
        self.console.restoreState(self._loaded)
        self._set_variation(self._generator)
        self.console.reset_game()
        self.pressed = self.actions[0]
        for _ in range(self._generator.integers(1, MAX_IDLE_FRAMES + 1)):
            self.console.act(self.actions[0])
        return {"image": self._image(self.screen) if self.observed else self._unobserved}

    def _set_variation(self, generator: np.random.Generator) -> None:
        """Draw what varies between episodes, before the console is reset; here nothing does."""

    def _advance(self, action: dict[str, np.ndarray]) -> Outcome:
        chosen, reward = self.actions[int(action["action"])], 0
        before, last = self._last_frames
        for frame, sticks in enumerate(self._generator.random(FRAME_SKIP) < STICKY_ACTION_PROBABILITY):
            if not sticks:
                self.pressed = chosen
            reward += self.console.act(self.pressed)
            if frame == FRAME_SKIP - 2 and self.observed:
                self.console.getScreenRGB(before)
        image = self._unobserved
        if self.observed:
            self.console.getScreenRGB(last)
            # The console draws some objects in every other frame only; the maximum of two frames shows all of them.
            image = self._image(np.maximum(before, last, out=last))
        return Outcome(observation={"image": image}, reward=float(reward), terminated=self.console.game_over())

    def _image(self, screen: np.ndarray) -> np.ndarray:
        """Return a screen resized to the observation's height and width by averaging pixels."""
        height, width = self._shape
        return np.asarray(PIL.Image.fromarray(screen).resize((width, height), PIL.Image.Resampling.BOX))

    @property
    def screen(self) -> np.ndarray:
        """Last frame, (210, 160, 3) uint8; some games have up to 250 rows."""
        return self.console.getScreenRGB()

    @property
    def action_names(self) -> tuple[str, ...]:
        return tuple(action.name for action in self.actions)

    def render(self) -> np.ndarray:
        return self.screen


class AtariExtended(Atari):
    """An environment of one game in which every episode has a mode and a difficulty drawn from its seed.

    Modes change the game: the enemies, the board, the controls, invisible objects. Difficulties are switches of the
    console, which make opponents faster or the player weaker. The actions stay the same.

    Attributes:
      modes: Numbers of the modes that are drawn, in ALE's numbering.
      difficulties: Numbers of the difficulties that are drawn, in ALE's numbering.
    """

    def __init__(
        self,
        version: Version,
        game: str,
        *,
        modes: Sequence[int] | None = None,
        difficulties: Sequence[int] | None = None,
    ):
        """Load the ROM of a game.

        Args:
          version: The suite.
          game: Name of the game, without the suite.
          modes: Modes to draw from; None for all that the game has for one player.
          difficulties: Difficulties to draw from; None for all that the game has.

        Raises:
          MissingPackageError: ale-py has no ROM of the game.
          UnknownModeError: The game does not have one of the modes or difficulties.
        """
        super().__init__(version, game)
        self.modes = self._available("modes", modes, self.console.getAvailableModes())
        self.difficulties = self._available("difficulties", difficulties, self.console.getAvailableDifficulties())
        self._variation: Mapping[str, int] = {}

    @property
    def variation(self) -> Mapping[str, int]:
        return self._variation

    def _set_variation(self, generator: np.random.Generator) -> None:
        mode, difficulty = int(generator.choice(self.modes)), int(generator.choice(self.difficulties))
        self.console.setMode(mode)  # which takes effect at the next reset
        self.console.setDifficulty(difficulty)
        self._variation = {"mode": mode, "difficulty": difficulty}

    def _available(self, name: str, asked: Sequence[int] | None, available: Sequence[int]) -> tuple[int, ...]:
        chosen = tuple(available if asked is None else asked)
        if not chosen or not set(chosen) <= set(available):
            raise UnknownModeError(
                f"{self.task_spec.name}: {name} is {list(chosen)}, expected some of "
                f"{list(available)}. Choose from these."
            )
        return chosen


def make_console(suite: str, game: str):
    """Return a new console with the ROM of a game, without sticky actions, which `Atari` draws.

    A state that is cloned from the console of an environment and restored in another one leads on to the same memory,
    rewards and screens; in few games, its first screen lacks pixels.

    Raises:
      MissingPackageError: ale-py has no ROM of the game.
    """
    import ale_py
    from ale_py import roms

    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    console = ale_py.ALEInterface()
    console.setInt("random_seed", 0)
    console.setFloat("repeat_action_probability", 0.0)  # Atari._advance draws the sticky actions
    rom = roms.get_rom_path(game) if game in roms.get_all_rom_ids() else None
    if rom is None:
        raise MissingPackageError(
            f"{suite}/{game}: ale-py has no ROM of this game. Update it by pip install -U ale-py."
        )
    console.loadROM(rom)
    return console


def _spec(version: Version, game: str) -> TaskSpec:
    """Return the TaskSpec of a game; the ROM determines the number of actions."""
    return _task_spec(version, game, actions=len(make_console(version.suite, game).getMinimalActionSet()))


def _task_spec(version: Version, game: str, *, actions: int) -> TaskSpec:
    return TaskSpec(
        suite=version.suite,
        task=game,
        observation={"image": Image(height=version.height, width=version.width)},
        action={"action": Discrete(n=actions)},
        metric="return",
        control_rate_hz=_FRAMES_PER_SECOND / FRAME_SKIP,
        max_steps=version.max_steps,
    )


def _suite(version: Version, kind: type[Atari] = Atari, tasks: tuple[str, ...] = TASKS, **fields) -> Suite:
    return Suite(
        name=version.suite,
        tasks=tasks,
        packages={"ale_py": "ale-py"},
        licence="GPL-2.0 (ale-py)",
        spec=functools.partial(_spec, version),
        load=functools.partial(kind, version),
        specs_in_table=True,
        **fields,
    )


SUITE = _suite(Version(suite="atari"))
SHORT = _suite(Version(suite="atari_short", max_steps=1000))
PAPER_SIZE = _suite(Version(suite="atari_80x64", height=80, width=64), scores_of="atari")
EXTENDED_VERSION = Version(suite="atari_extended")
EXTENDED = _suite(EXTENDED_VERSION, AtariExtended, tuple(game for game in TASKS if game not in _UNVARIED))
SUITES = (SUITE, SHORT, PAPER_SIZE, EXTENDED)
