"""Procgen: 16 arcade games whose levels are generated from a number, seen as 64x64 images.

The seed is the level, so that the levels of recordings and of evaluations are disjoint, as their seeds are. An episode
ends with its level, or at the game's own time limit: most games end after 1,000 steps. The 15 actions are those of the
package: the nine directions of a joystick, the neutral one included, and six keys, of which games use a few.

Levels of the suite `procgen` are hard, except those of maze and heist, which are easy, as in the paper (its appendix on
the training data). In `procgen_easy` all are easy. The package never shows the last frame of an episode; the frame
before it is repeated as the last observation.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import struct
from typing import Any

import numpy as np
import PIL.Image

from gato_jax.environments.base import Environment, Outcome
from gato_jax.environments.suite import Suite
from gato_jax.episodes import Discrete, Image, TaskSpec

SIDE = 64
FRAMES_PER_SECOND = 15.0  # of the package's own videos
_ACTIONS = 15
_END_OF_EPISODE = -1  # action that makes the simulator start the next level
_PORTRAIT_SIDE = 512

TASKS = tuple(
    """
bigfish bossfight caveflyer chaser climber coinrun dodgeball fruitbot heist jumper leaper maze miner ninja plunder
starpilot
""".split()
)
TIME_LIMITS = dict.fromkeys(TASKS, 1000) | {
    "bigfish": 6000, "bossfight": 4000, "leaper": 500, "maze": 500, "plunder": 4000,
}  # fmt: skip
"""Steps after which each game ends an episode, the same in both modes."""
_EASY_IN_THE_PAPER = ("heist", "maze")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProcgenState:
    """A moment of an episode, with the random generator of the game: the same actions always lead to the same future.

    Attributes:
      task: Full name of the task.
      simulator: State of the simulator.
      image: Observation, (64, 64, 3) uint8.
      steps: Number of steps since the episode began.
      done: True if the episode is over.
      success: Success of the last step; None before any step.
    """

    task: str
    simulator: bytes
    image: np.ndarray
    steps: int
    done: bool
    success: bool | None


def spec(task: str, suite: str = "procgen") -> TaskSpec:
    """Return the TaskSpec of a game, such as `coinrun`, in the suite `procgen` or `procgen_easy`."""
    return TaskSpec(
        suite=suite,
        task=task,
        observation={"image": Image(height=SIDE, width=SIDE)},
        action={"action": Discrete(n=_ACTIONS)},
        metric="return",
        control_rate_hz=FRAMES_PER_SECOND,
        max_steps=TIME_LIMITS[task],
    )


class Procgen(Environment):
    """An environment of one game. Success means that the level is completed, in games that have such an end.

    Attributes:
      mode: Difficulty of the levels, `easy` or `hard`.
      simulator: The package's own environment, one game.
    """

    def __init__(self, task: str, suite: str = "procgen"):
        super().__init__(spec(task, suite))
        self.mode = "easy" if suite == "procgen_easy" or task in _EASY_IN_THE_PAPER else "hard"
        self.simulator = _simulator(task, self.mode)
        self._beginning = self._simulator_state()
        self._seed_range = _offset_of_seed_range(task)
        if (found := struct.unpack_from("<2i", self._beginning, self._seed_range)) != (0, 1):
            raise RuntimeError(
                f"{self.task_spec.name}: range of seeds in the simulator's state is {found}, expected (0, 1). Install "
                "the version of procgen-mirror that requirements/ lists."
            )
        self._portrait = None
        self._image = np.zeros((SIDE, SIDE, 3), np.uint8)

    def get_state(self) -> ProcgenState:
        """Return the current state, for `set_state` of this environment or of another one of the same task."""
        return ProcgenState(
            task=self.task_spec.name,
            simulator=self._simulator_state(),
            image=self._image,
            steps=self._steps,
            done=self._done,
            success=self._success,
        )

    def set_state(self, state: ProcgenState) -> None:
        """Go back to a state. The seed of the next reset stays.

        Raises:
          ValueError: The state is of another task.
        """
        if state.task != self.task_spec.name:
            raise ValueError(
                f"{self.task_spec.name}: task of the state is {state.task}, expected {self.task_spec.name}. Take the "
                "state from an environment of this task."
            )
        self.simulator.set_state([state.simulator])
        self._image, self._steps, self._done, self._success = state.image, state.steps, state.done, state.success

    def _start(self, seed: int) -> dict[str, np.ndarray]:
        # The package sets a level only when it builds an environment. Its state has the range of level seeds that the
        # next reset draws from: with one seed in it, the reset starts that level, as a new environment would.
        state = bytearray(self._beginning)
        struct.pack_into("<2I", state, self._seed_range, seed, seed + 1)
        self.simulator.set_state([bytes(state)])
        self.simulator.act(np.array([_END_OF_EPISODE], np.int32))
        self._image = self.simulator.observe()[1]["rgb"][0]
        return {"image": self._image}

    def _advance(self, action: dict[str, np.ndarray]) -> Outcome:
        self.simulator.act(action["action"].reshape(1))
        reward, observation, first = self.simulator.observe()
        ended = bool(first[0])
        if not ended:  # else the observation is of the next episode
            self._image = observation["rgb"][0]
        complete = ended and bool(self.simulator.get_info()[0]["prev_level_complete"])
        timed_out = ended and not complete and self._steps + 1 == self.task_spec.max_steps
        return Outcome(
            observation={"image": self._image},
            reward=float(reward[0]),
            terminated=ended and not timed_out,
            truncated=timed_out,
            success=complete,
        )

    @property
    def action_names(self) -> tuple[str, ...]:
        return tuple("+".join(keys) or "NOOP" for keys in self.simulator.get_combos())

    def render(self) -> np.ndarray:
        """Return the scene as (512, 512, 3) uint8, or the enlarged last observation after the end of an episode."""
        if self._done:
            return np.asarray(PIL.Image.fromarray(self._image).resize((_PORTRAIT_SIDE, _PORTRAIT_SIDE)))
        if self._portrait is None:
            self._portrait = _simulator(self.task_spec.task, self.mode, render_mode="rgb_array")
        self._portrait.set_state([self._simulator_state()])
        return self._portrait.get_info()[0]["rgb"]

    def close(self) -> None:
        for simulator in (self.simulator, self._portrait):
            if simulator is not None:
                simulator.close()

    def _simulator_state(self) -> bytes:
        [state] = self.simulator.get_state()
        return state


def _simulator(task: str, mode: str, **options) -> Any:  # the package's own annotations are wrong
    with contextlib.redirect_stderr(io.StringIO()):  # the import prints a note about gym
        from procgen.env import ProcgenGym3Env

    levels = {"num_levels": 1, "start_level": 0, "rand_seed": 0, "distribution_mode": mode}
    return ProcgenGym3Env(num=1, env_name=task, num_threads=0, **levels, **options)


def _offset_of_seed_range(task: str) -> int:
    """Return the offset, in bytes, of the lowest level seed in a state; the highest one, exclusive, comes next.

    Version, length of the name, name and 13 options come first (`Game::serialize` of the package).
    """
    return 4 + 4 + len(task) + 13 * 4


def _suite(name: str) -> Suite:
    return Suite(
        name=name,
        tasks=TASKS,
        packages={"procgen": "procgen-mirror"},
        licence="MIT",
        spec=functools.partial(spec, suite=name),
        load=functools.partial(Procgen, suite=name),
        remedy="make install, as plain pip would install an old numpy with procgen-mirror; see requirements/README.md",
    )


SUITE = _suite("procgen")
EASY_SUITE = _suite("procgen_easy")
