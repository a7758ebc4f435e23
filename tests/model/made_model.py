"""A model of two small layers whose params are all random, and a random batch for it."""

import jax
import jax.numpy as jnp
import numpy as np

from gato_jax.batching import Batch
from gato_jax.batching.batch import HOST_ONLY
from gato_jax.model import ModelConfig, initialise
from gato_jax.tokenization import Tokenization, Vocabulary

SMALL_VOCABULARY = Vocabulary(text=100, bins=60)
TINY = ModelConfig(
    layers=2, width=32, heads=2, head_size=8, hidden=48, patch_channels=32, patch_stride=4, stochastic_depth=0.0,
    tokenization=Tokenization(vocabulary=SMALL_VOCABULARY, local_positions=24),
)  # fmt: skip


def alive(config: ModelConfig, seed: int = 0):
    """Return params none of which is zero or one; many of the initial params are."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda: initialise(config, jax.random.key(0)))

    def draw(leaf):
        scale = 0.3 if leaf.ndim == 1 else np.prod(leaf.shape[:-1]) ** -0.5
        return jnp.asarray(rng.normal(scale=scale, size=leaf.shape), jnp.float32)

    return jax.tree.map(draw, shapes)


def made_batch(rows: int = 2, length: int = 20, seed: int = 0, pools: int = 1) -> Batch:
    """Return a batch with two segments and some padding in each row, and one or two patches, with room for three.

    The rows do not depend on `pools`; they are dealt out to the pools as the loader does.
    """
    rng = np.random.default_rng(seed)
    ids = rng.integers(SMALL_VOCABULARY.size, size=(rows, length), dtype=np.int32)
    segments = np.tile(np.repeat([1, 2, 0], [length // 2, length - length // 2 - 2, 2]).astype(np.int32), (rows, 1))
    low = rng.integers(0, 64, size=(rows, 2, 4), dtype=np.int32)
    low[..., 1::2] = low[..., 0::2] + 32
    images = rng.integers(256, size=(rows, 2, 16, 16, 3), dtype=np.uint8)
    targets = rng.integers(SMALL_VOCABULARY.size, size=(rows, length), dtype=np.int32)
    mask = (rng.random((rows, length)) < 0.4) & (segments > 0)
    local = rng.integers(24, size=(rows, length), dtype=np.int32)
    order = np.arange(rows).reshape(-1, pools).T.reshape(-1)
    in_pool, budget = rows // pools, 3 * (rows // pools)
    patches = np.zeros((pools, budget, 16, 16, 3), np.uint8)
    slots = np.full((pools, budget), in_pool * length, np.int32)
    intervals = np.zeros((pools, budget, 4), np.int32)
    for pool, members in enumerate(order.reshape(pools, in_pool)):
        places = [(place, row, n) for place, row in enumerate(members) for n in range(2 - row % 2)]
        for at, (place, row, n) in enumerate(places):
            patches[pool, at], intervals[pool, at] = images[row, n], low[row, n]
            slots[pool, at] = place * length + (3 if row % 2 else (1, 4)[n])
    batch = Batch(
        token_ids=ids[order],
        target_ids=targets[order],
        loss_mask=mask[order],
        local_position=local[order],
        segment_ids=segments[order],
        patches=patches,
        patch_slots=slots,
        patch_intervals=intervals,
        row_ids=order.astype(np.int32),
        dataset_ids=(order % 2).astype(np.int32),
        **HOST_ONLY,
    )
    return jax.tree.map(jnp.asarray, batch)


def without_patches(batch: Batch) -> Batch:
    """Return the batch with all patches turned into padding."""
    return batch.replace(patch_slots=jnp.full_like(batch.patch_slots, batch.token_ids.size))
