"""The one loop: episodes are the same however they are played, and say how they ended."""

import itertools
import multiprocessing
import os
import select
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from gato_jax.rollouts import ActorFailure, ConstantActor, RandomActor, WorkerError, play
from tests.rollouts.made_drift import (
    TASK,
    BrokenActor,
    Drift,
    DyingActor,
    MistakenActor,
    NoisyActor,
    QuittingActor,
    RaisingActor,
)

SEEDS = [7, 3, 5, 4, 11]


def played(make_actor, seeds=SEEDS, **options):
    return list(play(make_actor, itertools.product([TASK], seeds), load=Drift, **options))


def assert_same(found, expected):
    assert [episode.seed for episode in found] == [episode.seed for episode in expected]
    for one, other in zip(found, expected, strict=True):
        assert (one.score, one.success, one.provenance) == (other.score, other.success, other.provenance)
        np.testing.assert_array_equal(one.action["action"], other.action["action"])
        np.testing.assert_array_equal(one.reward, other.reward)
        for key in one.observation:
            np.testing.assert_array_equal(one.observation[key], other.observation[key])


@pytest.fixture(scope="module")
def one_by_one():
    return played(RandomActor)


def test_there_is_one_episode_for_each_seed_in_their_order(one_by_one):
    assert [episode.seed for episode in one_by_one] == SEEDS
    assert [episode.acting_steps for episode in one_by_one] == [3 + seed % 3 for seed in SEEDS]


@pytest.mark.parametrize("environments", [2, 3, 100])
def test_the_episodes_are_the_same_whatever_is_played_beside_them(one_by_one, environments):
    assert_same(played(RandomActor, environments=environments), one_by_one)


def test_the_episodes_are_the_same_in_worker_processes(one_by_one):
    assert_same(played(RandomActor, workers=2), one_by_one)


def test_an_episode_holds_what_was_seen_and_done(one_by_one):
    for episode in one_by_one:
        steps = episode.acting_steps
        assert episode.task == TASK and episode.final_observation and len(episode) == steps + 1
        assert episode.is_first.tolist() == [True] + [False] * steps
        assert episode.is_last.tolist() == episode.is_terminal.tolist() == [False] * steps + [True]
        np.testing.assert_array_equal(episode.reward[:-1], episode.action["action"][:-1, 0])
        np.testing.assert_array_equal(episode.observation["velocity"][1:], episode.action["action"][:-1])
        assert episode.reward[-1] == 0 and not episode.action["action"][-1].any()
        assert episode.discount.tolist() == [1.0] * (steps - 1) + [0.0, 0.0]
        assert episode.score == pytest.approx(episode.reward.sum()) and episode.success == bool(episode.seed % 2)
        assert episode.frames is None


def test_the_provenance_names_environment_and_actor(one_by_one):
    (constant,) = played(lambda: ConstantActor({"action": np.zeros(2, np.float32)}, "zero"), seeds=[1])
    provenance = one_by_one[0].provenance
    assert (provenance.source, provenance.licence, provenance.kind) == ("made 1.0", "MIT", "simulated")
    assert (provenance.agent, constant.provenance.agent) == ("uniformly random actions", "constant action zero")


@pytest.mark.parametrize("options", [{}, {"environments": 3}, {"workers": 1}])
def test_only_the_first_episodes_have_frames_one_before_each_action(options):
    first, second, third = played(RandomActor, seeds=SEEDS[:3], frames=2, **options)
    assert third.frames is None
    for episode in (first, second):
        assert episode.frames is not None and episode.frames.shape[1:] == (4, 6, 3)
        assert episode.frames[:, 0, 0, 0].tolist() == list(range(episode.acting_steps))


def test_what_is_executed_may_differ_from_what_is_recorded():
    (episode,) = played(NoisyActor, seeds=[3])
    np.testing.assert_array_equal(episode.observation["velocity"][1:], episode.action["action"][:-1] / 2)


@pytest.mark.parametrize("options", [{}, {"environments": 3}, {"workers": 2}])
def test_an_episode_that_the_actor_gives_up_is_an_error_or_left_out(one_by_one, options):
    with pytest.raises(ActorFailure, match=f"{TASK}, seed [45]: the actor gave up .no idea.*--successes_only"):
        played(QuittingActor, **options)
    rest = [episode for episode in one_by_one if episode.seed not in QuittingActor.quits_at]
    assert_same(played(QuittingActor, skip_failures=True, **options), rest)


def test_a_worker_that_dies_names_task_and_seed():
    with pytest.raises(WorkerError, match=f"{TASK}, seed 5: the worker process died, its exit code is 7"):
        played(DyingActor, workers=1)


def test_an_error_in_a_worker_is_raised_here():
    with pytest.raises(KeyError, match="a mistake in the actor") as error:
        played(BrokenActor, workers=1)
    assert "made_drift.py" in error.value.__notes__[0]


def test_an_error_that_cannot_be_pickled_is_raised_with_its_message():
    with pytest.raises(RuntimeError, match=f"Mistake: {TASK}: 5") as error:
        played(MistakenActor, workers=1)
    assert "made_drift.py" in error.value.__notes__[0]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_failure_that_is_raised_is_never_skipped(workers):
    with pytest.raises(ActorFailure, match="^no idea"):
        played(RaisingActor, workers=workers, skip_failures=True)


def test_a_worker_that_is_killed_between_two_episodes_is_a_worker_error():
    episodes = play(RandomActor, [(TASK, seed) for seed in range(3)], load=Drift, workers=1)  # two could end all first
    next(episodes)
    time.sleep(1)  # the worker has sent its second episode and waits for the third job
    (worker,) = multiprocessing.active_children()
    assert worker.pid
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(WorkerError, match="the worker process died, its exit code is -9"):
        list(episodes)


def test_an_error_that_is_kept_keeps_no_worker():
    with pytest.raises(ActorFailure) as error:  # it holds the traceback, and with it the generators
        played(QuittingActor, workers=2)
    assert error.tb and not multiprocessing.active_children()


INTERRUPTED = """
import os, signal, threading
from gato_jax.rollouts import RandomActor, play
from tests.rollouts.made_drift import TASK, Drift

def play_episodes():
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Timer(0.2, os.killpg, (os.getpgrp(), signal.SIGINT)).start()  # the workers still import their modules
    try:
        list(play(RandomActor, [(TASK, seed) for seed in range(10)], load=Drift, workers=2))
    except KeyboardInterrupt:
        print("interrupted")

if __name__ == "__main__":
    play_episodes()
"""


def test_ctrl_c_while_workers_start_prints_no_traceback():
    words = [sys.executable, "-c", INTERRUPTED]
    ended = subprocess.run(words, capture_output=True, text=True, start_new_session=True, timeout=100)
    assert ended.stdout == "interrupted\n" and "Traceback" not in ended.stderr, ended.stderr


def test_whoever_stops_early_leaves_no_process_behind():
    episodes = play(RandomActor, [(TASK, seed) for seed in SEEDS], load=Drift, workers=2)
    assert next(episodes).seed == SEEDS[0]
    episodes.close()


@pytest.mark.parametrize("options", [{"environments": 0}, {"workers": -1}, {"environments": 2, "workers": 2}])
def test_numbers_that_make_no_sense_are_refused(options):
    with pytest.raises(ValueError, match="Choose either several environments or workers"):
        played(RandomActor, **options)


def test_nothing_to_play_is_no_error():
    assert played(RandomActor, seeds=[]) == [] == played(RandomActor, seeds=[], workers=2)


KILLED = """
import multiprocessing, time
from gato_jax.rollouts import RandomActor, play
from tests.rollouts.made_drift import TASK, Drift

if __name__ == "__main__":
    import threading
    def tell():
        while not (workers := multiprocessing.active_children()):
            time.sleep(0.01)
        print(workers[0].pid, flush=True)
    threading.Thread(target=tell).start()
    list(play(RandomActor, [(TASK, seed) for seed in range(10**4)], load=Drift, workers=1))
"""


def test_a_worker_does_not_outlive_its_killed_parent():
    parent = subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    worker = os.pidfd_open(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    assert select.select([worker], [], [], 60)[0]
