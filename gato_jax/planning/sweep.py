"""Sweep of plans of one run over batch sizes, fsdp axes and remat policies."""

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
    """All combinations of batch sizes, fsdp axes and remat policies to plan; iterating yields (batch, fsdp, remat).

    Construction raises PlanError for a number below 1 or an unknown remat policy.

    Attributes:
      batches: batch sizes, in rows.
      fsdps: sizes of the mesh axis fsdp.
      remats: remat policies: none, dots or full.
    """

    batches: tuple[int, ...]
    fsdps: tuple[int, ...]
    remats: tuple[str, ...]

    def __post_init__(self):
        for name, values in (("batches", self.batches), ("fsdps", self.fsdps)):
            if wrong := [value for value in values if value < 1]:
                raise PlanError(f"--{name} is {wrong[0]}, expected a positive number. Correct the list.")
        if wrong := [remat for remat in self.remats if remat not in REMATS]:
            raise PlanError(f"--remats is {wrong[0]}, expected some of {', '.join(REMATS)}. Correct the list.")

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
        """Return a grid of the given lists, with defaults for those that are empty.

        Args:
          config: the run, whose batch size is the default of `batches`.
          topology: its devices. With n the number of devices divided by the size of the tensor axis, the default of
            `fsdps` is the divisors of n among 1, 4, 16, 64 and min(n, 64).
          batches: batch sizes, in rows.
          fsdps: sizes of the mesh axis fsdp.
          remats: remat policies. Default: all.
        """
        rest = topology.devices // config.mesh.tensor
        sizes = [fsdp for fsdp in sorted({1, 4, 16, 64, min(rest, 64)}) if rest % fsdp == 0]
        return cls(
            batches=tuple(batches) or (config.batch_size,),
            fsdps=tuple(fsdps) or tuple(sizes),
            remats=tuple(remats) or REMATS,
        )

    def __len__(self) -> int:
        return len(self.batches) * len(self.fsdps) * len(self.remats)

    def __iter__(self) -> Iterator[tuple[int, int, str]]:
        return itertools.product(self.batches, self.fsdps, self.remats)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepRow:
    """Row of the table of a sweep.

    Attributes:
      batch: rows of a batch.
      fsdp: size of the mesh axis fsdp.
      remat: remat policy.
      refused: reason why this combination cannot be planned; None for a plan. With a reason, `fits` is False and the
        attributes below are None.
      hbm_bytes_per_device: peak memory of a device, in bytes.
      fits: True if the peak is within the limit.
      again: share of the step's FLOPs that recompute activations, by the remat policy.
      collective_bytes: bytes that a device sends in a step.
      expected_tokens_per_second: as in `Plan`; None where the step did not compile, as `collective_bytes`.
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
    """Yield a row for each combination of the grid; each may take a compilation of minutes.

    The data axis of the mesh takes the devices that fsdp and tensor leave.

    Args:
      config: the run, whose batch size, data and fsdp axes and remat policy are replaced.
      topology: its accelerators.
      mixture: its data; None for worst-case budgets where the config sets none.
      grid: the combinations. A combination for which `make_plan` raises ConfigError or PlanError gives a row with
        `refused`; other errors of `make_plan` are raised.
    """
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


def fastest(rows: Sequence[SweepRow]) -> SweepRow | None:
    """Return the row with the highest expected speed of those that fit; of equal speeds, that with the fewest bytes.

    If no row fits, return None.
    """
    fitting = [row for row in rows if row.fits]
    return max(
        fitting, key=lambda row: (row.expected_tokens_per_second or 0, -(row.collective_bytes or 0)), default=None
    )
