"""The deterministic loader of batches, by grain over the row index. Its state is one integer, the next batch."""

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
    """A random-access source, for grain, of the rows of some pools of every batch of a run.

    An item is (tokens, number of the row in the run, index of its dataset). The rows of each batch of the run are dealt
    out to its pools in turn: pool p has the rows p, p + pools, ... of them. The items of a batch are consecutive, pool
    after pool in the order of `local`, so that each pool of the `Batch` that is made of them is consecutive, too.

    Attributes:
      mixture: All rows of the run.
      steps: Number of batches of the run.
      pools: Number of pools of a batch; a pool is the rows of one device in one microbatch.
      local: Indices of the pools whose rows are wanted.
    """

    mixture: Mixture
    steps: int
    pools: int
    local: Sequence[int]

    @property
    def rows_per_batch(self) -> int:
        """Number of rows of one batch that are wanted, those of the pools in `local`."""
        return self.mixture.batch_size // self.pools * len(self.local)

    def __len__(self) -> int:
        return self.steps * self.rows_per_batch

    def __getitem__(self, index: typing.SupportsIndex):
        step, place = divmod(int(index), self.rows_per_batch)
        pool, number = divmod(place, self.mixture.batch_size // self.pools)
        row = step * self.mixture.batch_size + self.local[pool] + number * self.pools
        plan, tokens = self.mixture.build(row)
        return tokens, row, plan.dataset


class Loader:
    """Iterator over the batches of a run, from any step on; the arrays of a batch are NumPy's.

    Batches come in order, each once. A batch depends on the mixture and its index alone.

    Args:
      mixture: All rows of the run.
      steps: Number of batches of the whole run.
      first_step: Index of the first batch to load, counted from 0; `steps - first_step` batches are left.
      threads: Threads that build batches, each a whole one at a time.
      prefetch: Number of batches to build ahead; no more threads than this are at work.
      pools: Number of pools of a batch; a pool is the rows of one device in one microbatch. The rows of a batch do not
        depend on it, their order does, because they are dealt out to the pools in turn: first come the rows 0, pools,
        2 * pools, ... of the batch, which are pool 0.
      local: Indices of the pools to load, those of the devices of this host; None for all.
      budgets: Patches and targets that a pool has room for; None for the upper bounds of the mixture.

    Attributes:
      dataset: The batches as a grain dataset.

    Raises:
      MixtureError: The batch size is no multiple of `pools`, or, while iterating, a pool has more targets than its
        budget.
      ValueError: While iterating, a pool has more patches than its budget.
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
        local: Sequence[int] | None = None,
        budgets: Budgets | None = None,
    ):
        self.mixture = mixture
        mixture.require_pools(pools)
        budgets = budgets or mixture.budgets(pools)
        source = _Rows(mixture, steps, pools, range(pools) if local is None else local)

        def to_batch(rows) -> Batch:
            batch = collate(
                *zip(*rows, strict=True),
                context=mixture.context,
                patch=mixture.contract.tokenization.patch,
                patch_budget=budgets.patches,
                pools=len(source.local),
            )
            targets = int(batch.loss_mask.reshape(len(source.local), -1).sum(axis=1).max())
            if targets > budgets.targets:
                raise MixtureError(f"a pool has {targets} targets, over the budget of {budgets.targets}")
            return batch

        batches = grain.MapDataset.source(source).batch(source.rows_per_batch, batch_fn=to_batch)
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
        self._log_epochs()
        return batch

    def _log_epochs(self):
        """Log each dataset that has finished its first, second, fourth, eighth, ... epoch since the last call.

        The next epoch, in another order, is begun by the schedule and not by this method.
        """
        epochs = self.mixture.epochs(self._next_step)
        for name, epoch, before in zip(self.mixture.names, epochs, self._epochs, strict=True):
            if epoch.bit_length() > before.bit_length():
                _log.info("step %d: %s was seen whole, its epoch %d begins", self._next_step, name, epoch + 1)
        self._epochs = epochs

    def state_at(self, step: int) -> dict[str, int | str]:
        """Return the state for a checkpoint after `step` batches: {"next_step": step, "mixture": fingerprint}."""
        return {"next_step": step, "mixture": self.mixture.fingerprint}
