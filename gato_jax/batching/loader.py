"""The deterministic loader: grain over the row index. Its state is one integer, the next batch."""

from __future__ import annotations

import dataclasses
import typing

import grain
import numpy as np

from gato_jax.batching.batch import Batch, collate
from gato_jax.batching.mixture import Mixture, MixtureError


@dataclasses.dataclass(frozen=True, eq=False)
class _Rows:
    """All rows of a run, as grain's random-access source."""

    mixture: Mixture
    steps: int

    def __len__(self) -> int:
        return self.steps * self.mixture.batch_size

    def __getitem__(self, index: typing.SupportsIndex):
        plan, tokens = self.mixture.build(int(index))
        pieces = [piece for segment in plan.segments for piece in segment]
        episodes = np.repeat([piece.episode for piece in pieces], [piece.keep for piece in pieces]).astype(np.int32)
        return tokens, plan.dataset, episodes


class Loader:
    """Iterates over the batches of a run, from any step on."""

    def __init__(self, mixture: Mixture, *, steps: int, first_step: int = 0, threads: int = 1, prefetch: int = 2):
        self.mixture = mixture
        budget, patch = mixture.patch_budget, mixture.contract.tokenization.patch

        def to_batch(rows) -> Batch:
            batch = collate(*zip(*rows, strict=True), context=mixture.context, patch=patch, patch_budget=budget)
            if (targets := int(batch.loss_mask.sum())) > mixture.target_budget:
                raise MixtureError(f"a batch holds {targets} targets, over the budget of {mixture.target_budget}")
            return batch

        rows = grain.MapDataset.source(_Rows(mixture, steps))
        batches = rows.batch(mixture.batch_size, batch_fn=to_batch)
        options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=prefetch)
        self._iterator = batches[first_step:].to_iter_dataset(options).__iter__()
        self._next_step = first_step

    def __iter__(self):
        return self

    def __next__(self) -> Batch:
        batch = next(self._iterator)
        self._next_step += 1
        return batch

    def state(self) -> dict[str, int | str]:
        """What a checkpoint holds: the next step, and what the rows are a function of."""
        return {"next_step": self._next_step, "mixture": self.mixture.fingerprint}
