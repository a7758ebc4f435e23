"""The planner of Atari: it plays better than random play, repeats itself, and does not touch the played console."""

import numpy as np
import pytest

from gato_jax.environments import load, suites
from gato_jax.environments.suites.atari import Atari
from gato_jax.experts import description, expert
from gato_jax.experts.atari import AtariPlanner
from gato_jax.experts.search import SearchSettings


class Replay:
    """A player of given actions."""

    def __init__(self, actions):
        self.actions = iter(actions)

    def reset(self, environment, seed):
        pass

    def act(self, environment, timestep):
        return {"action": np.asarray(next(self.actions))}


def episode(steps, player, seed=5):
    """Return the actions, rewards and memory of a short episode."""
    environment = load("atari_short/ms_pacman")
    assert isinstance(environment, Atari)
    environment.observed, environment.max_steps = False, steps
    environment.seed(seed)
    timestep, taken, rewards, memory = environment.reset(), [], [], []
    player.reset(environment, seed)
    while not timestep.last():
        action = player.act(environment, timestep)
        timestep = environment.step(action)
        taken.append(int(action["action"]))
        rewards.append(timestep.reward)
        memory.append(environment.console.getRAM())
    return taken, rewards, np.array(memory)


@pytest.mark.parametrize("features", ["ram", "tiles"])
def test_the_planner_collects_what_random_play_misses(features):
    planner = AtariPlanner("ms_pacman", settings=SearchSettings(frames=320), features=features)
    taken, rewards, memory = episode(80, planner)
    assert all(len(set(taken[start : start + 4])) == 1 for start in range(0, 80, 4))
    assert planner.planner.frames <= 20 * (320 + 16) and planner.planner.decisions == 20
    generator = np.random.default_rng(0)
    assert sum(rewards) > 1.5 * sum(episode(80, Replay(generator.integers(9, size=80)))[1])
    again = episode(80, planner)
    assert taken == again[0]
    without = episode(80, Replay(taken))
    assert rewards == without[1]
    np.testing.assert_array_equal(memory, without[2])


def test_every_game_has_an_expert_whose_description_states_its_budget():
    for suite in ("atari", "atari_short", "atari_80x64", "atari_extended"):
        for game in suites()[suite].tasks:
            assert description(f"{suite}/{game}").startswith("script" if game == "gopher" else "Rollout-IW(1), 3,000")
    assert "sticky actions are drawn anew" in description("atari/pong")
    assert isinstance(expert("atari_extended/breakout"), AtariPlanner)
