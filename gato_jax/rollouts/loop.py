"""The loop in which one actor plays episodes in several environments side by side, in one process."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Generator, Iterator
from typing import NamedTuple

import dm_env

from gato_jax.environments import Environment
from gato_jax.episodes import Episode
from gato_jax.rollouts.actor import Action, Actor, ActorFailure
from gato_jax.rollouts.job_queue import BucketOf, Job, JobQueue
from gato_jax.rollouts.recorder import Recorder

Load = Callable[[str], Environment]


class Crash(NamedTuple):
    """The end of an episode by an error of the environment, of the actor or of the process that played it."""

    error: Exception


Result = Episode | ActorFailure | Crash


@dataclasses.dataclass
class _Slot:
    """A place in the batch of the actor.

    Attributes:
      environment: The environment; None before the first episode, and after an error, which leaves it in an unknown
        state.
      job: The episode that is played; None while the slot is idle.
      recorder: Recorder of the episode.
    """

    environment: Environment | None = None
    job: Job | None = None
    recorder: Recorder | None = None

    def start(self, job: Job, load: Load) -> None:
        if self.environment is None or job.task != self.environment.task_spec.name:
            self.environment = load(job.task)
        self.environment.seed(job.seed)
        self.job = job
        self.recorder = Recorder(self.environment, self.environment.reset(), render=job.render)

    def clear(self, *, crashed: bool) -> None:
        self.job = self.recorder = None
        if crashed:
            self.environment = None

    @property
    def newest(self) -> dm_env.TimeStep | None:
        return None if self.recorder is None else self.recorder.newest


def play_side_by_side(
    make_actor: Callable[[], Actor],
    jobs: Iterator[Job],
    environments: int,
    load: Load,
    on_step: Callable[[], None] | None = None,
    contain: bool = False,
    bucket_of: BucketOf | None = None,
) -> Generator[tuple[Job, Result], None, None]:
    """Yield each job with its episode as soon as it ends, or with the failure of the actor, in the order of the ends.

    The next job is taken only after a finished one has been yielded, so `jobs` may wait for whoever takes the results.

    Args:
      make_actor: Function that returns a new actor.
      jobs: The episodes to play.
      environments: Number of episodes to play at once.
      load: Function that returns a new environment of a task. An environment is played again for the next job of its
        task.
      on_step: Function that is called after each step of all environments.
      contain: Whether an error ends its episode alone, which then has a Crash for a result, instead of being raised. An
        error of the actor ends all episodes that it plays. Both go on with new ones.
      bucket_of: Function from the name of a task to its bucket. Tasks of two buckets are never played side by side.
        `jobs` is then read at once, and few environments are loaded (see `JobQueue`). None keeps the order of the jobs.
    """
    actor, slots = make_actor(), [_Slot() for _ in range(environments)]
    queue, bucket = JobQueue(jobs, bucket_of), None
    while True:
        finished: list[tuple[Job, Result]] = []
        if all(slot.job is None for slot in slots):
            bucket = queue.choose()
        seeds = _start_idle(slots, functools.partial(queue.take, bucket), load, finished if contain else None)
        if all(slot.recorder is None for slot in slots):
            if not finished:
                return
            yield from finished
            continue
        try:
            if any(seed is not None for seed in seeds):
                actor.reset(_environments(slots), seeds)
            chosen = actor.act([slot.newest for slot in slots])
        except Exception as error:
            if not contain:
                raise
            actor = make_actor()
            yield from [*finished, *((slot.job, Crash(error)) for slot in slots if slot.job is not None)]
            for slot in slots:
                slot.clear(crashed=True)
            continue
        for number, (slot, action) in enumerate(zip(slots, chosen, strict=True)):
            if slot.job is None:
                continue
            try:
                result = _advance(actor, number, slot, action)
            except Exception as error:
                if not contain:
                    raise
                result = Crash(error)
            if result is not None:
                finished.append((slot.job, result))
                slot.clear(crashed=isinstance(result, Crash))
        if on_step is not None:
            on_step()
        yield from finished


def _environments(slots: list[_Slot]) -> list[Environment]:
    """Return the environment of each slot, and that of another one where a slot has none."""
    known = next(slot.environment for slot in slots if slot.environment is not None)
    return [slot.environment or known for slot in slots]


def _advance(actor: Actor, number: int, slot: _Slot, action: Action | ActorFailure) -> Episode | ActorFailure | None:
    """Take one action in a slot whose episode goes on; return the episode if it ends, or the failure of the actor."""
    if isinstance(action, ActorFailure):
        return action
    if slot.job is None or slot.recorder is None:
        raise RuntimeError(f"slot {number} plays no episode, expected one that has been started")
    slot.recorder.step(actor.perturb(number, action), recorded=action)
    if not slot.recorder.newest.last():
        return None
    return slot.recorder.episode(seed=slot.job.seed, agent=actor.describe(slot.job.task))


def _start_idle(
    slots: list[_Slot],
    next_job: Callable[[str | None, list[str]], Job | None],
    load: Load,
    crashed: list[tuple[Job, Result]] | None,
) -> list[int | None]:
    """Start the next job in each idle slot, and return each slot's seed where one was started, None elsewhere.

    A slot stays idle if no job is left.

    Args:
      slots: The slots.
      next_job: Function that returns the next job of a slot, None if none is left, by the task of its environment and
        the tasks that are played.
      load: As in `play_side_by_side`.
      crashed: List to which the jobs are added whose environment fails to start; their slots stay idle. None raises the
        error.
    """
    seeds: list[int | None] = []
    for slot in slots:
        seeds.append(None)
        loaded = None if slot.environment is None else slot.environment.task_spec.name
        if slot.job is not None or (job := next_job(loaded, [one.job.task for one in slots if one.job])) is None:
            continue
        try:
            slot.start(job, load)
        except Exception as error:
            if crashed is None:
                raise
            crashed.append((job, Crash(error)))
            slot.clear(crashed=True)
        else:
            seeds[-1] = job.seed
    return seeds
