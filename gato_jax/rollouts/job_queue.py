"""The episodes that are still to be played, and which of them a group of environments and a slot in it plays next."""

from __future__ import annotations

import collections
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from typing import NamedTuple, TypeVar


class Job(NamedTuple):
    """One episode to play.

    Attributes:
      position: Index of the episode, from 0, in the order in which `play` yields them.
      task: Name of the task, `suite/task`.
      seed: Seed of the environment and of the actor.
      render: True to keep a rendered frame of each step.
    """

    position: int
    task: str
    seed: int
    render: bool


BucketOf = Callable[[str], Hashable]
_Key = TypeVar("_Key")


class JobQueue:
    """Jobs that wait to be played, in their order within each task.

    With buckets, all jobs are read at once. A group of environments plays one bucket at a time, and a slot goes on with
    its task, whose environment is loaded, as long as there are jobs of it. Without buckets, each job is read when it is
    taken, and their order is kept.

    Args:
      jobs: The jobs.
      bucket_of: Function from the name of a task to its bucket, a set of tasks that are best played side by side. None
        for no buckets.
    """

    def __init__(self, jobs: Iterator[Job], bucket_of: BucketOf | None = None):
        self._bucket_of = bucket_of
        self._later: Iterator[Job] = iter(()) if bucket_of else jobs
        self._waiting: dict[Hashable, dict[str, collections.deque[Job]]] = {}
        for job in jobs if bucket_of else ():
            self._waiting_with(job).append(job)

    def choose(self, playing: Collection[Hashable] = ()) -> Hashable:
        """Return the bucket that a group of environments plays next, once all of its episodes have ended.

        It is the first one that no other group plays, or else the one with the most jobs for each of its groups. Any
        one is returned if no job is left.

        Args:
          playing: The bucket of each other group.
        """
        left = {bucket: sum(map(len, tasks.values())) for bucket, tasks in self._waiting.items()}
        left = {bucket: count for bucket, count in left.items() if count}
        return _least_played(left, playing) if left else None

    def take(self, bucket: Hashable, task: str | None = None, playing: Collection[str] = ()) -> Job | None:
        """Return the next job of a slot, and None if none is left.

        With buckets it is a job of the slot's task, or else of the first task that no other slot plays, or else of the
        task with the most jobs for each of its slots.

        Args:
          bucket: The bucket that is played.
          task: The task whose environment is loaded in the slot; None for none.
          playing: The tasks of the other slots that play.
        """
        waiting = self._waiting.get(bucket, {})
        left = {name: len(jobs) for name, jobs in waiting.items() if jobs}
        if not left:
            return next(self._later, None)
        return waiting[task if task in left else _least_played(left, playing)].popleft()

    def put_back(self, job: Job):
        """Put a job before the others of its task, to be played again."""
        self._waiting_with(job).appendleft(job)

    def _waiting_with(self, job: Job) -> collections.deque[Job]:
        bucket = self._bucket_of(job.task) if self._bucket_of else None
        return self._waiting.setdefault(bucket, {}).setdefault(job.task, collections.deque())


def _least_played(left: Mapping[_Key, int], playing: Collection[_Key]) -> _Key:
    """Return the first key that is not played, or else the one with the most jobs for each time that it is played.

    Args:
      left: {key: its number of jobs}, not empty.
      playing: The keys that are played.
    """
    times = collections.Counter(playing)
    unplayed = [key for key in left if not times[key]]
    return unplayed[0] if unplayed else max(left, key=lambda key: left[key] / times[key])
