"""Budgets of patches and targets of the planned run, and the source of each."""

from __future__ import annotations

import dataclasses
from typing import Literal

from gato_jax.batching import Budgets, Mixture
from gato_jax.training import TrainConfig


class PlanError(ValueError):
    """A run that cannot be planned; the message names the value and the remedy."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PoolBudgets:
    """Budgets of one pool of a batch: the rows of one device in one microbatch.

    Attributes:
      pools: number of pools in a batch.
      rows: rows of a pool.
      patches: number of patches that a pool has room for.
      targets: number of targets that a pool has room for.
      patches_from: source of `patches`: "config" (its patch_budget), "data" (those of a run) or "worst case" (all
        positions of the rows).
      targets_from: source of `targets`, as for `patches_from`.
    """

    pools: int
    rows: int
    patches: int
    targets: int
    patches_from: Literal["config", "data", "worst case"]
    targets_from: Literal["config", "data", "worst case"]

    @property
    def budgets(self) -> Budgets:
        return Budgets(self.patches, self.targets)


def pool_budgets(config: TrainConfig, pools: int, mixture: Mixture | None) -> PoolBudgets:
    """Return the budgets of each pool, the rows of one device in one microbatch, for the batch size of the config.

    Args:
      config: the run, whose patch_budget and target_budget are taken as they are where they are set.
      pools: number of pools in a batch: devices over which rows are sharded, times microbatches.
      mixture: the data of a run, whose own batch size is ignored; None to assume that every position may be a patch or
        a target.

    Raises:
      PlanError: the batch size is not a multiple of `pools`.
    """
    rows, rest = divmod(config.batch_size, pools)
    if rest or not rows:
        raise PlanError(
            f"batch_size is {config.batch_size}, expected a multiple of {pools}, the devices that rows are sharded "
            "over (data x fsdp) times compute.accumulate. Change one of them."
        )
    budgets, source = Budgets(rows * config.context, rows * config.context), "worst case"
    if mixture is not None:
        budgets = dataclasses.replace(mixture, batch_size=config.batch_size).budgets(pools)
        source = "data"
    return PoolBudgets(
        pools=pools,
        rows=rows,
        patches=budgets.patches if config.patch_budget is None else config.patch_budget,
        targets=budgets.targets if config.target_budget is None else config.target_budget,
        patches_from=source if config.patch_budget is None else "config",
        targets_from=source if config.target_budget is None else "config",
    )
