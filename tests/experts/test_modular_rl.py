"""The planners of Modular RL run farther than constant actions, repeat themselves and leave the episode alone."""

import numpy as np
import pytest

from gato_jax.environments.suites.modular_rl import ModularRL
from gato_jax.environments.worlds.modular_bodies import bodies
from gato_jax.evaluation.constant_actions import candidate_actions
from gato_jax.experts import expert_names
from gato_jax.experts.modular_rl import ModularPlanner, plan
from gato_jax.rollouts.baselines import ConstantActor


def play(task, choose, steps, seed=3):
    """Return the distance (metres) of an episode of at most `steps` steps, and its actions."""
    environment = ModularRL(task)
    environment.seed(seed)
    timestep, actions = environment.reset(), []
    act, start = choose(environment), environment.data.qpos[0]
    while not timestep.last() and len(actions) < steps:
        action = act(timestep)
        actions.append(action["action"])
        timestep = environment.step(action)
    return environment.data.qpos[0] - start, np.stack(actions)


def planner(task, threads=1):
    def choose(environment):
        expert = ModularPlanner(task, threads=threads)
        expert.reset(environment, 3)
        return lambda timestep: expert.act(environment, timestep)

    return choose


def constant(action):
    actor = ConstantActor(action)
    return lambda environment: lambda timestep: actor.act([timestep])[0]


def test_every_body_has_a_plan():
    assert {f"modular_rl/{task}" for task in bodies()} <= set(expert_names())
    for task in bodies():
        assert plan(task).objective.shaped.endswith(".") != task.startswith("cheetah")


@pytest.mark.parametrize(
    ("task", "steps"),  # a falling body comes as far as it is high, then its episode ends
    [
        ("cheetah_5_back", 100),
        ("walker_5_main", 160),
        ("hopper_4", 160),
        pytest.param("humanoid_2d_9_full", 240, marks=pytest.mark.slow),
    ],
)
def test_the_planner_runs_farther_than_constant_actions(task, steps):
    candidates = candidate_actions(ModularRL(task).task_spec).values()
    constants = [play(task, constant(action), steps)[0] for action in candidates]
    distance, actions = play(task, planner(task), steps)
    assert len(actions) == steps and distance > max(0.3, 1.5 * max(constants))


def test_threads_do_not_change_the_actions():
    (_, one), (_, two) = (play("walker_4_main", planner("walker_4_main", threads), steps=24) for threads in (1, 2))
    np.testing.assert_array_equal(one, two)


def test_planning_changes_neither_state_nor_model():
    environment = ModularRL("hopper_3")
    timestep = environment.reset()
    expert = ModularPlanner("hopper_3", threads=1)
    before = environment.data.qpos.copy(), environment.data.qvel.copy(), environment.data.time
    option = environment.mujoco_model.opt
    settings = option.timestep, option.integrator
    expert.reset(environment, 0)
    expert.act(environment, timestep)
    after = environment.data.qpos, environment.data.qvel, environment.data.time
    assert all(np.array_equal(first, second) for first, second in zip(before, after, strict=True))
    assert (option.timestep, option.integrator) == settings
