"""A model of two small layers with parameters that are all alive, and a batch for it."""

import jax
import jax.numpy as jnp
import numpy as np

from gato_jax.batching import Batch
from gato_jax.model import ModelConfig, initialise
from gato_jax.tokenization import Tokenization, Vocabulary

SMALL_VOCABULARY = Vocabulary(text=100, bins=60)
TINY = ModelConfig(
    layers=2, width=32, heads=2, head_size=8, hidden=48, patch_channels=32, patch_stride=4, stochastic_depth=0.0,
    tokenization=Tokenization(vocabulary=SMALL_VOCABULARY, local_positions=24),
)  # fmt: skip


def alive(config: ModelConfig, seed: int = 0):
    """Params of which none is zero or one, as many are when training begins."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda: initialise(config, jax.random.key(0)))

    def draw(leaf):
        scale = 0.3 if leaf.ndim == 1 else np.prod(leaf.shape[:-1]) ** -0.5
        return jnp.asarray(rng.normal(scale=scale, size=leaf.shape), jnp.float32)

    return jax.tree.map(draw, shapes)


def made_batch(rows: int = 2, length: int = 20, seed: int = 0) -> Batch:
    """Two segments and some padding in each row, three patches of which the pool could hold five."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(SMALL_VOCABULARY.size, size=(rows, length), dtype=np.int32)
    segments = np.tile(np.repeat([1, 2, 0], [length // 2, length - length // 2 - 2, 2]).astype(np.int32), (rows, 1))
    low = rng.integers(0, 64, size=(5, 4), dtype=np.int32)
    low[:, 1::2] = low[:, 0::2] + 32
    batch = Batch(
        token_ids=ids,
        target_ids=rng.integers(SMALL_VOCABULARY.size, size=(rows, length), dtype=np.int32),
        loss_mask=(rng.random((rows, length)) < 0.4) & (segments > 0),
        local_position=rng.integers(24, size=(rows, length), dtype=np.int32),
        segment_ids=segments,
        prompt_mask=np.zeros((rows, length), bool),
        action_range=np.zeros((rows, length, 2), np.int32),
        patches=rng.integers(256, size=(5, 16, 16, 3), dtype=np.uint8),
        patch_slots=np.array([1, 4, length + 3 if rows > 1 else 6, rows * length, rows * length], np.int32),
        patch_intervals=low,
        dataset_ids=np.arange(rows, dtype=np.int32) % 2,
        episode_ids=np.zeros((rows, length), np.int32),
    )
    return jax.tree.map(jnp.asarray, batch)
