import re

import numpy as np
import pytest

from gato_jax.environments import MAX_SEED, load, task_spec
from gato_jax.environments.suites import procgen


@pytest.fixture(scope="module", params=procgen.TASKS)
def environment(request):
    environment = _load(f"procgen/{request.param}")
    yield environment
    environment.close()


def _load(name) -> procgen.Procgen:
    environment = load(name)
    assert isinstance(environment, procgen.Procgen)
    return environment


def _play(environment, seed, actions):
    environment.seed(seed)
    first = environment.reset()
    return [(None, None, first.observation["image"].tobytes()), *_go_on(environment, actions)]


def _go_on(environment, actions):
    timesteps = []
    while len(timesteps) < len(actions) and not (timesteps and timesteps[-1].last()):
        timesteps.append(environment.step({"action": actions[len(timesteps)]}))
    return [(timestep.reward, timestep.discount, timestep.observation["image"].tobytes()) for timestep in timesteps]


@pytest.mark.parametrize("seed", [5, MAX_SEED])
def test_an_episode_is_the_level_of_its_seed_as_a_new_simulator_has_it(environment, seed):
    actions = np.random.default_rng(seed).integers(15, size=25)
    _play(environment, seed=7, actions=actions)
    played = _play(environment, seed, actions)
    task, levels = environment.task_spec.task, {"num_levels": 1, "start_level": seed, "rand_seed": 1}
    from procgen.env import ProcgenGym3Env

    if seed == MAX_SEED:  # the package does not take it, as the end of the range is exclusive
        assert environment.simulator.get_info()[0]["level_seed"] == seed
        return
    simulator = ProcgenGym3Env(num=1, env_name=task, num_threads=0, distribution_mode=environment.mode, **levels)
    assert played[0][-1] == simulator.observe()[1]["rgb"].tobytes()
    for action, (reward, _, image) in zip(actions, played[1:], strict=False):
        simulator.act(np.array([action]))  # pyright: ignore[reportArgumentType]  its annotation is wrong
        expected, observation, first = simulator.observe()
        assert reward == expected[0] and (first[0] or image == observation["rgb"].tobytes())
    simulator.close()


def test_a_state_leads_on_to_the_same_future_in_any_environment_of_the_task(environment):
    actions = np.random.default_rng(0).integers(15, size=30)
    while _play(environment, 3, actions[:10]) and environment.get_state().done:
        actions = np.roll(actions, 1)  # another beginning, in which the episode does not end
    state, futures = environment.get_state(), []
    for used in (environment, _load(environment.task_spec.name)):
        used.set_state(state)
        futures.append(_go_on(used, actions))
        assert used.get_state().steps == state.steps + len(futures[-1])
    assert futures[0] == futures[1]


def test_a_state_of_another_task_is_refused():
    state = _load("procgen/maze").get_state()
    with pytest.raises(ValueError, match="procgen_easy/maze: task of the state is procgen/maze, expected procgen_easy"):
        _load("procgen_easy/maze").set_state(state)


def test_maze_and_heist_are_easy_and_the_rest_is_hard():
    easy = [task for task in procgen.TASKS if _load(f"procgen/{task}").mode == "easy"]
    assert easy == ["heist", "maze"]
    assert _load("procgen_easy/coinrun").mode == "easy"


def test_the_game_ends_an_episode_at_its_time_limit():
    environment = _load("procgen/leaper")
    environment.seed(0)
    timestep = environment.reset()
    environment.max_steps = None  # the simulator's own limit
    while not timestep.last():
        before, timestep = timestep, environment.step({"action": np.array(4)})
    assert environment.get_state().steps == task_spec("procgen/leaper").max_steps == 500
    assert timestep.discount == 1.0 and environment.success is False
    np.testing.assert_array_equal(timestep.observation["image"], before.observation["image"])


def test_a_death_terminates_the_episode_and_shows_its_last_frame():
    environment = _load("procgen/bigfish")
    environment.seed(0)
    timestep = environment.reset()
    while not timestep.last():
        timestep = environment.step({"action": np.array(4)})
    assert timestep.discount == 0.0 and environment.success is False
    portrait = environment.render()
    assert portrait.shape == (512, 512, 3) and portrait[::8, ::8].std() > 5


def test_the_names_of_the_actions_are_the_keys():
    names = _load("procgen/coinrun").action_names
    assert len(names) == 15 and names[4] == "NOOP" and names[7] == "RIGHT"
    assert re.fullmatch(r"[A-Z+,]+", ",".join(names))
