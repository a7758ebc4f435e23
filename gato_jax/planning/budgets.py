"""How many patches and targets a pool of the planned run has room for, and who says so."""

from __future__ import annotations

import dataclasses
from typing import Literal

from gato_jax.batching import Budgets, Mixture
from gato_jax.training import TrainConfig


class PlanError(ValueError):
    """A run that cannot be planned; the message names the value and the remedy."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PoolBudgets:
    """Of each of `pools` pools, which has `rows` rows: those of a device in a microbatch.

    Attributes:
      patches_from, targets_from: the config's key, the data of a run, or, knowing neither, every position.
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
    """For the config, whose batch size need not be the mixture's.

    Raises:
      PlanError: the rows cannot be dealt out to so many pools.
    """
    rows, left = divmod(config.batch_size, pools)
    if left or not rows:
        raise PlanError(
            f"batch_size {config.batch_size} is no multiple of {pools}, the devices that rows are spread over (data x "
            "fsdp) times compute.accumulate; change one of them"
        )
    most, source = Budgets(rows * config.context, rows * config.context), "worst case"
    if mixture is not None:
        most = dataclasses.replace(mixture, batch_size=config.batch_size).budgets(pools)
        source = "data"
    by_hand = config.patch_budget, config.target_budget
    return PoolBudgets(
        pools=pools,
        rows=rows,
        patches=most.patches if by_hand[0] is None else by_hand[0],
        targets=most.targets if by_hand[1] is None else by_hand[1],
        patches_from=source if by_hand[0] is None else "config",
        targets_from=source if by_hand[1] is None else "config",
    )
