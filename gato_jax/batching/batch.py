"""A batch: rows of equal length, with the patches of several rows pooled.

Axes:
    B rows   T positions   G pools of B/G consecutive rows   P patches of a pool, its budget   p side of a patch
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from gato_jax.tokenization import TokenSequence
from gato_jax.tokenization.fields import PER_PATCH, PER_TOKEN, Array, TokenFields

# The fields that the training step does not read: they are None in a batch on devices.
HOST_ONLY: dict[str, Any] = {name: None for name, field in PER_TOKEN.items() if not field.on_device}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Batch(TokenFields):
    """B rows of T positions in G pools of B/G consecutive rows, each pool with room for P patches; a pytree.

    A pool is the rows that one device embeds in one microbatch. Its patches are in one array, with padding at the end
    and not at each position without a patch, and no patch is sent to another device. The loader deals out the rows of
    the run to the pools in turn, so the rows of a pool are consecutive here and not in the run (see `Loader`).

    Attributes:
      token_ids, ...: (B, T, ...), the per-token fields of `TokenFields`. Those in `HOST_ONLY` are None on devices.
      patches, patch_slots, patch_intervals: (G, P, ...); a slot is an index into the B/G * T flattened positions of the
        pool's rows, and B/G * T marks padding.
      row_ids: (B,) int32, the number of the row in the run; its randomness depends on it alone.
      dataset_ids: (B,) int32, the number of the row's dataset in the mixture.
    """

    row_ids: Array
    dataset_ids: Array


class ArraySpec(NamedTuple):
    """Shape, dtype and padding value of one array of a batch; padding fills it where there is no token or patch."""

    shape: tuple[int, ...]
    dtype: type[np.generic]
    padding: int = 0


def batch_specs(*, rows: int, context: int, pools: int, patch: int, patch_budget: int) -> dict[str, ArraySpec]:
    """Return {field: ArraySpec} of a whole `Batch`, with the fields that stay on the host.

    Args:
      rows: Number of rows B.
      context: Positions of a row, T.
      pools: Number of pools G, a divisor of B.
      patch: Side of a patch p, in pixels.
      patch_budget: Number of patches P that a pool has room for.
    """
    specs = {
        name: ArraySpec((rows, context, *field.shape), field.dtype, field.padding) for name, field in PER_TOKEN.items()
    }
    for name, field in PER_PATCH.items():
        shape = (patch if side is None else side for side in field.shape)
        padding = rows // pools * context if name == "patch_slots" else 0
        specs[name] = ArraySpec((pools, patch_budget, *shape), field.dtype, padding)
    return specs | dict.fromkeys(("row_ids", "dataset_ids"), ArraySpec((rows,), np.int32))


def collate(
    rows: Sequence[TokenSequence],
    row_ids: Sequence[int],
    dataset_ids: Sequence[int],
    *,
    context: int,
    patch: int,
    patch_budget: int,
    pools: int = 1,
) -> Batch:
    """Pad rows to `context` positions and gather the patches of each pool in one array; all arrays are NumPy's.

    Args:
      rows: The rows, at most `context` tokens each; the first B/G make the first pool, and so on.
      row_ids: Number of each row in the run.
      dataset_ids: Index of each row's dataset in the mixture.
      context: Positions of a row, T.
      patch: Side of a patch p, in pixels.
      patch_budget: Number of patches P that a pool has room for.
      pools: Number of pools G, a divisor of B.

    Raises:
      ValueError: A pool has more patches than `patch_budget`, in which case the message names the row, or a row is
        longer than `context`.
    """
    specs = batch_specs(rows=len(rows), context=context, pools=pools, patch=patch, patch_budget=patch_budget)
    # np.zeros reserves pages without touching them, and most of a large patch pool may stay empty.
    arrays = {
        name: np.full(shape, padding, dtype) if padding else np.zeros(shape, dtype)
        for name, (shape, dtype, padding) in specs.items()
    }
    arrays["row_ids"][:], arrays["dataset_ids"][:] = row_ids, dataset_ids
    rows_in_pool, used = len(rows) // pools, [0] * pools
    for b, row in enumerate(rows):
        for name in PER_TOKEN:
            arrays[name][b, : len(row)] = getattr(row, name)
        pool, place = divmod(b, rows_in_pool)
        span = slice(used[pool], used[pool] + len(row.patch_slots))
        if span.stop > patch_budget:
            raise ValueError(f"row {b} of the batch brings {span.stop} patches, over its pool's budget {patch_budget}")
        if span.stop > span.start:
            for name in PER_PATCH:
                arrays[name][pool, span] = getattr(row, name)
            arrays["patch_slots"][pool, span] = row.patch_slots + np.int32(place * context)
        used[pool] = span.stop
    return Batch(**arrays)
