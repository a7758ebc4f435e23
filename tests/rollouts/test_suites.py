"""Episodes of the real suites: several tasks in one batch, and recordings that stay as they were."""

import functools
import hashlib
import itertools

import numpy as np
import pytest

from gato_jax.episodes import Episode
from gato_jax.experts import ExpertActor
from gato_jax.rollouts import RandomActor, play

GRID, ROBOT = "babyai/GoToLocal-v0", "meta_world/reach-v3"


def digest(episode: Episode) -> str:
    """Return a hash of all arrays of an episode, with their dtypes and shapes."""
    sides = {"observation": episode.observation, "action": episode.action}
    fields = {f"{side}/{key}": values for side, arrays in sides.items() for key, values in arrays.items()}
    fields |= {name: getattr(episode, name) for name in ("reward", "discount", "is_first", "is_last", "is_terminal")}
    content = hashlib.sha256()
    for name in sorted(fields):
        values = fields[name]
        content.update(f"{name} {values.dtype} {values.shape}".encode())
        text = values.dtype == object
        content.update("\0".join(values).encode() if text else np.ascontiguousarray(values).tobytes())
    content.update(repr((episode.seed, episode.success, episode.final_observation)).encode())
    return content.hexdigest()[:16]


def test_recordings_of_a_grid_world_stay_as_they_were():
    episodes = play(functools.partial(ExpertActor, noise=None), [(GRID, 0), (GRID, 1)])
    assert [digest(episode) for episode in episodes] == ["63c9a8696d428871", "b18c030a5eaa5e81"]


def test_recordings_of_a_simulated_robot_stay_as_they_were():
    """By length and return: the last bits of a simulation depend on the machine."""
    episodes = list(play(functools.partial(ExpertActor, noise=None), [(ROBOT, 0), (ROBOT, 1)]))
    assert [len(episode) for episode in episodes] == [58, 51]
    np.testing.assert_allclose([episode.episode_return for episode in episodes], [391.6085112, 318.8870978], rtol=1e-5)


@pytest.mark.parametrize("make_actor", [RandomActor, functools.partial(ExpertActor, noise=0.1)])
@pytest.mark.parametrize("options", [{"environments": 3}, {"workers": 2}])
def test_several_tasks_are_played_side_by_side(make_actor, options):
    starts = list(itertools.product([GRID, "babyai/GoToObjS4-v0"], [0, 1]))
    alone = [digest(episode) for start in starts for episode in play(make_actor, [start])]
    assert [digest(episode) for episode in play(make_actor, starts, **options)] == alone
