"""The experts of BabyAI: minigrid's bot, which explores unseen cells, and a solver of our own where the bot fails.

The bot keeps a stack of subgoals, knows the cells that the agent has seen, and replans after each executed action. The
solver knows the whole grid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import dm_env
import numpy as np

from gato_jax.environments.suites.babyai import TASKS, BabyAI
from gato_jax.experts.babyai_solver import next_action
from gato_jax.experts.base import Expert
from gato_jax.rollouts import Action

if TYPE_CHECKING:
    from minigrid.utils.baby_ai_bot import BabyAIBot as Bot

# The bot has no plan for a key in a box, nor for an agent that starts with an object.
_BEYOND_THE_BOT = ("KeyInBox-v0", "PutNextS5N2Carrying-v0", "PutNextS6N3Carrying-v0", "PutNextS7N4Carrying-v0")
_MOVES = 3  # the first three actions: left, right, forward
# The bot loops over its subgoals without end in some states, such as UnlockToUnlock-v0, seed 2000002.
_MAX_SEARCHES = 500


class BabyAISolver(Expert[BabyAI]):
    """A solver that knows the whole grid, also what the agent has not seen.

    The noise is the probability that an action is replaced, by a random move (left, right or forward) only, as a random
    pick-up or toggle can make a mission impossible.
    """

    agent = "solver that knows the grid"
    default_noise = 0.1

    def __init__(self, task: str):
        del task

    def act(self, environment: BabyAI, timestep: dm_env.TimeStep) -> Action:
        return {"action": np.asarray(next_action(environment.level))}

    def disturb(self, environment: BabyAI, action: Action, noise: float, generator: np.random.Generator) -> Action:
        if generator.random() >= noise:
            return action
        return {"action": np.asarray(generator.integers(_MOVES))}


class BabyAIBot(BabyAISolver):
    """minigrid's bot, and the solver for the rest of an episode in which the bot fails.

    The bot fails if it raises an error, has no action, searches without end, or has not succeeded after half the steps
    of the level. It is told of moves that replace its own, and plans from the new position.
    """

    agent = "minigrid's BabyAIBot; where it fails, a solver that knows the grid"

    _bot: Bot | None

    def reset(self, environment: BabyAI, seed: int) -> None:
        from minigrid.utils.baby_ai_bot import BabyAIBot as Bot

        self._bot = Bot(environment.level)
        self._last_action = None
        self._searches = 0
        search = self._bot._shortest_path

        def search_path(*arguments, **options):
            self._searches += 1
            if self._searches > _MAX_SEARCHES:
                raise RuntimeError(f"no decision after {_MAX_SEARCHES} path searches")
            return search(*arguments, **options)

        self._bot._shortest_path = search_path

    def act(self, environment: BabyAI, timestep: dm_env.TimeStep) -> Action:
        action = self._ask_the_bot(environment)
        if action is None:
            self._bot = None
            return super().act(environment, timestep)
        return {"action": np.asarray(action)}

    def _ask_the_bot(self, environment: BabyAI) -> int | None:
        """Return the number of the bot's action; None if it fails, or has failed."""
        level = environment.level
        if self._bot is None or level.step_count > level.max_steps // 2:
            return None
        self._searches = 0
        try:
            action = self._bot.replan(self._last_action)
        except Exception:  # it asserts, or raises errors of its own, if its plan does not fit
            return None
        return None if action is None else int(action)

    def acted(self, action: Action) -> None:
        if self._bot is not None:
            self._last_action = type(self._bot.mission.actions.left)(int(action["action"]))


EXPERTS: dict[str, type[Expert]] = {
    f"babyai/{task}": BabyAISolver if task in _BEYOND_THE_BOT else BabyAIBot for task in TASKS
}
