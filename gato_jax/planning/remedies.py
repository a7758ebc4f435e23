"""What would make a step fit that does not: the keys to set, found by arithmetic."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from gato_jax.batching import Mixture
from gato_jax.planning.budgets import PlanError, pool_budgets
from gato_jax.planning.memory import estimate_memory
from gato_jax.planning.topologies import Topology
from gato_jax.training import ConfigError, TrainConfig
from gato_jax.training.sharding import make_mesh, row_groups

REMATS = ("none", "dots", "full")  # each keeps less than the one before


def remedies(config: TrainConfig, topology: Topology, mixture: Mixture | None, *, needed: int, limit: int) -> list[str]:
    """Flags, each of which alone would do; what leaves the run as it is comes first.

    An estimate is scaled by how far that of the config itself is from what it is known to need. Where no single key
    does, it is the first combination that does, and where none does, a larger slice.
    """
    devices = topology.mesh_devices()
    scale = needed / _estimate(config, devices, mixture)

    def fits(changed: TrainConfig) -> bool:
        try:
            return _estimate(changed, devices, mixture) * scale <= limit
        except (ConfigError, PlanError):  # it does not divide
            return False

    ways = (_remats, _spreads, _accumulations, _batches)
    alone = [next((changed for changed in way(config, len(devices)) if fits(changed)), None) for way in ways]
    if any(alone):
        return [_flags(config, changed) for changed in alone if changed is not None]
    thrifty = [config, *_remats(config, len(devices))][-1]
    for spread in (thrifty, *_spreads(thrifty, len(devices))):
        for changed in (spread, *_accumulations(spread, len(devices))):
            if fits(changed):
                return [_flags(config, changed)]
    return [f"a larger slice than --topology={topology.name}, with --config.mesh.fsdp over it"]


def _estimate(config: TrainConfig, devices: list, mixture: Mixture | None) -> int:
    mesh = make_mesh(config.mesh, devices)
    pools = pool_budgets(config, row_groups(mesh) * config.compute.accumulate, mixture)
    return estimate_memory(config, mesh, pools.budgets).total


def _remats(config: TrainConfig, _: int) -> Iterator[TrainConfig]:
    for remat in REMATS[REMATS.index(config.compute.remat) + 1 :]:
        yield dataclasses.replace(config, compute=dataclasses.replace(config.compute, remat=remat))


def _spreads(config: TrainConfig, devices: int) -> Iterator[TrainConfig]:
    """Params over more devices, the rest of them along data; from the nearest on."""
    fsdp = max(config.mesh.fsdp, 1)
    while config.mesh.fsdp != -1 and (fsdp := 2 * fsdp) * config.mesh.tensor <= devices:
        yield dataclasses.replace(config, mesh=dataclasses.replace(config.mesh, data=-1, fsdp=fsdp))


def _accumulations(config: TrainConfig, _: int) -> Iterator[TrainConfig]:
    accumulate = config.compute.accumulate
    while (accumulate := 2 * accumulate) <= config.batch_size:
        yield dataclasses.replace(config, compute=dataclasses.replace(config.compute, accumulate=accumulate))


def _batches(config: TrainConfig, _: int) -> Iterator[TrainConfig]:
    batch = config.batch_size
    while batch := batch // 2:
        yield dataclasses.replace(config, batch_size=batch)


def _flags(config: TrainConfig, changed: TrainConfig) -> str:
    """The keys in which they differ."""
    keys = [("batch_size", config.batch_size, changed.batch_size)]
    for section in ("compute", "mesh"):
        before, after = (dataclasses.asdict(getattr(c, section)) for c in (config, changed))
        keys += [(f"{section}.{name}", before[name], after[name]) for name in after]
    return " ".join(f"--config.{name}={after}" for name, before, after in keys if before != after)
