"""The experts of Atari play better than random play, and repeat themselves; the planner leaves the console alone."""

import numpy as np
import pytest

from gato_jax.environments import load, suites
from gato_jax.environments.suites.atari import Atari
from gato_jax.experts import description, expert
from gato_jax.experts.atari import SCRIPTS, AtariPlanner, RamScript
from gato_jax.experts.search import SearchSettings


class Replay:
    """A player of given actions."""

    def __init__(self, actions):
        self.actions = iter(actions)

    def reset(self, environment, seed):
        pass

    def act(self, environment, timestep):
        return {"action": np.asarray(next(self.actions))}


def episode(steps, player, seed=5, task="atari_short/qbert"):
    """Return the actions, rewards and memory of a short episode."""
    environment = load(task)
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


def test_the_planner_collects_what_random_play_misses():
    seeds, generator = (5, 6, 7), np.random.default_rng(0)
    planner = AtariPlanner("qbert", settings=SearchSettings(frames=320))
    planned = []
    for seed in seeds:
        planned.append(sum(episode(120, planner, seed)[1]))
        assert planner.planner.frames <= planner.planner.decisions * (320 + 16)
    assert planner.effort.decisions >= 90  # four steps a decision, fewer at a lost life
    assert planner.planner.frames < planner.effort.frames <= planner.effort.decisions * (320 + 16)
    played = [sum(episode(120, Replay(generator.integers(6, size=120)), seed)[1]) for seed in seeds]
    assert sum(planned) > 2 * sum(played)


@pytest.mark.parametrize("features", ["ram", "tiles"])
def test_the_planner_repeats_itself_and_leaves_the_console_alone(features):
    planner = AtariPlanner("qbert", settings=SearchSettings(frames=160), features=features)
    taken, rewards, memory = episode(40, planner)
    assert all(len(set(taken[start : start + 4])) == 1 for start in range(0, 40, 4)) and len(set(taken)) > 1
    assert taken == episode(40, planner)[0]
    replayed = episode(40, Replay(taken))
    assert rewards == replayed[1]
    np.testing.assert_array_equal(memory, replayed[2])


LEAST = {  # {game: (steps, score that its script reaches within them)}
    "atlantis": (300, 1000),
    "centipede": (300, 1000),
    "road_runner": (200, 2000),
    "robotank": (300, 1),
    "video_pinball": (300, 1000),
    "bowling": (500, 20),
    "boxing": (150, 5),
    "breakout": (500, 10),
    "crazy_climber": (300, 1000),
    "enduro": (300, 20),
    "freeway": (250, 2),
    "kung_fu_master": (750, 4000),
    "pong": (900, 2),
    "skiing": (750, -3500),
    "star_gunner": (300, 400),
    "tennis": (300, 3),
}


@pytest.mark.parametrize("game", SCRIPTS)
def test_a_script_reaches_what_its_game_is_about(game):
    steps, score = LEAST[game]
    taken, rewards, _ = episode(steps, RamScript(game), task=f"atari/{game}")
    assert sum(rewards) >= score and len(set(taken)) > 1
    assert game != "skiing" or len(rewards) < steps
    assert taken[:60] == episode(60, RamScript(game), task=f"atari/{game}")[0]


def test_every_game_has_an_expert_whose_description_states_its_budget():
    for suite in ("atari", "atari_short", "atari_80x64", "atari_extended"):
        for game in suites()[suite].tasks:
            scripted = game == "gopher" or (game in SCRIPTS and suite != "atari_extended")
            assert description(f"{suite}/{game}").startswith("script" if scripted else "Rollout-IW(1), 3,000")
    assert "sticky actions are drawn anew" in description("atari/qbert")
    assert type(expert("atari/pong")) is RamScript and type(expert("atari_extended/pong")) is AtariPlanner
    assert isinstance(expert("atari_extended/breakout"), AtariPlanner)
