"""A batch: rows of equal length, with the patches of several rows pooled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gato_jax.tokenization import TokenSequence
from gato_jax.tokenization.sequence import PER_TOKEN


class Batch(NamedTuple):
    """B rows of T positions in G pools of B/G consecutive rows, each with P patches, its budget.

    A pool is what one device embeds at a time, so that only real patches are carried, and none between devices.

    Fields of TokenSequence, batched; besides:
      patches, patch_slots, patch_intervals: (G, P, ...); slots index the flattened positions of the pool's own rows,
        and B/G * T marks padding.
      row_ids: (B,) int32, the number of the row in the run; its randomness depends on it alone.
      dataset_ids: (B,) int32, of the mixture's datasets.
      episode_ids: (B, T) int32, the episode of its dataset that a token comes from, -1 at padding.

    A step does not read prompt_mask, action_range and episode_ids; on its way to the devices they are None.
    """

    token_ids: np.ndarray
    target_ids: np.ndarray
    loss_mask: np.ndarray
    local_position: np.ndarray
    segment_ids: np.ndarray
    prompt_mask: np.ndarray | None
    action_range: np.ndarray | None
    patches: np.ndarray
    patch_slots: np.ndarray
    patch_intervals: np.ndarray
    row_ids: np.ndarray
    dataset_ids: np.ndarray
    episode_ids: np.ndarray | None


def collate(
    rows: Sequence[TokenSequence],
    row_ids: Sequence[int],
    dataset_ids: Sequence[int],
    episode_ids: Sequence[np.ndarray],
    *,
    context: int,
    patch: int,
    patch_budget: int,
    pools: int = 1,
) -> Batch:
    """Pads rows to `context` and pools their patches. A pool over its budget is a ValueError that says which row."""
    count = len(rows)
    in_pool = count // pools
    fields: dict[str, np.ndarray] = {}
    for name in PER_TOKEN:
        first = getattr(rows[0], name)
        padded = np.zeros((count, context, *first.shape[1:]), first.dtype)
        for b, row in enumerate(rows):
            padded[b, : len(row)] = getattr(row, name)
        fields[name] = padded
    fields["episode_ids"] = np.full((count, context), -1, np.int32)
    patches = np.zeros((pools, patch_budget, patch, patch, 3), np.uint8)
    slots = np.full((pools, patch_budget), in_pool * context, np.int32)
    intervals = np.zeros((pools, patch_budget, 4), np.int32)
    used = [0] * pools
    for b, row in enumerate(rows):
        fields["episode_ids"][b, : len(row)] = episode_ids[b]
        pool, place = divmod(b, in_pool)
        here = slice(used[pool], used[pool] + len(row.patch_slots))
        if here.stop > patch_budget:
            raise ValueError(f"row {b} of the batch brings {here.stop} patches, over its pool's budget {patch_budget}")
        if here.stop > here.start:
            patches[pool, here] = row.patches
            slots[pool, here] = row.patch_slots + np.int32(place * context)
            intervals[pool, here] = row.patch_intervals
        used[pool] = here.stop
    return Batch(
        **fields,
        patches=patches,
        patch_slots=slots,
        patch_intervals=intervals,
        row_ids=np.array(row_ids, np.int32),
        dataset_ids=np.array(dataset_ids, np.int32),
    )
