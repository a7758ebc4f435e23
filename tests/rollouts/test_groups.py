"""Groups of environments in processes: the same episodes, and a crash, a hang or a death costs one of them."""

import multiprocessing
import os
import time

import numpy as np

from gato_jax.episodes import Episode
from gato_jax.rollouts import ActorFailure, RandomActor, WorkerError, play
from gato_jax.rollouts.groups import StepTimeoutError, play_in_groups
from gato_jax.rollouts.job_queue import Job
from gato_jax.rollouts.loop import Crash
from tests.rollouts.made_drift import OTHER, TASK, BrokenActor, Drift, NoisyActor, load_drift

SEEDS = range(3, 14)


class Perilous(Drift):
    """Breaks in the episode of seed 5, ends its process in that of seed 8 and hangs in that of seed 10."""

    def _advance(self, action):
        if self.at == 1 and self.episode == 5:
            raise ZeroDivisionError("the simulation is unstable")
        if self.at == 1 and self.episode == 8:
            os._exit(9)
        if self.at == 1 and self.episode == 10:
            time.sleep(1000)
        return super()._advance(action)


class FailingActor(RandomActor):
    """Gives up the episode of seed 4 at once."""

    def reset(self, environments, seeds):
        super().reset(environments, seeds)
        self.quits = [seed == 4 for seed in seeds]

    def act(self, timesteps):
        actions = super().act(timesteps)
        return [ActorFailure("no idea") if self.quits[slot] else action for slot, action in enumerate(actions)]


def played(make_actor=RandomActor, *, load=Drift, **options):
    jobs = iter([Job(position, TASK, seed, seed == 3) for position, seed in enumerate(SEEDS)])
    options = {"environments": 4, "workers": 2, "groups": 2, **options}
    return {job.seed: result for job, result in play_in_groups(make_actor, jobs, load=load, **options)}


def assert_same(found, make_actor=RandomActor, seeds=SEEDS):
    for expected in play(make_actor, [(TASK, seed) for seed in seeds], load=Drift):
        one = found[expected.seed]
        assert isinstance(one, Episode)
        assert (one.score, one.success, one.provenance) == (expected.score, expected.success, expected.provenance)
        np.testing.assert_array_equal(one.action["action"], expected.action["action"])
        np.testing.assert_array_equal(one.observation["position"], expected.observation["position"])


def test_the_episodes_are_those_of_the_plain_loop():
    found = played(NoisyActor, environments=3)
    assert sorted(found) == list(SEEDS)
    assert_same(found, NoisyActor)
    assert found[3].frames.shape[1:] == (4, 6, 3) and found[4].frames is None
    assert not multiprocessing.active_children()


def test_a_crash_a_hang_and_a_death_cost_their_own_episodes_alone():
    found = played(load=Perilous, workers=1, step_seconds=15.0)
    assert_same(found, seeds=[seed for seed in SEEDS if seed not in (5, 8, 10)])
    errors = {seed: result.error for seed, result in found.items() if isinstance(result, Crash)}
    assert sorted(errors) == [5, 8, 10]
    assert isinstance(errors[5], ZeroDivisionError)
    assert isinstance(errors[8], WorkerError) and f"{TASK}, seed 8: the process of the en" in str(errors[8])
    assert isinstance(errors[10], StepTimeoutError)
    assert str(errors[10]) == f"{TASK}, seed 10: a step took more than 15 s"


def test_an_actor_that_gives_up_or_fails_costs_its_episodes():
    found = played(FailingActor, workers=1)
    assert isinstance(found[4], ActorFailure)
    assert_same(found, seeds=[seed for seed in SEEDS if seed != 4])
    broken = played(BrokenActor, workers=1)
    assert all(isinstance(result, Crash) for result in broken.values()) and len(broken) == len(SEEDS)


class WatchingActor(RandomActor):
    """Notes itself and the tasks that are played side by side in each call of `act`."""

    calls = []

    def act(self, timesteps):
        playing = [slot for slot, timestep in enumerate(timesteps) if timestep is not None]
        self.calls.append((self, [self._slots[slot][0].name for slot in playing]))
        return super().act(timesteps)


def test_a_group_holds_the_tasks_of_one_bucket_and_the_other_one_those_of_another(monkeypatch):
    monkeypatch.setattr(WatchingActor, "calls", calls := [])
    starts = [(task, seed) for seed in SEEDS[:6] for task in (TASK, OTHER.name)]
    jobs = iter([Job(position, task, seed, False) for position, (task, seed) in enumerate(starts)])
    ended = play_in_groups(WatchingActor, jobs, environments=6, workers=1, load=load_drift, bucket_of=str)
    found = {(job.task, job.seed): result for job, result in ended}
    assert sorted(found) == sorted(starts)
    assert_same({seed: found[TASK, seed] for seed in SEEDS[:6]}, seeds=SEEDS[:6])
    assert all(len(set(playing)) == 1 for _, playing in calls)
    first_of = dict(reversed(calls))  # the first call of each actor
    assert sorted(first_of.values()) == [[TASK] * 3, [OTHER.name] * 3]  # both are in flight, and full


def test_whoever_stops_early_leaves_no_process_behind():
    jobs = iter([Job(position, TASK, seed, False) for position, seed in enumerate(SEEDS)])
    episodes = play_in_groups(RandomActor, jobs, environments=2, workers=1, load=Drift)
    next(episodes)
    episodes.close()
    assert not multiprocessing.active_children()
