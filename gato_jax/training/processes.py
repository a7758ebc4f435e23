"""Runs of several processes, each with the devices of its host, by `jax.distributed`."""

from __future__ import annotations

import contextlib
import os

import jax
import numpy as np
from jax.experimental import multihost_utils

from gato_jax.training.config import ConfigError

_VARIABLES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")


def join_processes():
    """Connect this process to the others of the run. Call it before anything uses a device.

    On TPU pods and under SLURM the processes find each other. Elsewhere set three variables: JAX_COORDINATOR_ADDRESS
    (host:port of process 0), JAX_NUM_PROCESSES and JAX_PROCESS_ID. If none is set there, JAX raises its own error.

    Raises:
      ConfigError: One or two of the three are set, JAX_NUM_PROCESSES or JAX_PROCESS_ID is not a whole number, or the
        process id is not below the number of processes.
    """
    given = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
    if not given:
        jax.distributed.initialize()
        return
    if lacking := [name for name in _VARIABLES if name not in given]:
        raise ConfigError(f"distributed=True: {', '.join(given)} set, {', '.join(lacking)} not; set all three or none")
    address, *numbers = given.values()
    if bad := [name for name, number in zip(_VARIABLES[1:], numbers, strict=True) if not number.isdecimal()]:
        raise ConfigError(f"distributed=True: {bad[0]} must be a whole number, got {given[bad[0]]!r}")
    count, number = map(int, numbers)
    if number >= count:
        raise ConfigError(f"distributed=True: JAX_PROCESS_ID {number} is not below JAX_NUM_PROCESSES {count}")
    jax.distributed.initialize(address, count, number)


def any_process(value: bool, *, now: bool) -> bool:
    """Return whether `value` is true in any process of the run; they ask each other only when `now` is true.

    With one process, the answer is `value` at any time. With several, all call this function at the same steps, and
    between two questions the answer is False.
    """
    if jax.process_count() == 1:
        return value
    return now and bool(multihost_utils.process_allgather(np.array(value)).any())


@contextlib.contextmanager
def first_process_first(what: str):
    """Run the block in process 0 first, then in the others, which find there what it wrote to a shared folder.

    If the block raises an error in process 0, the others go on waiting at the barrier.

    Args:
      what: Name of the block, for the barrier; the same in all processes.
    """
    if jax.process_index():
        multihost_utils.sync_global_devices(what)
    yield
    if jax.process_count() > 1 and not jax.process_index():
        multihost_utils.sync_global_devices(what)
