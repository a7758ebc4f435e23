"""BabyAI's bot, which keeps a stack of subgoals, explores unseen cells, and replans after each executed action."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dm_env
import numpy as np

from gato_jax.environments.suites.babyai import TASKS, BabyAI
from gato_jax.experts.base import Expert
from gato_jax.rollouts import Action, ActorFailure

if TYPE_CHECKING:
    from minigrid.utils.baby_ai_bot import BabyAIBot as Bot

# The bot's authors exclude these levels: it has no plan for a key in a box or for an agent that starts with an object.
_BEYOND_THE_BOT = {"KeyInBox-v0", "PutNextS5N2Carrying-v0", "PutNextS6N3Carrying-v0", "PutNextS7N4Carrying-v0"}
_MOVES = 3  # the first three actions: left, right, forward
# The bot loops over its subgoals without end in some states, such as UnlockToUnlock-v0, seed 2000002.
_MAX_SEARCHES = 500


class BabyAIBot(Expert[BabyAI]):
    """minigrid's bot, which knows the cells that the agent has seen so far.

    The noise is the probability that an action is replaced, by a random move (left, right or forward) only, as a random
    pick-up or toggle can make a mission impossible. The bot is told of the move and plans from the new position.
    """

    agent = "minigrid's BabyAIBot"
    default_noise = 0.1

    _bot: Bot

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
        self._searches = 0
        try:
            action = self._bot.replan(self._last_action)
        except Exception as error:  # it asserts, or raises errors of its own, if its plan does not fit
            raise ActorFailure(f"the bot has no plan: {error!r}") from error
        if action is None:
            raise ActorFailure("the bot has no action")
        return {"action": np.asarray(int(action))}

    def acted(self, action: Action) -> None:
        self._last_action = type(self._bot.mission.actions.left)(int(action["action"]))

    def disturb(self, environment: BabyAI, action: Action, noise: float, generator: np.random.Generator) -> Action:
        if generator.random() >= noise:
            return action
        return {"action": np.asarray(generator.integers(_MOVES))}


EXPERTS = {f"babyai/{task}": BabyAIBot for task in TASKS if task not in _BEYOND_THE_BOT}
