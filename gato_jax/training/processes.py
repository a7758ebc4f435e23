"""Several processes as one run, each with the devices of its host, by `jax.distributed`."""

from __future__ import annotations

import contextlib
import os

import jax
from jax.experimental import multihost_utils

from gato_jax.training.config import ConfigError

_BY_HAND = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")


def join_processes():
    """Meets the other processes, before anything touches a device.

    On TPU pods and under SLURM they find each other. Elsewhere three variables say how: JAX_COORDINATOR_ADDRESS
    (host:port of process 0), JAX_NUM_PROCESSES and JAX_PROCESS_ID.

    Raises:
      ConfigError: some of the three are set and others are not, or a number is none.
    """
    given = {name: os.environ[name] for name in _BY_HAND if name in os.environ}
    if not given:
        jax.distributed.initialize()
        return
    if lacking := [name for name in _BY_HAND if name not in given]:
        raise ConfigError(f"distributed=True: {', '.join(given)} set, {', '.join(lacking)} not; set all three or none")
    address, *numbers = given.values()
    if bad := [name for name, number in zip(_BY_HAND[1:], numbers, strict=True) if not number.isdecimal()]:
        raise ConfigError(f"distributed=True: {bad[0]} must be a whole number, got {given[bad[0]]!r}")
    count, number = map(int, numbers)
    if number >= count:
        raise ConfigError(f"distributed=True: JAX_PROCESS_ID {number} is not below JAX_NUM_PROCESSES {count}")
    jax.distributed.initialize(address, count, number)


@contextlib.contextmanager
def first_process_first(what: str):
    """The body runs in process 0, and only then in the others: what it writes to a shared folder is then there."""
    if jax.process_index():
        multihost_utils.sync_global_devices(what)
    yield
    if jax.process_count() > 1 and not jax.process_index():
        multihost_utils.sync_global_devices(what)
