"""The loop in which one actor plays episodes in several environments side by side, in one process."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterator
from typing import NamedTuple

import dm_env

from gato_jax.environments import Environment
from gato_jax.episodes import Episode
from gato_jax.rollouts.actor import Action, Actor, ActorFailure
from gato_jax.rollouts.recorder import Recorder

Load = Callable[[str], Environment]


class Crash(NamedTuple):
    """The end of an episode by an error of the environment, of the actor or of the process that played it."""

    error: Exception


Result = Episode | ActorFailure | Crash


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


@dataclasses.dataclass
class _Slot:
    """One environment of the batch, and the episode that is played in it; `job` is None while it is idle."""

    environment: Environment
    job: Job | None = None
    recorder: Recorder | None = None
    damaged: bool = False  # an error left the environment in an unknown state

    def start(self, job: Job, load: Load) -> None:
        if self.damaged or job.task != self.environment.task_spec.name:
            self.environment, self.damaged = load(job.task), False
        self.environment.seed(job.seed)
        self.job = job
        self.recorder = Recorder(self.environment, self.environment.reset(), render=job.render)

    def crash(self) -> None:
        self.job = self.recorder = None
        self.damaged = True

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
) -> Generator[tuple[Job, Result], None, None]:
    """Yield each job with its episode as soon as it ends, or with the failure of the actor, in the order of the ends.

    The next job is taken only after a finished one has been yielded, so `jobs` may wait for whoever takes the results.

    Args:
      make_actor: Function that returns a new actor.
      jobs: The episodes to play.
      environments: Number of episodes to play at once; `jobs` holds at least as many.
      load: Function that returns a new environment of a task. An environment is played again for the next job of its
        task.
      on_step: Function that is called after each step of all environments.
      contain: Whether an error ends its episode alone, which then has a Crash for a result, instead of being raised. An
        error of the actor ends all episodes that it plays. Both go on with new ones.
    """
    actor, slots = make_actor(), list[_Slot]()
    while True:
        finished: list[tuple[Job, Result]] = []
        seeds = _start_idle(slots, jobs, environments, load, finished if contain else None)
        if all(slot.recorder is None for slot in slots):
            if not finished:
                return
            yield from finished
            continue
        try:
            if any(seed is not None for seed in seeds):
                actor.reset([slot.environment for slot in slots], seeds)
            chosen = actor.act([slot.newest for slot in slots])
        except Exception as error:
            if not contain:
                raise
            actor = make_actor()
            yield from [*finished, *((slot.job, Crash(error)) for slot in slots if slot.job is not None)]
            for slot in slots:
                slot.crash()
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
                slot.job = slot.recorder = None
                slot.damaged = isinstance(result, Crash)
        if on_step is not None:
            on_step()
        yield from finished


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
    jobs: Iterator[Job],
    environments: int,
    load: Load,
    crashed: list[tuple[Job, Result]] | None,
) -> list[int | None]:
    """Start the next job in each idle slot, and return each slot's seed where one was started, None elsewhere.

    `slots` grows in place up to the number `environments`. A slot stays idle if no job is left.

    Args:
      slots: The slots.
      jobs: The episodes to play.
      environments: Number of slots.
      load: As in `play_side_by_side`.
      crashed: List to which the jobs are added whose environment fails to start; their slots stay idle. None raises the
        error. It is raised in any case if one of several environments cannot be loaded for the first time, without
        which the actor would lack a slot.
    """
    seeds: list[int | None] = []
    for number in range(environments):
        if number < len(slots) and slots[number].job is not None:
            seeds.append(None)
            continue
        if (job := next(jobs, None)) is None:
            seeds.append(None)
            continue
        try:
            if number == len(slots):
                slots.append(_Slot(load(job.task)))
            slots[number].start(job, load)
        except Exception as error:
            if crashed is None or (number == len(slots) and environments > 1):
                raise
            crashed.append((job, Crash(error)))
            if number < len(slots):
                slots[number].crash()
                seeds.append(None)
        else:
            seeds.append(job.seed)
    return seeds
