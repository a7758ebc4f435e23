"""What a person wants to know before they rent a pod: does it fit, how fast is it, how many days does it take."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from gato_jax.planning.budgets import PoolBudgets
from gato_jax.planning.collectives import Collectives
from gato_jax.planning.flops import StepFlops


@dataclasses.dataclass(frozen=True, kw_only=True)
class Host:
    """RAM of one host, in bytes.

    Attributes:
      batch: of the host's rows, with what the step leaves behind.
      batches: that the loader holds at a time: those fetched ahead, one in the making, one under way to the devices.
      row_index: lengths of all timesteps; None where there are no data to take them from.
      memory: that the usual machine has; None where that differs.
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
    """A run on a topology. Sizes are bytes.

    Attributes:
      hbm_bytes_per_device: at the worst moment; of an estimate, within a fifth of what a compiler has made of the same.
      hbm_limit: what a program may fill.
      remedies: flags of which each would make it fit; none if it does.
      estimated: by arithmetic, as there is no compiler for these devices here.
      flops_per_token: 6N + 12LDT.
      step_flops: what a step really multiplies.
      tokens: to train on in all.
      collectives: None where the step did not compile.
      expected_tokens_per_second: at 50% of the peak in all that a step multiplies, or as fast as collectives go,
        whichever is slower.
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
    expected_tokens_per_second: float | None
    collectives: Collectives | None
    pools: PoolBudgets
    host: Host
    serialized_bytes: int | None = None

    @property
    def notes(self) -> list[str]:
        """What else there is to know, a sentence each."""
        said = []
        if self.pools.rows == 1:
            said.append(
                "a device has one row at a time: its budget is that row's worst case, and pooling saves nothing"
            )
        if "worst case" in (self.pools.patches_from, self.pools.targets_from):
            said.append(
                "budgets are every position, as no data say less: name a run's --workdir, or set config.patch_budget "
                "and config.target_budget"
            )
        if self.collectives is not None and self.collectives.endless:
            said.append(f"{self.collectives.endless} loops of unknown length have collectives, which are counted once")
        if self.estimated:
            said.append("memory and collectives are estimated: there is no compiler for these devices here")
        return said

    def to_json(self) -> dict[str, Any]:
        """As `gato plan --json` writes it."""
        plan = dataclasses.asdict(self) | {"notes": self.notes, "collectives": None, "collective_bytes": None}
        if self.collectives is not None:
            plan["collectives"] = {kind: traffic._asdict() for kind, traffic in self.collectives.kinds.items()}
            plan["collective_bytes"] = self.collectives.bytes
        plan["step_flops"]["total"] = self.step_flops.total
        plan["host"]["loader"] = self.host.loader
        return plan
