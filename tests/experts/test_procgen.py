import numpy as np
import pytest

from gato_jax.environments import load
from gato_jax.environments.suites import procgen
from gato_jax.experts import ExpertActor, expert_names
from gato_jax.experts.procgen import CHOICES, ProcgenPlanner
from gato_jax.experts.search import SearchSettings
from gato_jax.rollouts import play

FEW = SearchSettings(frames=100, horizon=5)


def _started(task, seed=2_000_000):
    environment = load(f"procgen/{task}")
    assert isinstance(environment, procgen.Procgen)
    environment.seed(seed)
    return environment, environment.reset()


def test_every_game_has_an_expert():
    games = {f"{suite}/{game}" for suite in ("procgen", "procgen_easy") for game in procgen.TASKS}
    assert games <= set(expert_names()) and set(CHOICES) == set(procgen.TASKS)


@pytest.mark.parametrize("game", ["fruitbot", "plunder"])
def test_actions_that_are_left_out_do_what_one_of_the_choices_does(game):
    environment, _ = _started(game)
    start, futures = environment.get_state(), {}
    for action in range(15):
        environment.set_state(start)
        for _ in range(3):
            environment.step({"action": np.asarray(action)})
        futures[action] = environment.get_state().image.tobytes()
    assert set(futures.values()) == {futures[action] for action in (*CHOICES[game], 4)}
    environment.close()


def test_a_level_is_solved():
    (episode,) = play(ExpertActor, [("procgen/maze", 2_000_000)])
    assert episode.success and episode.score == 10.0


def test_the_game_is_only_read_and_actions_repeat_themselves():
    environment, timestep = _started("starpilot")
    before, chosen = environment.get_state().simulator, []
    for _ in range(2):
        player = ProcgenPlanner("starpilot", settings=FEW)
        player.reset(environment, 3)
        chosen.append([int(player.act(environment, timestep)["action"]) for _ in range(4)])
    assert environment.get_state().simulator == before and chosen[0] == chosen[1] and len(set(chosen[0])) == 1
    environment.close()


def test_noise_leads_to_a_new_decision():
    environment, timestep = _started("leaper")
    player = ProcgenPlanner("leaper", settings=FEW)
    player.reset(environment, 0)
    own = player.act(environment, timestep)
    player.acted(own)
    player.act(environment, timestep)
    assert player.planner.decisions == 1
    player.acted({"action": np.asarray((own["action"] + 1) % 15)})
    player.act(environment, timestep)
    assert player.planner.decisions == 2
    environment.close()
