"""Groups of environments in worker processes, whose actors choose the actions in this process.

While one group waits for its environments, the actor of another one acts, so that neither the cores nor an accelerator
wait. The environments of each task and group are spread over all processes. A group plays the tasks of one bucket at
a time, such as those of a similar number of tokens, so that no task is padded to the size of another bucket's.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import math
from collections.abc import Callable, Generator, Hashable, Iterator
from multiprocessing.connection import wait

import dm_env

from gato_jax.rollouts.actor import Action, Actor, ActorFailure
from gato_jax.rollouts.environment_process import (
    Began,
    Command,
    EnvironmentProcess,
    Leave,
    RemoteEnvironment,
    Start,
    Step,
    Stepped,
)
from gato_jax.rollouts.job_queue import BucketOf, Job, JobQueue
from gato_jax.rollouts.loop import Crash, Load, Result
from gato_jax.rollouts.workers import WorkerError

STEP_SECONDS = 600.0  # default limit of one step, reset or loading of an environment
_POLL_SECONDS = 1.0
_MAX_ATTEMPTS = 3  # beginnings of an episode whose process dies for no known reason


class StepTimeoutError(RuntimeError):
    """A step of an environment that took too long; the message names task, seed and limit."""


@dataclasses.dataclass
class _Slot:
    """One environment of a group, in a process; `job` is None while it is idle.

    Attributes:
      process: the process of the environment, or of the next one.
      environment: description of the environment, None before the first episode.
      job: the episode that is played.
      newest: the timestep to act on, None while the process works or the slot is idle.
      is_new: whether the actor has not been told of the episode yet.
    """

    process: EnvironmentProcess
    environment: RemoteEnvironment | None = None
    job: Job | None = None
    newest: dm_env.TimeStep | None = None
    is_new: bool = False

    @property
    def is_pending(self) -> bool:
        return self.job is not None and self.newest is None

    def clear(self):
        self.job = self.newest = None
        self.is_new = False


@dataclasses.dataclass
class _Group:
    """An actor with its slots, by their numbers among all slots, and the bucket whose tasks it plays."""

    actor: Actor
    slots: dict[int, _Slot]
    bucket: Hashable = None

    @property
    def is_idle(self) -> bool:
        return all(slot.job is None for slot in self.slots.values())

    @property
    def is_ready(self) -> bool:
        """True if the actor can act: some slots play, and none of them waits for its process."""
        playing = [slot for slot in self.slots.values() if slot.job is not None]
        return bool(playing) and not any(slot.is_pending for slot in playing)


def play_in_groups(
    make_actor: Callable[[], Actor],
    jobs: Iterator[Job],
    *,
    environments: int,
    workers: int,
    load: Load,
    groups: int = 2,
    step_seconds: float = STEP_SECONDS,
    on_step: Callable[[], None] | None = None,
    bucket_of: BucketOf | None = None,
) -> Generator[tuple[Job, Result], None, None]:
    """Yield each job with its result as soon as it ends: an episode, the failure of the actor or a Crash.

    An error of an environment, the death of its process during one of its steps, and a step that takes too long end
    its episode alone. The other episodes of a process that dies are begun again, and are the same. An error of an actor
    ends the episodes of its group. All processes are stopped when the generator ends or is closed.

    Args:
      make_actor: Function that returns a new actor, called once for each group. The actor sees the TaskSpec of its
        environments and their timesteps only, so an expert, which looks into the simulator, cannot play here.
      jobs: The episodes to play.
      environments: Number of episodes that are played at once, rounded up to the same number for each group.
      workers: Number of processes.
      load: Picklable function that returns a new environment of a task.
      groups: Number of groups; no more than `environments` are made.
      step_seconds: Limit of the time of one step, reset or loading of an environment.
      on_step: Function that is called after each call of an actor.
      bucket_of: Function from the name of a task to its bucket. A group begins another bucket when it has played all
        episodes of the one before, and prefers one that no other group plays. None puts all tasks into one bucket.
    """
    groups = min(groups, environments)
    queue = JobQueue(jobs, bucket_of)
    pool = _Pool(make_actor, queue, math.ceil(environments / groups), groups, workers, load, step_seconds)
    with contextlib.closing(pool):
        while pool.fill():
            yield from pool.take_results()
            for group in pool.groups:
                if group.is_ready:
                    pool.act(group)
                    if on_step is not None:
                        on_step()
            pool.receive()
            yield from pool.take_results()
        yield from pool.take_results()


class _Pool:
    """All groups and processes, the episodes that are still to be played, and the results that are not taken yet."""

    def __init__(
        self,
        make_actor: Callable[[], Actor],
        queue: JobQueue,
        slots: int,
        groups: int,
        workers: int,
        load: Load,
        step_seconds: float,
    ):
        self._make_actor, self._queue, self._load, self._step_seconds = make_actor, queue, load, step_seconds
        self._attempts: collections.Counter[int] = collections.Counter()
        self._results: list[tuple[Job, Result]] = []
        self._processes: list[EnvironmentProcess] = []
        self.groups: list[_Group] = []
        try:
            self._processes += [EnvironmentProcess(load) for _ in range(min(workers, slots * groups))]
            for group in range(groups):
                numbers = range(group * slots, (group + 1) * slots)
                self.groups.append(_Group(make_actor(), {number: _Slot(self._processes[0]) for number in numbers}))
        except BaseException:
            self.close()
            raise

    def fill(self) -> bool:
        """Begin an episode in each idle slot, as long as there are any; return whether one is played."""
        for group in self.groups:
            if group.is_idle:
                group.bucket = self._queue.choose([other.bucket for other in self.groups if not other.is_idle])
            commands: dict[EnvironmentProcess, list[Command]] = {}
            for number, slot in group.slots.items():
                if slot.job is None and (job := self._next_job(group, slot)) is not None:
                    self._place(group, number, job.task, commands)
                    slot.job, slot.is_new = job, True
                    start = Start(number, job, group.actor.describe(job.task))
                    commands.setdefault(slot.process, []).append(start)
            _send(commands)
        return not all(group.is_idle for group in self.groups)

    def act(self, group: _Group):
        """Let the actor of a group act, and send its actions to the environments."""
        slots = list(group.slots.values())
        known = next(slot.environment for slot in slots if slot.environment is not None)
        seeds = [slot.job.seed if slot.job is not None and slot.is_new else None for slot in slots]
        try:
            if any(seed is not None for seed in seeds):
                group.actor.reset([slot.environment or known for slot in slots], seeds)
            chosen = group.actor.act([slot.newest for slot in slots])
            executed: list[Action] = [
                {} if slot.newest is None or isinstance(action, ActorFailure) else group.actor.perturb(place, action)
                for place, (slot, action) in enumerate(zip(slots, chosen, strict=True))
            ]
        except Exception as error:
            for slot in slots:
                self._end(slot, Crash(error))
            group.actor = self._make_actor()
            return
        commands: dict[EnvironmentProcess, list[Command]] = {}
        for number, slot, action, done in zip(group.slots, slots, chosen, executed, strict=True):
            if slot.newest is None:
                continue
            if isinstance(action, ActorFailure):
                self._end(slot, action)
                continue
            slot.newest, slot.is_new = None, False
            commands.setdefault(slot.process, []).append(Step(number, done, recorded=action))
        _send(commands)

    def receive(self):
        """Wait for a process to answer, unless a group can act; end the episodes that crashed or take too long."""
        if not any(slot.is_pending for slot in self._slots.values()):
            return
        timeout = 0 if self._results or any(group.is_ready for group in self.groups) else _POLL_SECONDS
        by_connection = {process.connection: process for process in self._processes}
        ready = wait(list(by_connection), timeout)
        for process in [process for connection, process in by_connection.items() if connection in ready]:
            try:
                self._take(process)
            except (EOFError, ConnectionResetError):
                self._replace(process, None)
        for process in list(self._processes):
            if process.seconds_at_work > self._step_seconds:
                self._replace(process, f"a step took more than {self._step_seconds:g} s")

    def take_results(self) -> list[tuple[Job, Result]]:
        results, self._results = self._results, []
        return results

    def close(self):
        for process in self._processes:
            process.stop()

    @property
    def _slots(self) -> dict[int, _Slot]:
        return {number: slot for group in self.groups for number, slot in group.slots.items()}

    def _next_job(self, group: _Group, slot: _Slot) -> Job | None:
        loaded = None if slot.environment is None else slot.environment.task_spec.name
        return self._queue.take(group.bucket, loaded, [one.job.task for one in self._slots.values() if one.job])

    def _place(self, group: _Group, number: int, task: str, commands: dict[EnvironmentProcess, list[Command]]):
        """Choose the process of a slot that is to load an environment of a task.

        A group waits for its slowest process, so its episodes of each task are spread evenly, then all of its episodes,
        then those of all groups.
        """
        slot = group.slots[number]
        if slot.environment is not None and slot.environment.task_spec.name == task:
            return
        others = [one for one in group.slots.values() if one.job is not None]
        of_task = collections.Counter(one.process for one in others if one.job and one.job.task == task)
        of_group = collections.Counter(one.process for one in others)
        of_all = collections.Counter(one.process for one in self._slots.values() if one.job is not None)
        chosen = min(self._processes, key=lambda process: (of_task[process], of_group[process], of_all[process]))
        if slot.environment is not None and chosen is not slot.process:
            commands.setdefault(slot.process, []).append(Leave(number))
            slot.environment = None
        slot.process = chosen

    def _take(self, process: EnvironmentProcess):
        """Take one answer of a process, which holds one outcome for each of the commands of one message."""
        slots = self._slots
        for outcome in process.connection.recv():
            slot = slots[outcome.slot]
            if isinstance(outcome, Began):
                slot.environment, slot.newest = outcome.environment, outcome.timestep
            elif isinstance(outcome, Stepped):
                slot.newest = outcome.timestep
            else:
                self._end(slot, outcome.result)

    def _end(self, slot: _Slot, result: Result):
        if slot.job is not None:
            self._results.append((slot.job, result))
        slot.clear()

    def _replace(self, process: EnvironmentProcess, reason: str | None):
        """Start another process in place of one that died, or that hangs for a `reason`."""
        culprit = process.slot_at_work
        process.stop()
        other = EnvironmentProcess(self._load)
        self._processes[self._processes.index(process)] = other
        for number, slot in self._slots.items():
            if slot.process is not process:
                continue
            slot.process = other
            if (job := slot.job) is None:
                continue
            self._attempts[job.position] += 1
            if number == culprit or self._attempts[job.position] >= _MAX_ATTEMPTS:
                where = f"{job.task}, seed {job.seed}: "
                died = f"the process of the environment died, its exit code is {process.exit_code}"
                error = WorkerError(where + died) if reason is None else StepTimeoutError(where + reason)
                self._end(slot, Crash(error))
            else:
                slot.clear()
                self._queue.put_back(job)


def _send(commands: dict[EnvironmentProcess, list[Command]]):
    for process, listed in commands.items():
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # `receive` finds that the process died
            process.connection.send(listed)
