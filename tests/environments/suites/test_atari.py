"""The four suites of Atari: their protocol, the same episode whatever was played before, modes and difficulties."""

import itertools
import json

import numpy as np
import pytest

from gato_jax.environments import MissingPackageError, load, suites, task_names, task_spec
from gato_jax.environments.suites import atari
from gato_jax.rollouts import RandomActor, play

# Seeds of episodes that begin with a single idle frame, in which some games show pixels of the frames before.
SHORTEST_STARTS = [seed for seed in range(60) if np.random.default_rng(seed).integers(1, 31) == 1][:2]


@pytest.fixture(scope="module")
def extended():
    return load("atari_extended/breakout")


def roll(environment, seed, steps=3, generator_seed=0):
    """Return the images, the memory of the console and the rewards of the beginning of an episode of random play."""
    generator = np.random.default_rng(generator_seed)
    environment.seed(seed)
    timesteps, memory = [environment.reset()], [environment.console.getRAM()]
    for _ in range(steps):
        timesteps.append(environment.step({"action": generator.integers(len(environment.actions))}))
        memory.append(environment.console.getRAM())
    return [timestep.observation["image"] for timestep in timesteps], memory, [one.reward for one in timesteps]


def test_the_suites_differ_in_size_and_in_length():
    shapes = {name: task_spec(f"{name}/pong").observation["image"] for name in suites() if name.startswith("atari")}
    sizes = {name: (image.height, image.width) for name, image in shapes.items()}
    assert sizes == dict.fromkeys(("atari", "atari_short", "atari_extended"), (64, 64)) | {"atari_80x64": (80, 64)}
    lengths = {name: task_spec(f"{name}/pong").max_steps for name in sizes}
    assert lengths == dict.fromkeys(sizes, 108_000 // 4) | {"atari_short": 1000}
    assert suites()["atari_80x64"].scores_of == "atari"


def test_the_sizes_are_of_one_game():
    small, tall = (load(f"{suite}/ms_pacman") for suite in ("atari", "atari_80x64"))
    images, memory, rewards = roll(small, 3)
    tall_images, tall_memory, tall_rewards = roll(tall, 3)
    np.testing.assert_array_equal(memory, tall_memory)
    assert rewards == tall_rewards and tall_images[0].shape == (80, 64, 3)
    np.testing.assert_allclose([image.mean() for image in images], [image.mean() for image in tall_images], rtol=0.05)


def test_an_unobserved_episode_is_the_same_without_images():
    environment = load("atari/ms_pacman")
    _, memory, rewards = roll(environment, 3, steps=20)
    environment.observed = False
    images, unobserved_memory, unobserved_rewards = roll(environment, 3, steps=20)
    np.testing.assert_array_equal(memory, unobserved_memory)
    assert rewards == unobserved_rewards and not np.any(images) and environment.render().any()


def test_four_frames_a_step_with_sticky_actions(monkeypatch):
    environment = load("atari/pong")
    assert isinstance(environment, atari.Atari)
    environment.seed(0)
    environment.reset()
    pressed = []
    console = environment.console

    class Recorded:
        def act(self, action):
            pressed.append(action)
            return console.act(action)

        def __getattr__(self, name):
            return getattr(console, name)

    monkeypatch.setattr(environment, "console", Recorded())
    for step in range(100):
        environment.step({"action": np.asarray(step % 2)})
    assert len(pressed) == 400
    chosen = np.repeat(np.arange(100) % 2, 4)
    taken = np.array([environment.actions.index(action) for action in pressed])
    # The first frame of a step repeats the other action with probability 0.25, the n-th with 0.25 to the n.
    for frame in range(4):
        share = np.mean(taken[frame::4] != chosen[frame::4])
        assert abs(share - 0.25 ** (frame + 1)) < 4 * np.sqrt(0.25 ** (frame + 1) / 100)


def test_a_short_episode_ends_also_where_the_game_is_never_started():
    environment = load("atari_short/breakout")
    environment.seed(0)
    timestep, steps = environment.reset(), 0
    while not timestep.last():
        timestep, steps = environment.step({"action": np.array(0)}), steps + 1
    assert steps == 1000 and timestep.discount == 1.0


@pytest.mark.slow
def test_the_emulator_does_not_end_an_episode_before_its_last_step():
    environment = load("atari/breakout")
    environment.seed(0)
    timestep, steps = environment.reset(), 0
    while not timestep.last():
        timestep, steps = environment.step({"action": np.array(0)}), steps + 1
    assert steps == atari.MAX_STEPS and timestep.discount == 1.0


@pytest.mark.parametrize("game", ["amidar", "qbert"])
def test_pixels_of_earlier_episodes_are_not_seen(game):
    environment = load(f"atari/{game}")
    first = [roll(environment, seed) for seed in SHORTEST_STARTS]
    roll(environment, 7, steps=20)
    again = [roll(environment, seed) for seed in SHORTEST_STARTS]
    fresh = load(f"atari/{game}")
    elsewhere = [roll(fresh, seed) for seed in reversed(SHORTEST_STARTS)][::-1]
    for one, *others in zip(first, again, elsewhere, strict=True):
        for other in others:
            for ours, theirs in zip(one[:2], other[:2], strict=True):
                np.testing.assert_array_equal(ours, theirs)


def test_modes_and_difficulties_are_drawn_from_the_seed(extended):
    drawn = {}
    for seed in range(20):
        extended.seed(seed)
        extended.reset()
        drawn[seed] = dict(extended.variation)
    assert {variation["mode"] for variation in drawn.values()} <= set(extended.console.getAvailableModes())
    assert len({variation["mode"] for variation in drawn.values()}) > 6
    assert {variation["difficulty"] for variation in drawn.values()} == {0, 1}
    fresh = load("atari_extended/breakout")
    for seed in (11, 3):
        fresh.seed(seed)
        fresh.reset()
        assert fresh.variation == drawn[seed]
        for ours, theirs in zip(roll(fresh, seed), roll(extended, seed), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_a_mode_takes_effect_at_once_and_leaves_the_actions():
    beginnings = {}
    for choice in itertools.product((0, 1), (0, 3)):
        one = atari.AtariExtended(atari.EXTENDED_VERSION, "pong", modes=choice[:1], difficulties=choice[1:])
        roll(one, 0)
        assert one.variation == dict(zip(("mode", "difficulty"), choice, strict=True))
        assert one.console.getMinimalActionSet() == one.actions
        beginnings[choice] = one.console.getRAM().tobytes()
    assert len(set(beginnings.values())) == 4


@pytest.mark.parametrize("choice, available", [({"modes": [7]}, "0, 1"), ({"difficulties": []}, "0, 1, 2, 3")])
def test_an_unknown_mode_is_refused_with_the_available_ones(choice, available):
    (name,) = choice
    with pytest.raises(atari.UnknownModeError, match=rf"atari_extended/pong: {name} is .*expected .*\[{available}\]"):
        atari.AtariExtended(atari.EXTENDED_VERSION, "pong", **choice)


def test_the_provenance_has_mode_and_difficulty():
    def load_short(task):
        environment = load(task)
        environment.max_steps = 3
        return environment

    (episode,) = play(RandomActor, [("atari_extended/alien", 5)], load=load_short)
    variation = json.loads(episode.provenance.variation)
    assert set(variation) == {"mode", "difficulty"}
    (ordinary,) = play(RandomActor, [("atari/alien", 5)], load=load_short)
    assert ordinary.provenance.variation == ""


def test_a_game_without_a_rom_is_named():
    with pytest.raises(MissingPackageError, match="atari/pongg: ale-py has no ROM of this game"):
        atari.SUITE.load("pongg")


@pytest.mark.slow
def test_the_extended_suite_has_the_games_that_vary_and_their_actions_never_do():
    names = set(task_names())
    for game in atari.TASKS:
        environment = atari.AtariExtended(atari.EXTENDED_VERSION, game)
        assert (len(environment.modes) * len(environment.difficulties) > 1) == (f"atari_extended/{game}" in names)
        for mode, difficulty in itertools.product(environment.modes, environment.difficulties):
            environment.console.setMode(mode)
            environment.console.setDifficulty(difficulty)
            environment.console.reset_game()
            assert environment.console.getMinimalActionSet() == environment.actions, (game, mode, difficulty)
