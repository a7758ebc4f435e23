"""Attention weights of one layer, computed densely and apart from the kernels, to look at.

Axes:
    B rows   T positions   N heads
"""

from __future__ import annotations

from jaxtyping import Array, Float

from gato_jax.model.config import ComputeConfig
from gato_jax.model.gato import Gato


def attention_weights(model: Gato, batch, layer: int = -1) -> Float[Array, "B N T T"]:
    """Return how much each position attends to each earlier one of its segment, in one layer.

    The weights of a position sum to 1. They are computed in float32 from the same params as in training, in memory that
    grows with the square of T.

    Args:
      model: The transformer, whose params are not stacked.
      batch: A batch as `Gato.__call__` takes it; no segment id may be negative.
      layer: Index of the layer; negative ones count from the last.
    """
    x = model.embedding(batch.token_ids, batch.local_position, batch.patches, batch.patch_slots, batch.patch_intervals)
    *before, block = model.block_list[: layer % model.layers + 1]
    for one in before:
        x = one(x, batch.segment_ids, None, ComputeConfig())
    return block.attention.weights(block.attention_norm(x), batch.segment_ids)
