"""The episodes that are still to be played, apart for each bucket of tasks that are best played side by side."""

from __future__ import annotations

import collections
from collections.abc import Callable, Collection, Hashable, Iterator
from typing import NamedTuple


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


class JobQueue:
    """Jobs that wait to be played, in their order within each bucket.

    Args:
      jobs: The jobs. With buckets all of them are read at once, otherwise each one when it is taken.
      bucket_of: Function from the name of a task to its bucket. None puts all tasks into one bucket, None.
    """

    def __init__(self, jobs: Iterator[Job], bucket_of: BucketOf | None = None):
        self._bucket_of = bucket_of
        self._later: Iterator[Job] = iter(()) if bucket_of else jobs
        self._waiting: dict[Hashable, collections.deque[Job]] = {}
        for job in jobs if bucket_of else ():
            self._waiting_with(job).append(job)

    def choose(self, playing: Collection[Hashable]) -> Hashable:
        """Return the bucket that a group of environments plays next, once all of its episodes have ended.

        It is the first one that no other group plays, or else the one with the most jobs for each of its groups. Any
        one is returned if no job is left.

        Args:
          playing: The bucket of each other group.
        """
        groups = collections.Counter(playing)
        left = {bucket: len(jobs) for bucket, jobs in self._waiting.items() if jobs}
        unplayed = [bucket for bucket in left if not groups[bucket]]
        return max(unplayed[:1] or left, key=lambda bucket: left[bucket] / (groups[bucket] or 1), default=None)

    def take(self, bucket: Hashable) -> Job | None:
        """Return the next job of a bucket, and None if none is left."""
        waiting = self._waiting.get(bucket)
        return waiting.popleft() if waiting else next(self._later, None)

    def put_back(self, job: Job):
        """Put a job before the others of its bucket, to be played again."""
        self._waiting_with(job).appendleft(job)

    def _waiting_with(self, job: Job) -> collections.deque[Job]:
        bucket = self._bucket_of(job.task) if self._bucket_of else None
        return self._waiting.setdefault(bucket, collections.deque())
