"""Tests of the flow of information between positions, of randomness, and of parameter counts."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gato_jax.model import ModelConfig, count_parameters, graphdef, initialise, published_config
from gato_jax.model.embedding import Embedding, fourier_bins
from gato_jax.model.layers import drop_path, dropout
from tests.model.made_model import TINY, alive, made_batch, without_patches


def changed(forward, batch, **fields):
    """Return (B, T) bool, True where a position's hidden vector changes with these fields of the batch."""
    return np.asarray((forward(batch) != forward(batch.replace(**fields))).any(axis=-1))


@pytest.mark.parametrize("position", [0, 5, 9, 10, 17])
def test_a_token_is_seen_from_its_own_position_on_within_its_segment_only(forward, position):
    batch = made_batch()
    batch = without_patches(batch)
    ids = batch.token_ids.at[0, position].set((batch.token_ids[0, position] + 1) % 100)
    moved = changed(forward, batch, token_ids=ids)
    segments = np.asarray(batch.segment_ids)
    expected = (segments[0] == segments[0, position]) & (np.arange(20) >= position)
    np.testing.assert_array_equal(moved[0], expected)
    assert not moved[1].any()


def test_a_patch_is_seen_from_its_slot_on(forward):
    batch = made_batch()
    moved = changed(forward, batch, patches=batch.patches.at[0, 1].set(255 - batch.patches[0, 1]))
    np.testing.assert_array_equal(moved[0], (np.arange(20) >= 4) & (np.arange(20) < 10))
    assert not moved[1].any()


def test_padding_patches_are_seen_from_nowhere(forward):
    batch = made_batch()
    assert not changed(forward, batch, patches=batch.patches.at[0, 3:].set(0)).any()


def test_only_distances_matter_in_attention(forward):
    batch = made_batch(rows=1)
    batch = without_patches(batch)
    alone = forward(batch.replace(segment_ids=jnp.ones_like(batch.segment_ids)))[0, :8]
    moved = jax.tree.map(lambda x: jnp.roll(x, 5, axis=1) if x.shape[:2] == (1, 20) else x, batch)
    segments = jnp.ones_like(batch.segment_ids).at[:, :5].set(2)
    np.testing.assert_allclose(forward(moved.replace(segment_ids=segments))[0, 5:13], alone, atol=1e-5)


@pytest.fixture(scope="module")
def deep():
    """Return forward(batch, seed) of the tiny model with stochastic depth 0.25."""
    config = dataclasses.replace(TINY, layers=1, stochastic_depth=0.25)
    graph, params = graphdef(config), alive(config)
    compiled = jax.jit(lambda batch, keys: nnx.merge(graph, params)(batch, keys))
    return lambda batch, seed=None: compiled(batch, None if seed is None else jax.random.split(jax.random.key(seed)))


def test_without_a_key_nothing_is_skipped_and_nothing_is_random(deep):
    batch = made_batch()
    np.testing.assert_array_equal(deep(batch), deep(batch))


def test_stochastic_depth_skips_whole_rows_dropout_elements_and_both_keep_the_expectation():
    keys = jax.random.split(jax.random.key(0), 4000)
    ones = jnp.ones((4000, 3, 5))
    skipped = np.asarray(drop_path(ones, keys, 0.25))
    assert (skipped == skipped[:, :1, :1]).all()
    np.testing.assert_allclose(np.unique(skipped), [0, 4 / 3], rtol=1e-6)
    np.testing.assert_allclose(skipped[:, 0, 0].mean(), 1, atol=0.05)
    dropped = np.asarray(dropout(ones, keys, 0.1))
    np.testing.assert_allclose(np.unique(dropped), [0, 1 / 0.9], rtol=1e-6)
    np.testing.assert_allclose(dropped.mean(axis=0), 1, atol=0.03)
    both = np.asarray(dropout(drop_path(ones, keys, 0.25), keys, 0.1))
    np.testing.assert_allclose(both, skipped * dropped, rtol=1e-6)


def test_each_row_draws_from_its_own_key_wherever_it_lies(deep):
    config = dataclasses.replace(TINY, stochastic_depth=0.25, dropout=0.3)
    graph, params = graphdef(config), alive(config)
    forward = jax.jit(lambda batch, keys: nnx.merge(graph, params)(batch, keys))
    keys = jax.vmap(lambda row: jax.random.fold_in(jax.random.key(7), row))
    one, four = made_batch(rows=8), made_batch(rows=8, pools=4)
    there, here = (np.asarray(forward(batch, keys(batch.row_ids))) for batch in (four, one))
    np.testing.assert_allclose(there, here[np.asarray(four.row_ids)], rtol=1e-5, atol=1e-5)
    assert not np.allclose(here, forward(one, keys(one.row_ids + 8)))


def test_a_skipped_block_is_the_identity(deep):
    """With one layer a row has at most four values: each of its two sub-layers kept or not."""
    batch = made_batch()
    batch = without_patches(batch)
    vectors = np.stack([np.asarray(deep(batch, seed))[0, 3] for seed in range(40)])
    assert len(np.unique(np.round(vectors, 4), axis=0)) == 4


def test_fourier_bins_are_smooth_and_scaled_like_other_rows():
    bins = fourier_bins(1024, 33)
    assert bins.shape == (1024, 33) and bins.dtype == np.float32
    np.testing.assert_allclose(bins[:, :32].std(), 32**-0.5, rtol=0.05)
    near = np.linalg.norm(bins[1:] - bins[:-1], axis=1).max()
    far = np.linalg.norm(bins[0] - bins[512])
    assert near < far


def test_fourier_bins_are_put_at_the_continuous_ids():
    config = dataclasses.replace(TINY, bin_init="fourier")
    plain, fourier = jax.jit(lambda: [Embedding(c, nnx.Rngs(0)).tokens[...] for c in (TINY, config)])()
    np.testing.assert_allclose(fourier[100:160], fourier_bins(60, 32), rtol=1e-6)
    np.testing.assert_array_equal(fourier[:100], plain[:100])
    np.testing.assert_array_equal(fourier[160:], plain[160:])


def test_training_starts_from_the_embedding_alone():
    """The last matrix of every sub-layer starts at zero, so the whole model starts as the norm of the embedding."""
    config = dataclasses.replace(TINY, layers=1)
    params = jax.jit(lambda key: initialise(config, key))(jax.random.key(0))
    model = nnx.merge(graphdef(config), params)
    batch = made_batch()
    batch = without_patches(batch)
    embedded = model.embedding.tokens[batch.token_ids] + model.embedding.local[batch.local_position]
    np.testing.assert_allclose(jax.jit(model)(batch), model.norm(embedded), atol=1e-5)


@pytest.mark.parametrize("name, published", [("79m", 79e6), ("364m", 364e6), ("1.18b", 1.18e9)])
def test_parameter_counts_are_the_papers_within_one_percent(name, published):
    shapes = jax.eval_shape(lambda: initialise(published_config(name), jax.random.key(0)))
    assert abs(count_parameters(shapes) / published - 1) < 0.01


def test_an_unknown_size_is_an_error():
    with pytest.raises(ValueError, match="size is '2b', expected one of 79m, 364m, 1.18b. Name one"):
        published_config("2b")


@pytest.mark.parametrize(
    "fields, said",
    [
        ({"layers": 0}, "model.layers is 0, expected a whole number in .0, 1000."),
        ({"hidden": 33}, "model.hidden is 33, expected a positive multiple of 2"),
        ({"patch_channels": 48}, "model.patch_channels is 48, expected a positive multiple of 32"),
        ({"patch_stride": 3}, "patch_stride is 3, expected a divisor of tokenization.patch .16."),
        ({"stochastic_depth": 1.0}, r"model.stochastic_depth is 1.0, expected a number in \[0, 1\)"),
    ],
)
def test_a_config_that_cannot_be_built_is_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        ModelConfig(**{"layers": 1, "width": 32, "heads": 2, "head_size": 8, "hidden": 32, **fields})
