"""The deterministic loader: grain over the row index. Its state is one integer, the next batch."""

from __future__ import annotations

import dataclasses
import logging
import typing
from collections.abc import Sequence

import grain

from gato_jax.batching.batch import Batch, collate
from gato_jax.batching.dataset_config import MixtureError
from gato_jax.batching.mixture import Budgets, Mixture

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class _Rows:
    """The rows of the given pools of every batch of a run, as grain's random-access source."""

    mixture: Mixture
    steps: int
    pools: int
    mine: Sequence[int]

    @property
    def in_batch(self) -> int:
        return self.mixture.batch_size // self.pools * len(self.mine)

    def __len__(self) -> int:
        return self.steps * self.in_batch

    def __getitem__(self, index: typing.SupportsIndex):
        step, place = divmod(int(index), self.in_batch)
        pool, number = divmod(place, self.mixture.batch_size // self.pools)
        row = step * self.mixture.batch_size + self.mine[pool] + number * self.pools
        plan, tokens = self.mixture.build(row)
        return tokens, row, plan.dataset


class Loader:
    """Iterates over the batches of a run, from any step on.

    Args:
      pools: of a batch; which rows a batch has does not depend on it.
      mine: the numbers of the pools that are wanted here, of all if None: a host loads those of its own devices.
      budgets: of a pool, the mixture's worst case if None.

    Attributes:
      dataset: the batches as grain has them.
    """

    def __init__(
        self,
        mixture: Mixture,
        *,
        steps: int,
        first_step: int = 0,
        threads: int = 1,
        prefetch: int = 2,
        pools: int = 1,
        mine: Sequence[int] | None = None,
        budgets: Budgets | None = None,
    ):
        self.mixture = mixture
        mixture.require_pools(pools)
        budgets = budgets or mixture.budgets(pools)
        source = _Rows(mixture, steps, pools, range(pools) if mine is None else mine)

        def to_batch(rows) -> Batch:
            batch = collate(
                *zip(*rows, strict=True),
                context=mixture.context,
                patch=mixture.contract.tokenization.patch,
                patch_budget=budgets.patches,
                pools=len(source.mine),
            )
            most = int(batch.loss_mask.reshape(len(source.mine), -1).sum(axis=1).max())
            if most > budgets.targets:
                raise MixtureError(f"a pool holds {most} targets, over the budget of {budgets.targets}")
            return batch

        batches = grain.MapDataset.source(source).batch(source.in_batch, batch_fn=to_batch)
        options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=prefetch)
        self.dataset = batches[first_step:].to_iter_dataset(options)
        self._iterator = iter(self.dataset)
        self._next_step = first_step
        self._epochs = mixture.epochs(first_step)

    def __iter__(self):
        return self

    def __next__(self) -> Batch:
        batch = next(self._iterator)
        self._next_step += 1
        self._tell_of_epochs()
        return batch

    def _tell_of_epochs(self):
        """Says which datasets have run out and go on reshuffled."""
        epochs = self.mixture.epochs(self._next_step)
        for name, epoch, before in zip(self.mixture.names, epochs, self._epochs, strict=True):
            if epoch > before:
                _log.info("step %d: %s was seen whole, its epoch %d begins", self._next_step, name, epoch + 1)
        self._epochs = epochs

    def state_at(self, step: int) -> dict[str, int | str]:
        """What a checkpoint after so many batches holds: that number, and what the rows are a function of."""
        return {"next_step": step, "mixture": self.mixture.fingerprint}
