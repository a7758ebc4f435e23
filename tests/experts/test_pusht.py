import numpy as np
import pytest

from gato_jax.environments import load
from gato_jax.environments.suites.pusht import PushT
from gato_jax.experts import ExpertActor, expert
from gato_jax.experts import pusht as planner
from gato_jax.experts.pusht_copy import Copy, read
from gato_jax.rollouts import play

SEED = 4_000_007


def _started(suite="pusht", seed=SEED):
    environment = load(f"{suite}/push")
    assert isinstance(environment, PushT)
    environment.seed(seed)
    return environment, environment.reset()


def _state(environment):
    return read(environment.simulator.agent, environment.simulator.block)


def _played(suite, steps):
    environment, timestep = _started(suite)
    player, actions = expert(f"{suite}/push"), []
    player.reset(environment, SEED)
    for _ in range(steps):
        action = player.act(environment, timestep)
        actions.append(action["action"])
        timestep = environment.step(action)
    environment.close()
    return actions


def test_the_block_is_pushed_onto_its_outline():
    one, other = play(ExpertActor, [("pusht/push", SEED), ("pusht/push", 4_000_016)])
    assert one.success and other.success


def test_a_copy_moves_as_the_live_simulation():
    environment, _ = _started()
    copy, generator = Copy(), np.random.default_rng(0)
    copy.restore(_state(environment))
    start = _state(environment)
    for _ in range(12):
        target = np.clip(start.block + generator.normal(0, 60, 2), 0, 512).astype(np.float32)
        environment.step({"action": target})
        copy.step((float(target[0]), float(target[1])))
        assert copy.state == _state(environment)
    assert np.linalg.norm(np.subtract(copy.state.block, start.block)) > 5
    copy.restore(start)
    assert copy.state == start


def test_the_simulation_is_only_read():
    environment, timestep = _started()
    before = _state(environment)
    player = expert("pusht/push")
    player.reset(environment, SEED)
    player.act(environment, timestep)
    assert _state(environment) == before
    environment.close()


def test_the_expert_of_pixels_takes_the_same_actions():
    np.testing.assert_array_equal(_played("pusht", 8), _played("pusht_pixels", 8))


def test_the_block_is_that_of_the_package():
    environment, _ = _started()
    block = environment.simulator.block
    bars = [np.array(shape.get_vertices()) for shape in environment.simulator._block_shapes]
    outline = {tuple(corner) for corner in planner._OUTLINE}
    assert outline <= {tuple(corner) for bar in bars for corner in bar}
    np.testing.assert_array_equal([(bar.min(axis=0), bar.max(axis=0)) for bar in bars], planner._BARS)
    assert tuple(block.center_of_gravity) == tuple(planner._CENTRE)
    assert (block.mass, block.moment) == (1.0, planner._INERTIA)


@pytest.mark.parametrize("distance, steps", [(0.1, 1), (1e9, planner._LONGEST_PUSH)])
def test_steps_to_settle(distance, steps):
    assert planner._steps_to_settle(distance) == steps
