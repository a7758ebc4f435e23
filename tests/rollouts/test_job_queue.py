"""Buckets of jobs: which one a group plays next, alone and beside others; and none is read before its time."""

import pytest

from gato_jax.rollouts.job_queue import Job, JobQueue
from gato_jax.rollouts.loop import play_side_by_side
from tests.rollouts.made_drift import OTHER, TASK, load_drift
from tests.rollouts.test_groups import WatchingActor


def jobs_of(tasks):
    return [Job(position, task, position, False) for position, task in enumerate(tasks)]


def test_a_group_takes_the_first_bucket_that_no_other_plays_and_else_joins_the_fullest():
    jobs = jobs_of("aAabBBc")
    queue = JobQueue(iter(jobs), str.lower)
    assert queue.choose(()) == "a" and queue.choose("a") == "b" and queue.choose("ab") == "c"
    assert [queue.take("b", task) for task in ("B", "b", None, "b")] == [jobs[4], jobs[3], jobs[5], None]
    assert queue.choose("ab") == "c" and queue.choose("aac") == "a" == queue.choose("ac")
    queue.put_back(jobs[4])
    assert queue.choose("ac") == "b" and queue.take("b") == jobs[4]
    assert [queue.take(bucket) for bucket in "aaac"] == [jobs[0], jobs[2], jobs[1], jobs[6]]
    assert queue.choose("") is None and queue.take(None) is None


def test_without_buckets_a_job_is_read_when_it_is_taken():
    later = iter(jobs_of("aab"))
    queue = JobQueue(later)
    assert queue.take(queue.choose(())).task == "a" and next(later).position == 1
    queue.put_back(Job(7, "z", 7, False))
    assert [queue.take(None).position for _ in range(2)] == [7, 2] and queue.take(None) is None


@pytest.mark.parametrize("environments", [2, 4, 20])
def test_the_plain_loop_plays_one_bucket_after_the_other(environments, monkeypatch):
    monkeypatch.setattr(WatchingActor, "calls", calls := [])
    starts = [(task, seed) for seed in range(3, 8) for task in (TASK, OTHER.name)]
    jobs = iter([Job(position, task, seed, False) for position, (task, seed) in enumerate(starts)])
    ended = play_side_by_side(WatchingActor, jobs, environments, load_drift, bucket_of=str)
    assert sorted((job.task, job.seed) for job, _ in ended) == sorted(starts)
    assert all(len(set(playing)) == 1 for _, playing in calls)
    assert len(calls[0][1]) == min(environments, 5)
    order = [playing[0] for _, playing in calls]
    assert order == sorted(order) and set(order) == {TASK, OTHER.name}


def test_a_slot_goes_on_with_its_task_and_else_takes_one_that_no_other_plays():
    jobs = jobs_of("aaaaabbc")
    queue = JobQueue(iter(jobs), lambda task: None)
    taken = [queue.take(None, *slot) for slot in ((None, ""), (None, "a"), ("b", "aa"), ("b", "aa"), ("b", "aac"))]
    assert [job.task for job in taken] == ["a", "b", "b", "c", "a"]  # at the end it helps with the last task
    assert [job.position for job in taken] == [0, 5, 6, 7, 1]
