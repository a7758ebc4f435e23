"""The loop in which one actor plays episodes in several environments side by side, in one process."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterator
from typing import NamedTuple

import dm_env

from gato_jax.environments import Environment
from gato_jax.episodes import Episode
from gato_jax.rollouts.actor import Actor, ActorFailure
from gato_jax.rollouts.recorder import Recorder

Load = Callable[[str], Environment]


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

    def start(self, job: Job, load: Load) -> None:
        if job.task != self.environment.task_spec.name:
            self.environment = load(job.task)
        self.environment.seed(job.seed)
        self.job = job
        self.recorder = Recorder(self.environment, self.environment.reset(), render=job.render)

    @property
    def newest(self) -> dm_env.TimeStep | None:
        return None if self.recorder is None else self.recorder.newest


def play_side_by_side(
    actor: Actor, jobs: Iterator[Job], environments: int, load: Load, on_step: Callable[[], None] | None = None
) -> Generator[tuple[Job, Episode | ActorFailure], None, None]:
    """Yield each job with its episode as soon as it ends, or with the failure of the actor, in the order of the ends.

    The next job is taken only after a finished one has been yielded, so `jobs` may wait for whoever takes the results.

    Args:
      actor: The actor, which nobody else uses meanwhile.
      jobs: The episodes to play.
      environments: Number of episodes to play at once; `jobs` holds at least as many.
      load: Function that returns a new environment of a task. An environment is played again for the next job of its
        task.
      on_step: Function that is called after each step of all environments.
    """
    slots: list[_Slot] = []
    while True:
        seeds = _start_idle(slots, jobs, environments, load)
        if all(slot.recorder is None for slot in slots):
            return
        if any(seed is not None for seed in seeds):
            actor.reset([slot.environment for slot in slots], seeds)
        chosen = actor.act([slot.newest for slot in slots])
        finished: list[tuple[Job, Episode | ActorFailure]] = []
        for number, (slot, action) in enumerate(zip(slots, chosen, strict=True)):
            if slot.job is None or slot.recorder is None:
                continue
            if isinstance(action, ActorFailure):
                finished.append((slot.job, action))
            else:
                slot.recorder.step(actor.perturb(number, action), recorded=action)
                if not slot.recorder.newest.last():
                    continue
                agent = actor.describe(slot.job.task)
                finished.append((slot.job, slot.recorder.episode(seed=slot.job.seed, agent=agent)))
            slot.job = slot.recorder = None
        if on_step is not None:
            on_step()
        yield from finished


def _start_idle(slots: list[_Slot], jobs: Iterator[Job], environments: int, load: Load) -> list[int | None]:
    """Start the next job in each idle slot, and return each slot's seed where one was started, None elsewhere.

    `slots` grows in place up to the number `environments`. A slot stays idle if no job is left.
    """
    seeds: list[int | None] = []
    for number in range(environments):
        if number < len(slots) and slots[number].job is not None:
            seeds.append(None)
            continue
        job = next(jobs, None)
        if job is not None:
            if number == len(slots):
                slots.append(_Slot(load(job.task)))
            slots[number].start(job, load)
        seeds.append(None if job is None else job.seed)
    return seeds
