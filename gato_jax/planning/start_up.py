"""Check at the start of a run that its training step fits into the memory of the devices that are here."""

from __future__ import annotations

import dataclasses
import logging
import os
import pathlib

import jax

from gato_jax.batching import Budgets, Mixture
from gato_jax.planning.memory import estimate_memory
from gato_jax.planning.remedies import cheaper_configs
from gato_jax.training import ConfigError, TrainConfig
from gato_jax.training.sharding import make_mesh, row_groups

_TOLERANCE = 1.2  # the estimate is within a fifth of what compilers report
_GIB = 2**30
_log = logging.getLogger(__name__)


class MemoryNeedError(ValueError):
    """A training step that needs more memory than a device has; the message has both and changes that would help."""


def require_memory(config: TrainConfig, mixture: Mixture | None = None):
    """Log the estimated memory of a training step, and refuse a step that exceeds the memory of a device.

    Nothing is allocated. Call it without the mixture before the data are opened: it then counts as few patches and
    targets as there can be. A step that exceeds the memory by less than the error of the estimate, a fifth, is logged.

    Raises:
      MemoryNeedError: The step exceeds the memory of a device by more than a fifth.
      ConfigError: The mesh does not fit the devices, or the batch size does not divide over them.
      MixtureError: The batch size of the mixture does not divide over the devices.
    """
    needed, limit = _estimate(config, mixture), device_memory()
    said = f"the training step needs about {_gib(needed)} of memory per device"
    if limit is None:
        _log.info("%s; the memory of a device is not known", said)
        return
    if needed > _TOLERANCE * limit:
        raise MemoryNeedError(f"{said}, a device has {_gib(limit)}. {_remedy(config, mixture, limit)}")
    if needed > limit:
        _log.warning("%s, a device has %s; it may not fit", said, _gib(limit))
    elif mixture is not None:
        _log.info("%s, a device has %s", said, _gib(limit))


def device_memory() -> int | None:
    """Return the bytes that a program may use on a device of this process; None where that is not known.

    Devices of a CPU share the memory of the machine, or of its container if that has less.
    """
    device, local = jax.local_devices()[0], len(jax.local_devices())
    if device.platform == "cpu":
        return host_memory() // local
    stats = device.memory_stats()
    return None if stats is None else stats.get("bytes_limit")


def host_memory() -> int:
    """Return the bytes of memory of this machine, or of its container if that has less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        file = pathlib.Path(name)
        if file.is_file() and (text := file.read_text().strip()).isdecimal():
            total = min(total, int(text))
    return total


def _estimate(config: TrainConfig, mixture: Mixture | None) -> int:
    mesh = make_mesh(config.mesh)
    pools = row_groups(mesh) * config.compute.accumulate
    if config.batch_size % pools:
        raise ConfigError(
            f"config.batch_size is {config.batch_size}, expected a multiple of {pools}, the devices that rows are "
            "spread over (data x fsdp) times compute.accumulate. Change one of them."
        )
    budgets = Budgets(0, 1) if mixture is None else mixture.budgets(pools)
    given = (config.patch_budget, config.target_budget)
    return estimate_memory(config, mesh, Budgets(*map(max, budgets, (number or 0 for number in given)))).total


def _remedy(config: TrainConfig, mixture: Mixture | None, limit: int) -> str:
    def fits(changed: TrainConfig) -> bool:
        try:
            return _estimate(changed, _with_batch_size(mixture, changed)) <= limit
        except ValueError:  # rows or params do not divide over the devices
            return False

    changes = cheaper_configs(config, len(jax.devices()), fits)
    if not changes:
        return "Use more devices, or a smaller model."
    return f"Set {' or '.join(changes)}."


def _with_batch_size(mixture: Mixture | None, config: TrainConfig) -> Mixture | None:
    return None if mixture is None else dataclasses.replace(mixture, batch_size=config.batch_size)


def _gib(size: int) -> str:
    return f"{size / _GIB:.2f} GiB" if size < 1000 * _GIB else f"{size / _GIB:,.0f} GiB"
