"""Search for config keys that would make a step fit into memory, by the estimate of its memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from gato_jax.batching import Mixture
from gato_jax.planning.budgets import PlanError, pool_budgets
from gato_jax.planning.memory import estimate_memory
from gato_jax.planning.topologies import Topology
from gato_jax.training import ConfigError, TrainConfig
from gato_jax.training.sharding import make_mesh, row_groups

REMATS = ("none", "dots", "full")  # remat policies; each saves fewer activations than the one before


def remedies(config: TrainConfig, topology: Topology, mixture: Mixture | None, *, needed: int, limit: int) -> list[str]:
    """Return changes as flags, each of which alone would make the step fit, such as `--config.compute.remat=full`.

    Changes that do not alter the run's results come first. For each of remat, fsdp, microbatches and batch size, in
    this order, the list has the mildest change that is enough, if one is. A change of fsdp also sets mesh.data to -1.

    If no single change is enough, the result is one combination of full remat, fsdp and microbatches, and if no such
    combination is enough, the advice to use a larger slice.

    Args:
      config: the run, which does not fit.
      topology: its accelerators.
      mixture: its data, or None.
      needed: memory that a device needs, in bytes, as compiled or estimated. Estimates of changed configs are scaled
        by the ratio of this number to the estimate of the config itself.
      limit: memory of a device that a program may use, in bytes.
    """
    devices = topology.mesh_devices()
    scale = needed / _estimated_bytes(config, devices, mixture)

    def fits(changed: TrainConfig) -> bool:
        try:
            return _estimated_bytes(changed, devices, mixture) * scale <= limit
        except (ConfigError, PlanError):  # rows or params do not divide over the devices
            return False

    larger = f"a larger slice than --topology={topology.name}, with --config.mesh.fsdp over it"
    return cheaper_configs(config, len(devices), fits) or [larger]


def cheaper_configs(config: TrainConfig, devices: int, fits: Callable[[TrainConfig], bool]) -> list[str]:
    """Return changes as flags, each of which alone makes a config fit; one combination if no single change does.

    Args:
      config: the run, which does not fit.
      devices: number of its devices.
      fits: function that says whether a changed config fits.

    Returns:
      The mildest change of each of remat, fsdp, microbatches and batch size that is enough; [] if no combination is.
    """
    variants = (_stronger_remat, _more_fsdp, _more_microbatches, _smaller_batches)
    single = [next((changed for changed in vary(config, devices) if fits(changed)), None) for vary in variants]
    if any(single):
        return [_flags(config, changed) for changed in single if changed is not None]
    full_remat = [config, *_stronger_remat(config, devices)][-1]
    for sharded in (full_remat, *_more_fsdp(full_remat, devices)):
        for changed in (sharded, *_more_microbatches(sharded, devices)):
            if fits(changed):
                return [_flags(config, changed)]
    return []


def _estimated_bytes(config: TrainConfig, devices: list, mixture: Mixture | None) -> int:
    mesh = make_mesh(config.mesh, devices)
    pools = pool_budgets(config, row_groups(mesh) * config.compute.accumulate, mixture)
    return estimate_memory(config, mesh, pools.budgets).total


def _stronger_remat(config: TrainConfig, _: int) -> Iterator[TrainConfig]:
    for remat in REMATS[REMATS.index(config.compute.remat) + 1 :]:
        yield dataclasses.replace(config, compute=dataclasses.replace(config.compute, remat=remat))


def _more_fsdp(config: TrainConfig, devices: int) -> Iterator[TrainConfig]:
    """Yield configs whose params are sharded over 2, 4, ... times as many devices, with data=-1 and the same tensor.

    For a config with fsdp=-1 (all devices that are left), nothing is yielded. `devices` is the number of all devices.
    """
    fsdp = max(config.mesh.fsdp, 1)
    while config.mesh.fsdp != -1 and (fsdp := 2 * fsdp) * config.mesh.tensor <= devices:
        yield dataclasses.replace(config, mesh=dataclasses.replace(config.mesh, data=-1, fsdp=fsdp))


def _more_microbatches(config: TrainConfig, _: int) -> Iterator[TrainConfig]:
    accumulate = config.compute.accumulate
    while (accumulate := 2 * accumulate) <= config.batch_size:
        yield dataclasses.replace(config, compute=dataclasses.replace(config.compute, accumulate=accumulate))


def _smaller_batches(config: TrainConfig, _: int) -> Iterator[TrainConfig]:
    batch = config.batch_size
    while batch := batch // 2:
        yield dataclasses.replace(config, batch_size=batch)


def _flags(config: TrainConfig, changed: TrainConfig) -> str:
    """Return the flags that turn the first config into the second, separated by spaces; "" if nothing differs.

    Only batch_size and the keys of compute and mesh are compared.
    """
    keys = [("batch_size", config.batch_size, changed.batch_size)]
    for section in ("compute", "mesh"):
        before, after = (dataclasses.asdict(getattr(c, section)) for c in (config, changed))
        keys += [(f"{section}.{name}", before[name], after[name]) for name in after]
    return " ".join(f"--config.{name}={after}" for name, before, after in keys if before != after)
