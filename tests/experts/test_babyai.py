import functools

import numpy as np
import pytest

from gato_jax.environments import load, paper
from gato_jax.environments.suites.babyai import BabyAI
from gato_jax.experts import ExpertActor, expert_names
from gato_jax.experts.babyai import BabyAIBot, BabyAISolver
from gato_jax.experts.babyai_solver import next_action
from gato_jax.experts.registry import expert_class
from gato_jax.rollouts import ActorFailure, play

SEEDS = 2_000_000, 2


def _solve(task, seed):
    """Return whether the solver alone succeeds."""
    environment = load(f"babyai/{task}")
    assert isinstance(environment, BabyAI)
    environment.seed(seed)
    timestep = environment.reset()
    while not timestep.last():
        timestep = environment.step({"action": np.asarray(next_action(environment.level))})
    return environment.success


@pytest.mark.parametrize(
    "task",
    [
        "BlockedUnlockPickup-v0",  # a ball stands in front of the locked door
        "KeyCorridor-v0",  # the key is in another room
        "KeyInBox-v0",  # of seed 2, the box stands in front of the door
        "OpenDoorsOrderN4-v0",
        "PutNextS7N4Carrying-v0",
        "UnlockToUnlock-v0",  # the key to one door is behind another
    ],
)
def test_the_solver_succeeds_alone(task):
    assert all(_solve(task, seed) for seed in SEEDS)


def test_every_level_of_the_paper_has_an_expert():
    assert set(paper.DOMAINS["babyai"].tasks) <= set(expert_names())
    assert expert_class("babyai/KeyInBox-v0") is BabyAISolver


def test_the_solver_goes_on_where_the_bot_searches_without_end():
    (episode,) = play(ExpertActor, [("babyai/UnlockToUnlock-v0", 2_000_002)])
    assert episode.success and episode.provenance.agent == BabyAIBot.agent


def test_the_solver_goes_on_where_the_bot_raises(monkeypatch):
    from minigrid.utils.baby_ai_bot import BabyAIBot as Bot

    calls, replan = [], Bot.replan

    def fail_at_the_third_call(bot, action):
        calls.append(action)
        assert len(calls) != 3
        return replan(bot, action)

    monkeypatch.setattr(Bot, "replan", fail_at_the_third_call)
    (episode,) = play(ExpertActor, [("babyai/OpenTwoDoors-v0", 2_000_000)])
    assert episode.success and len(calls) == 3


def test_the_solver_goes_on_after_half_the_steps(monkeypatch):
    from minigrid.utils.baby_ai_bot import BabyAIBot as Bot

    monkeypatch.setattr(Bot, "replan", lambda bot, action: 0)  # turns left for ever
    (episode,) = play(ExpertActor, [("babyai/GoToLocal-v0", 2_000_000)])
    assert episode.success and (episode.action["action"][:10] == 0).all()


def test_the_solver_recovers_from_noise():
    tasks = [("babyai/KeyInBox-v0", seed) for seed in range(4)]
    assert all(episode.success for episode in play(functools.partial(ExpertActor, noise=0.3), tasks))


def test_a_door_without_a_key_is_refused():
    environment = load("babyai/KeyInBox-v0")
    assert isinstance(environment, BabyAI)
    environment.reset()
    grid = environment.level.grid
    for x in range(grid.width):
        for y in range(grid.height):
            if (found := grid.get(x, y)) is not None and found.type == "box":
                grid.set(x, y, None)
    with pytest.raises(ActorFailure, match="there is no [a-z]+ key"):
        next_action(environment.level)
