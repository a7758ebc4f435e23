"""A batch: rows of equal length, with the patches and targets of all rows pooled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gato_jax.tokenization import TokenSequence
from gato_jax.tokenization.sequence import PER_TOKEN


class Batch(NamedTuple):
    """B rows of T positions, and P patches under a fixed budget.

    Fields of TokenSequence, batched; besides:
      patch_slots: (P,) int32 into the flattened (B T) positions; B * T marks padding.
      dataset_ids: (B,) int32, of the mixture's datasets.
      episode_ids: (B, T) int32, the episode of its dataset that a token comes from, -1 at padding.
    """

    token_ids: np.ndarray
    target_ids: np.ndarray
    loss_mask: np.ndarray
    local_position: np.ndarray
    segment_ids: np.ndarray
    prompt_mask: np.ndarray
    action_range: np.ndarray
    patches: np.ndarray
    patch_slots: np.ndarray
    patch_intervals: np.ndarray
    dataset_ids: np.ndarray
    episode_ids: np.ndarray


def collate(
    rows: Sequence[TokenSequence],
    dataset_ids: Sequence[int],
    episode_ids: Sequence[np.ndarray],
    *,
    context: int,
    patch: int,
    patch_budget: int,
) -> Batch:
    """Pads rows to `context` and pools their patches. A row over the budget is a ValueError that says which."""
    count = len(rows)
    fields: dict[str, np.ndarray] = {}
    for name in PER_TOKEN:
        first = getattr(rows[0], name)
        padded = np.zeros((count, context, *first.shape[1:]), first.dtype)
        for b, row in enumerate(rows):
            padded[b, : len(row)] = getattr(row, name)
        fields[name] = padded
    fields["episode_ids"] = np.full((count, context), -1, np.int32)
    patches = np.zeros((patch_budget, patch, patch, 3), np.uint8)
    slots = np.full(patch_budget, count * context, np.int32)
    intervals = np.zeros((patch_budget, 4), np.int32)
    used = 0
    for b, row in enumerate(rows):
        fields["episode_ids"][b, : len(row)] = episode_ids[b]
        end = used + len(row.patch_slots)
        if end > patch_budget:
            raise ValueError(f"row {b} of the batch brings {end} patches, over the budget of {patch_budget}")
        if end > used:
            patches[used:end] = row.patches
            slots[used:end] = row.patch_slots + np.int32(b * context)
            intervals[used:end] = row.patch_intervals
        used = end
    return Batch(
        **fields,
        patches=patches,
        patch_slots=slots,
        patch_intervals=intervals,
        dataset_ids=np.array(dataset_ids, np.int32),
    )
