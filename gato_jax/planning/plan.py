"""Plan of a run: whether it fits into memory, how fast it is, and how many days it takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from gato_jax.planning.budgets import PoolBudgets
from gato_jax.planning.collectives import Collectives
from gato_jax.planning.flops import StepFlops
from gato_jax.planning.roofline import Roofline


@dataclasses.dataclass(frozen=True, kw_only=True)
class Host:
    """Memory that the loader needs on one host, in bytes.

    Attributes:
      hosts: number of hosts of the topology.
      batch: size of the host's rows of one batch, with the fields that stay on the host.
      batches: number of batches that the loader holds at a time: those prefetched, one being built, and one being
        copied to the devices.
      row_index: size of the index of all timesteps; None without data.
      memory: memory of the usual machine; None where it differs between providers.
    """

    hosts: int
    batch: int
    batches: int
    row_index: int | None
    memory: int | None

    @property
    def loader(self) -> int:
        return self.batch * self.batches + (self.row_index or 0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """Plan of a training run on a topology. Sizes are in bytes.

    Attributes:
      topology: name of the topology, such as v3:16x16.
      parameters: number of parameters of the model.
      context: positions of a row.
      batch: rows of a batch.
      devices: number of devices.
      mesh: {axis: size} for data, fsdp and tensor.
      hbm_bytes_per_device: peak memory of a device. An estimate is within a fifth of what compilers reported for the
        same configs.
      hbm_limit: memory of a device that a program may use.
      fits: True if the peak is within the limit.
      remedies: changes as flags, such as `--config.compute.remat=full`, each of which alone would make the step fit;
        one combination of flags if no single change would; advice if no combination would. Empty if the step fits.
      estimated: True if memory and collectives are estimated because no compiler for these devices is present.
      compile_seconds: duration of the compilation, successful or not; None for an estimate.
      flops_per_token: FLOPs of a token by the convention 6N + 12LDT.
      step_flops: FLOPs that a step executes.
      tokens: tokens to train on in all.
      tokens_per_second_at_mfu: {percentage of MFU, "40", "50" or "60": tokens per second on all devices together}.
      days: {the same percentage: days of training on `tokens`}.
      roofline: seconds of each kind of work in a step; None where the step did not compile.
      expected_tokens_per_second: speed by the roofline; None where the step did not compile.
      collectives: communication of a step; None where it did not compile.
      pools: budgets of patches and targets.
      host: memory of the loader.
      serialized_bytes: size of the saved executable; None if it was not saved.
    """

    topology: str
    parameters: int
    context: int
    batch: int
    devices: int
    mesh: Mapping[str, int]
    hbm_bytes_per_device: int
    hbm_limit: int
    fits: bool
    remedies: tuple[str, ...]
    estimated: bool
    compile_seconds: float | None
    flops_per_token: int
    step_flops: StepFlops
    tokens: int
    tokens_per_second_at_mfu: Mapping[str, float]
    days: Mapping[str, float]
    roofline: Roofline | None
    expected_tokens_per_second: float | None
    collectives: Collectives | None
    pools: PoolBudgets
    host: Host
    serialized_bytes: int | None = None

    @property
    def notes(self) -> list[str]:
        """Sentences about what limits the accuracy or the efficiency of the plan; empty if nothing does."""
        notes = []
        if self.pools.rows == 1:
            notes.append(
                "a device has one row at a time, so its budget is that row's worst case and pooling saves nothing"
            )
        if "worst case" in (self.pools.patches_from, self.pools.targets_from):
            notes.append(
                "budgets are for the worst case, every position of a row; name a run's --workdir to take them from its "
                "data, or set config.patch_budget and config.target_budget"
            )
        if self.collectives is not None and (loops := self.collectives.unbounded_loops):
            notes.append(f"{loops} loops of unknown trip count have collectives, which are counted once")
        if self.estimated:
            notes.append("memory and collectives are estimated, as no compiler for these devices is present")
        return notes

    def to_json(self) -> dict[str, Any]:
        """Return the plan as the JSON object that `gato plan --json` writes.

        To the fields it adds `notes`, `collective_bytes` (bytes that a device sends in a step), `step_flops.total`,
        `host.loader`, `roofline.seconds` and `roofline.dominant`, the name of the term that takes longest.
        `collectives` is {kind: {"count", "bytes"}}; it, `collective_bytes` and `roofline` are None where the step did
        not compile.
        """
        plan = dataclasses.asdict(self) | {"notes": self.notes, "collectives": None, "collective_bytes": None}
        if self.collectives is not None:
            plan["collectives"] = {kind: traffic._asdict() for kind, traffic in self.collectives.kinds.items()}
            plan["collective_bytes"] = self.collectives.bytes
        plan["step_flops"]["total"] = self.step_flops.total
        if self.roofline is not None:
            plan["roofline"] |= {"seconds": self.roofline.seconds, "dominant": self.roofline.dominant}
        plan["host"]["loader"] = self.host.loader
        return plan
