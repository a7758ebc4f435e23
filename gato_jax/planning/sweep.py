"""The same run with other batches, spreads of its params and remat policies, to pick from."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

from gato_jax.batching import Mixture
from gato_jax.planning.budgets import PlanError
from gato_jax.planning.preflight import make_plan
from gato_jax.planning.remedies import REMATS
from gato_jax.planning.topologies import Topology
from gato_jax.training import ConfigError, TrainConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid:
    """What is tried: each batch with each fsdp with each remat policy."""

    batches: tuple[int, ...]
    fsdps: tuple[int, ...]
    remats: tuple[str, ...]

    def __post_init__(self):
        for name, values in (("batches", self.batches), ("fsdps", self.fsdps)):
            if wrong := [value for value in values if value < 1]:
                raise PlanError(f"--{name} must be positive, got {wrong[0]}")
        if wrong := [remat for remat in self.remats if remat not in REMATS]:
            raise PlanError(f"--remats: no policy {wrong[0]!r}; there are {', '.join(REMATS)}")

    @classmethod
    def around(
        cls,
        config: TrainConfig,
        topology: Topology,
        *,
        batches: Sequence[int] = (),
        fsdps: Sequence[int] = (),
        remats: Sequence[str] = (),
    ) -> Grid:
        """With the config's batch, params on one device up to those on 64, and all policies, where nothing is given."""
        rest = topology.devices // config.mesh.tensor
        spreads = [fsdp for fsdp in sorted({1, 4, 16, 64, min(rest, 64)}) if rest % fsdp == 0]
        return cls(
            batches=tuple(batches) or (config.batch_size,),
            fsdps=tuple(fsdps) or tuple(spreads),
            remats=tuple(remats) or REMATS,
        )

    def __len__(self) -> int:
        return len(self.batches) * len(self.fsdps) * len(self.remats)

    def __iter__(self) -> Iterator[tuple[int, int, str]]:
        return itertools.product(self.batches, self.fsdps, self.remats)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepRow:
    """One line of the table; of what cannot be, `refused` says why, and the rest is None.

    Attributes:
      again: share of the step's FLOPs that the remat policy costs.
      expected_tokens_per_second: see Plan.
    """

    batch: int
    fsdp: int
    remat: str
    refused: str | None = None
    hbm_bytes_per_device: int | None = None
    fits: bool = False
    again: float | None = None
    collective_bytes: int | None = None
    expected_tokens_per_second: float | None = None


def sweep(config: TrainConfig, topology: Topology, mixture: Mixture | None, grid: Grid) -> Iterator[SweepRow]:
    """A row for each point of the grid, as they come: each is compiled, which takes its time."""
    for batch, fsdp, remat in grid:
        changed = dataclasses.replace(
            config,
            batch_size=batch,
            mesh=dataclasses.replace(config.mesh, data=-1, fsdp=fsdp),
            compute=dataclasses.replace(config.compute, remat=remat),
        )
        row = SweepRow(batch=batch, fsdp=fsdp, remat=remat)
        try:
            plan = make_plan(changed, topology, mixture).plan
        except (ConfigError, PlanError) as error:
            yield dataclasses.replace(row, refused=str(error))
            continue
        yield dataclasses.replace(
            row,
            hbm_bytes_per_device=plan.hbm_bytes_per_device,
            fits=plan.fits,
            again=plan.step_flops.again / plan.step_flops.total,
            collective_bytes=None if plan.collectives is None else plan.collectives.bytes,
            expected_tokens_per_second=plan.expected_tokens_per_second,
        )


def best(rows: Sequence[SweepRow]) -> SweepRow | None:
    """Of those that fit the fastest; of equals the one whose devices send the least."""
    fitting = [row for row in rows if row.fits]
    return max(
        fitting, key=lambda row: (row.expected_tokens_per_second or 0, -(row.collective_bytes or 0)), default=None
    )
