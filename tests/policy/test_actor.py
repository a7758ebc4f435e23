"""The agent as an actor: an episode does not depend on how many are played side by side, nor on other tasks."""

import dataclasses
import itertools

import dm_env
import numpy as np
import pytest

from gato_jax.episodes import TaskSpec
from gato_jax.policy import AgentActor, Temperature, rows
from gato_jax.policy.cache import count_columns
from gato_jax.rollouts import play
from gato_jax.rollouts.environment_process import RemoteEnvironment
from gato_jax.rollouts.groups import play_in_groups
from gato_jax.rollouts.job_queue import Job
from gato_jax.tokenization import Contract, ContractError, Tokenization
from tests.policy.made_agent import made_agent
from tests.rollouts.made_drift import OTHER, TASK, Drift, load_drift
from tests.tokenization.made_tasks import CONTROL, GRID, random_episode

SEEDS = [7, 3, 5, 4, 11]


@pytest.fixture(scope="module")
def agent():
    agent = made_agent(layers=1, context=60)
    tasks = Contract.of(Tokenization(), [*agent.contract.tasks.values(), OTHER])
    return dataclasses.replace(agent, contract=tasks, name="drifter")


def played(agent, seeds=SEEDS, tasks=(TASK,), temperature=1.0, **options):
    episodes = itertools.product(tasks, seeds)
    sampling = Temperature(temperature=temperature)
    return list(play(lambda: AgentActor(agent, sampling=sampling), episodes, load=load_drift, **options))


def assert_same(found, expected):
    assert [(episode.task, episode.seed) for episode in found] == [(other.task, other.seed) for other in expected]
    for episode, other in zip(found, expected, strict=True):
        assert episode.score == other.score
        np.testing.assert_array_equal(episode.action["action"], other.action["action"])


@pytest.fixture(scope="module")
def one_by_one(agent):
    return played(agent)


@pytest.mark.parametrize("environments", [3, 100])
def test_the_episodes_are_the_same_whatever_is_played_beside_them(agent, one_by_one, environments):
    assert_same(played(agent, environments=environments), one_by_one)


def test_two_tasks_side_by_side_are_played_as_each_is_alone(agent, one_by_one):
    mixed = played(agent, tasks=(TASK, OTHER.name), environments=3)
    assert_same(mixed[: len(SEEDS)], one_by_one)
    assert_same(mixed[len(SEEDS) :], played(agent, tasks=(OTHER.name,)))


def test_in_groups_whose_environments_are_in_a_process_the_actions_are_the_same(agent, one_by_one):
    starts = [(task, seed) for seed in SEEDS for task in (OTHER.name, TASK)]
    jobs = iter([Job(position, task, seed, False) for position, (task, seed) in enumerate(starts)])
    ended = play_in_groups(
        lambda: AgentActor(agent), jobs, environments=6, workers=1, load=load_drift, bucket_of=agent.bucket
    )
    found = {(job.task, job.seed): result for job, result in ended}
    assert_same([found[TASK, seed] for seed in SEEDS], one_by_one)


def test_an_idle_slot_does_not_pad_the_others_to_its_last_task(agent, monkeypatch):
    def choose_lowest(graph, network, state, observation, actions, *rest):  # nothing is compiled
        return np.asarray(actions.ranges[..., 0]), state

    monkeypatch.setattr(rows, "act", choose_lowest)
    actor, large = AgentActor(agent), agent.bucket(GRID.name)
    observed = [random_episode(spec, 0, 2).observation for spec in (GRID, CONTROL)]
    seen = [dm_env.restart({key: values[0] for key, values in each.items()}) for each in observed]
    actor.reset([RemoteEnvironment(spec) for spec in (GRID, CONTROL)], [0, 1])
    actor.act(seen)
    assert count_columns(actor._policy.state) == large.columns > agent.bucket(TASK).columns
    actor.act([None, seen[1]])
    assert count_columns(actor._policy.state) == agent.bucket(TASK).columns == agent.bucket(OTHER.name).columns


def test_the_same_seed_plays_the_same_and_another_seed_does_not(agent, one_by_one):
    assert_same(played(agent, seeds=SEEDS[:1]), one_by_one[:1])
    first, second = (episode.action["action"][:3] for episode in one_by_one[:2])
    assert not np.array_equal(first, second)


def test_the_provenance_names_the_run_and_its_step(agent, one_by_one):
    assert one_by_one[0].provenance.agent == "gato_jax agent drifter, step 1; temperature 1"
    (greedy,) = played(agent, seeds=[3], temperature=0.0)
    assert greedy.provenance.agent == "gato_jax agent drifter, step 1; greedy"
    assert greedy.provenance.kind == "simulated"


def test_a_task_that_differs_from_the_agents_is_refused_before_it_is_played(agent):
    untrained = dataclasses.replace(agent, contract=Contract.of(Tokenization(mu=50.0), [GRID]))
    with pytest.raises(ValueError, match="not trained on 'made/control'"):
        played(untrained)
    changed = Drift()
    changed.task_spec = TaskSpec(**{**vars(changed.task_spec), "metric": "success"})
    with pytest.raises(ContractError, match="metric"):
        next(play(lambda: AgentActor(agent), [(TASK, 1)], load=lambda _: changed))
