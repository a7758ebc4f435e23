"""The emulators beside the environments: a restored state leads on to the same screens, rewards and memory."""

import random

import numpy as np
import pytest

from gato_jax.environments import load
from gato_jax.environments.suites.atari import Atari
from gato_jax.environments.suites.procgen import Procgen
from gato_jax.experts.search import AtariEmulator, ProcgenEmulator

STEPS = 1000


class Draws(random.Random):
    """A generator that has the method of NumPy's generators that the environment uses."""

    def random(self, size=None):  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().random() if size is None else np.array([self.random() for _ in range(size)])


@pytest.mark.parametrize(
    "task, steps",
    [
        ("atari/ms_pacman", STEPS),
        ("atari/pitfall", STEPS),
        pytest.param("atari/qbert", STEPS, marks=pytest.mark.slow),
        pytest.param("atari/seaquest", STEPS, marks=pytest.mark.slow),
        pytest.param("atari/space_invaders", STEPS, marks=pytest.mark.slow),
        ("atari_extended/breakout", 100),
    ],
)
def test_a_console_goes_on_from_the_state_of_another_as_that_one_does(task, steps):
    environment, generator = load(task), np.random.default_rng(0)
    assert isinstance(environment, Atari)
    environment.observed = False
    emulator, done = AtariEmulator(environment, decision_steps=1), True
    for step in range(steps):
        if done:
            environment.reset()
            environment._generator = Draws(step)  # pyright: ignore[reportAttributeAccessIssue]
            sticks = Draws(step)
        if done or step % 100 == 0:
            live = emulator.read(environment)
            assert done or emulator.same(emulator.clone(), live)
            for _ in range(5 if step else 0):  # the first state is restored in an emulator that is new
                emulator.step(int(generator.integers(emulator.actions)), random.Random(0))
            emulator.restore(live)
        action = int(generator.integers(emulator.actions))
        timestep, transition = environment.step({"action": np.asarray(action)}), emulator.step(action, sticks)
        done = timestep.last()
        assert (transition.reward, transition.terminated) == (timestep.reward, timestep.discount == 0), step
        played, copied = environment.console, emulator.console
        assert np.array_equal(played.getRAM(), copied.getRAM()), f"memory at step {step}"
        assert np.array_equal(played.getScreen(), copied.getScreen()), f"screen at step {step}"


@pytest.mark.parametrize(
    "game",
    ["bigfish", "maze", *(pytest.param(game, marks=pytest.mark.slow) for game in ("coinrun", "miner", "starpilot"))],
)
def test_a_level_goes_on_from_the_state_of_another_as_that_one_does(game):
    environment, generator = load(f"procgen/{game}"), np.random.default_rng(0)
    assert isinstance(environment, Procgen)
    emulator, done = ProcgenEmulator(environment, decision_steps=1), True
    for step in range(STEPS):
        if done:
            environment.reset()
        if done or step % 100 == 0:
            live = emulator.read(environment)
            assert done or emulator.same(emulator.clone(), live)
            emulator.restore(live)
            emulator.step(int(generator.integers(emulator.actions)), random.Random(0))
            emulator.restore(live)
        action = int(generator.integers(emulator.actions))
        timestep, transition = environment.step({"action": np.asarray(action)}), emulator.step(action, random.Random(0))
        done = timestep.last()
        assert (transition.reward, transition.terminated) == (timestep.reward, done), step
        assert transition.lost_life == (timestep.discount == 0 and not environment.success)
        assert emulator.fingerprint() == timestep.observation["image"].tobytes(), step
    environment.close()
    emulator.close()


def test_a_decision_ends_early_with_a_life():
    environment = load("atari/breakout")
    assert isinstance(environment, Atari)
    environment.reset()
    emulator, generator = AtariEmulator(environment, decision_steps=100), random.Random(0)
    emulator.restore(emulator.read(environment))
    fire = environment.action_names.index("FIRE")
    lost = emulator.step(fire, generator)
    while not lost.lost_life:
        lost = emulator.step(fire, generator)
    assert lost.frames % 4 == 0 and lost.frames < 400 and not lost.terminated


def test_features_of_the_screen_tell_where_a_colour_is():
    environment = load("atari/breakout")
    assert isinstance(environment, Atari)
    environment.reset()
    ram, tiles = (AtariEmulator(environment, features=kind) for kind in ("ram", "tiles"))
    assert (ram.feature_count, tiles.feature_count) == (128 * 256, 14 * 16 * 128)
    for emulator in (ram, tiles):
        emulator.restore(emulator.read(environment))
        emulator.step(0, random.Random(0))
    memory = ram.console.getRAM()
    assert ram.features().tolist() == (256 * np.arange(128) + memory).tolist()
    screen, found = tiles.console.getScreen(), tiles.features()
    assert sorted(set(found.tolist())) == found.tolist() and found.max() < tiles.feature_count
    row, column = 13, 15  # the tile in the last rows and columns
    here = {int(feature) % 128 for feature in found if feature // 128 == row * 16 + column}
    assert here == {int(colour) >> 1 for colour in np.unique(screen[195:210, 150:160])}
    with pytest.raises(ValueError, match="features is 'pixels', expected 'ram' or 'tiles'"):
        AtariEmulator(environment, features="pixels")
