"""A worker process that holds environments for the groups of `groups`, and plays in them what it is told."""

from __future__ import annotations

import multiprocessing
import multiprocessing.sharedctypes
import signal
import time
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import dm_env
import numpy as np

from gato_jax.environments import Environment
from gato_jax.environments.base import Outcome
from gato_jax.episodes import TaskSpec
from gato_jax.rollouts.actor import Action
from gato_jax.rollouts.job_queue import Job
from gato_jax.rollouts.loop import Crash, Load, Result
from gato_jax.rollouts.recorder import Recorder
from gato_jax.rollouts.workers import picklable, signals_blocked
from gato_jax.runtime import begin_worker
from gato_jax.runtime.interruption import SIGNALS

_EXIT_SECONDS = 5.0
_IDLE = -1


class RemoteEnvironment(Environment):
    """Description of an environment that is played in another process: its TaskSpec, for actors that need no more."""

    def __init__(self, task_spec: TaskSpec):
        super().__init__(task_spec)

    @property
    def unwrapped(self) -> Environment:
        raise RuntimeError(
            f"{self.task_spec.name}: the environment is in another process, expected one in this process, because the "
            "actor looks into its simulator. Play without worker processes."
        )

    def render(self) -> np.ndarray:
        return self.unwrapped.render()

    def _start(self, seed: int) -> dict[str, Any]:
        return self.unwrapped._start(seed)

    def _advance(self, action: dict[str, np.ndarray]) -> Outcome:
        return self.unwrapped._advance(action)


class Start(NamedTuple):
    """Command to begin an episode in a slot. `agent` is who plays, for the provenance."""

    slot: int
    job: Job
    agent: str


class Step(NamedTuple):
    """Command to take an action in a slot, and to record `recorded` as the action of this step."""

    slot: int
    executed: Action
    recorded: Action


class Leave(NamedTuple):
    """Command to close the environment of a slot, whose next episode begins in another process. It has no outcome."""

    slot: int


Command = Start | Step | Leave


class Began(NamedTuple):
    """Outcome of a Start."""

    slot: int
    environment: RemoteEnvironment
    timestep: dm_env.TimeStep


class Stepped(NamedTuple):
    """Outcome of a Step that does not end the episode."""

    slot: int
    timestep: dm_env.TimeStep


class Ended(NamedTuple):
    """Outcome of a command that ends the episode: the Episode, or a Crash."""

    slot: int
    result: Result


class EnvironmentProcess:
    """One process, and this side of its pipe. A message is a list of commands; the answer lists their outcomes.

    Args:
      load: Picklable function that returns a new environment of a task.

    Attributes:
      connection: the pipe.
    """

    def __init__(self, load: Load):
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        # The slot of the command that is carried out, and since when; shared, so that it is known after a death.
        self._at_work = multiprocessing.sharedctypes.RawArray("d", [_IDLE, 0.0])
        self._process = context.Process(target=_serve, args=(theirs, load, self._at_work), daemon=True)
        with signals_blocked():
            self._process.start()
        theirs.close()

    @property
    def slot_at_work(self) -> int:
        """Slot whose command is carried out now, or was when the process died; -1 for none."""
        return int(self._at_work[0])

    @property
    def seconds_at_work(self) -> float:
        """Time since the present command was begun; 0 for none."""
        slot, since = self._at_work[0], self._at_work[1]
        return 0.0 if slot == _IDLE else time.monotonic() - since

    @property
    def exit_code(self) -> int | None:
        return self._process.exitcode

    def stop(self):
        """End the process, killing it unless it ends by itself, and wait until it has ended."""
        self.connection.close()
        if self._process.exitcode is None and self.slot_at_work == _IDLE:
            self._process.join(0)
        self._process.kill()
        self._process.join(_EXIT_SECONDS)


class _Played:
    """An environment with the episode that is played in it."""

    def __init__(self, environment: Environment):
        self.environment = environment
        self.job: Job | None = None
        self.recorder: Recorder | None = None
        self.agent = ""

    def start(self, command: Start) -> Began:
        self.job, self.agent = command.job, command.agent
        self.environment.seed(self.job.seed)
        self.recorder = Recorder(self.environment, self.environment.reset(), render=self.job.render)
        return Began(command.slot, RemoteEnvironment(self.environment.task_spec), self.recorder.newest)

    def step(self, command: Step) -> Stepped | Ended:
        if self.recorder is None or self.job is None:
            raise RuntimeError(f"slot {command.slot} plays no episode, expected one that has been started")
        self.recorder.step(command.executed, command.recorded)
        if not self.recorder.newest.last():
            return Stepped(command.slot, self.recorder.newest)
        return Ended(command.slot, self.recorder.episode(seed=self.job.seed, agent=self.agent))


def _serve(connection: Connection, load: Load, at_work: Any) -> None:
    """Carry out the commands that arrive until the parent closes the connection."""
    begin_worker()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    played: dict[int, _Played] = {}
    while True:
        try:
            commands = connection.recv()
        except EOFError:
            return
        outcomes = []
        for command in commands:
            at_work[1] = time.monotonic()
            at_work[0] = command.slot
            if isinstance(command, Leave):
                if (known := played.pop(command.slot, None)) is not None:  # none after a crash
                    known.environment.close()
            else:
                outcomes.append(_carry_out(command, played, load))
            at_work[0] = _IDLE
        try:
            connection.send(outcomes)
        except (BrokenPipeError, ConnectionResetError):  # the parent has stopped listening
            return


def _carry_out(command: Start | Step, played: dict[int, _Played], load: Load) -> Began | Stepped | Ended:
    """Return the outcome of one command. After an error, the environment of the slot is not used again."""
    try:
        if isinstance(command, Step):
            return played[command.slot].step(command)
        known = played.get(command.slot)
        if known is None or known.environment.task_spec.name != command.job.task:
            if known is not None:
                if (known := played.pop(command.slot, None)) is not None:  # none after a crash
                    known.environment.close()
            known = played[command.slot] = _Played(load(command.job.task))
        return known.start(command)
    except Exception as error:
        played.pop(command.slot, None)
        return Ended(command.slot, Crash(picklable(error)))
