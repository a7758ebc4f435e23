import numpy as np
import pytest

from gato_jax.environments import load
from gato_jax.environments.suites import miniworld
from gato_jax.experts import ExpertActor, expert, expert_names
from gato_jax.experts.miniworld_maps import Disc, Map, floor
from gato_jax.rollouts import play

pytestmark = pytest.mark.skipif(bool(miniworld.missing_library()), reason=miniworld.missing_library())

SEED = 4_000_001


def _started(task, seed=SEED):
    environment = load(f"miniworld/{task}")
    assert isinstance(environment, miniworld.MiniWorld)
    environment.seed(seed)
    return environment, environment.reset()


@pytest.mark.slow
def test_the_street_is_not_entered():
    (episode,) = play(ExpertActor, [("miniworld/Sidewalk-v0", SEED)])
    assert episode.success


@pytest.mark.parametrize("task", ["MazeS3Fast-v0", "PutNext-v0", "Sign-v0"])
def test_the_goal_is_reached(task):
    (episode,) = play(ExpertActor, [(f"miniworld/{task}", SEED)])
    assert episode.success


def test_every_level_has_an_expert():
    assert {f"miniworld/{task}" for task in miniworld.LEVELS} <= set(expert_names())


def test_a_map_agrees_with_the_collisions_of_the_level():
    environment, _ = _started("FourRooms-v0")
    level = environment.level
    box = Disc(floor(level.box.pos), level.box.radius)
    places = np.random.default_rng(0).uniform(-7, 7, (400, 2))
    free = Map(level, level.agent.radius, [box]).free(places)
    touched = [bool(level.intersect(level.agent, np.array([x, 0, z]), level.agent.radius)) for x, z in places]
    np.testing.assert_array_equal(free, np.logical_not(touched))
    assert 100 < free.sum() < 400
    environment.close()


def test_distances_go_around_walls():
    environment, _ = _started("WallGap-v0")
    ways = Map(environment.level, 0.4, [])
    distances = ways.distances_to([Disc(np.array([5.0, -2.0]), 0.0)])
    (same_side, behind), ahead = distances(np.array([[-3.0, -4.0], [5.0, 2.0]]))
    assert np.hypot(8, 2) - 0.1 <= same_side <= 1.05 * np.hypot(8, 2)  # to the cell nearest to the goal
    corner = 1.5 - 0.4  # of the gap, for the middle of the agent
    assert behind == pytest.approx(2 * np.hypot(5 - corner, 1.5) + 1.0, rel=0.08)
    assert ahead[0, 0] > 0 and ahead[1, 0] < 0 and ahead[1, 1] < 0
    environment.close()


def test_the_level_is_only_read():
    environment, timestep = _started("PickupObjects-v0")
    level = environment.level

    def state():
        placed = [(*entity.pos, entity.dir) for entity in level.entities]
        return placed, level.step_count, level.np_random.bit_generator.state, level.agent.carrying

    before = state()
    player = expert("miniworld/PickupObjects-v0")
    player.reset(environment, SEED)
    player.act(environment, timestep)
    assert state() == before
    environment.close()


def test_noise_moves_only():
    environment, _ = _started("Sign-v0")
    player, generator = expert("miniworld/Sign-v0"), np.random.default_rng(0)
    actions = [player.disturb(environment, {"action": np.array(2)}, 1.0, generator)["action"] for _ in range(50)]
    assert {int(action) for action in actions} == {0, 1, 2}
    environment.close()
