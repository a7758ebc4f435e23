"""Tests of each block and of the whole model against NumPy float64."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gato_jax.model import ComputeConfig, graphdef
from gato_jax.model.embedding import patch_position
from gato_jax.model.kernels.blockwise import shift_to_keys
from tests.model import reference
from tests.model.made_model import TINY, alive, made_batch

TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(scope="module")
def batch():
    return made_batch()


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(1).normal(size=(2, 20, 32)).astype(np.float32)


def test_the_shift_turns_distances_into_keys():
    by_distance = jnp.arange(2 * 3 * 7 * 7, dtype=jnp.float32).reshape(2, 3, 7, 7)
    shifted = np.asarray(shift_to_keys(by_distance[..., ::-1]))
    for i in range(7):
        for j in range(i + 1):
            np.testing.assert_array_equal(shifted[:, :, i, j], by_distance[:, :, i, i - j])


@pytest.mark.parametrize("position", ["relative_xl", "rope"])
def test_attention(x, batch, position):
    config = dataclasses.replace(TINY, layers=1, position=position)
    params = alive(config)
    attention = nnx.merge(graphdef(config), params).blocks[0].attention
    found = jax.jit(lambda x, segments: attention(x, segments, ComputeConfig(attention="dense")))(x, batch.segment_ids)
    p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), nnx.to_pure_dict(params))["blocks"][0]["attention"]
    expected = [
        reference.attention(p, row.astype(float), segments) for row, segments in zip(x, batch.segment_ids, strict=True)
    ]
    np.testing.assert_allclose(found, expected, **TOLERANCE)


def test_geglu(model, pure, x):
    p = pure["blocks"][1]["feed_forward"]
    found = model.blocks[1].feed_forward(jnp.asarray(x))
    np.testing.assert_allclose(found, [reference.feed_forward(p, row.astype(float)) for row in x], **TOLERANCE)


def test_patch_block(model, pure, batch):
    found = jax.jit(model.embedding.patch)(batch.patches[0])
    p = pure["embedding"]["patch"]
    expected = [reference.patch_block(p, np.asarray(patch, float), TINY.patch_stride) for patch in batch.patches[0]]
    np.testing.assert_allclose(found, expected, **TOLERANCE)


def test_the_whole_model(forward, pure, batch):
    expected = reference.gato(pure, jax.tree.map(np.asarray, batch), TINY.patch_stride)
    real = np.asarray(batch.segment_ids) > 0
    np.testing.assert_allclose(np.asarray(forward(batch))[real], expected[real], rtol=1e-4, atol=1e-4)


def test_logits_are_by_the_token_table_and_never_of_padding_ids(model, pure):
    hidden = np.random.default_rng(0).normal(size=(3, 32)).astype(np.float32)
    logits = np.asarray(model.logits(jnp.asarray(hidden)))
    vocabulary = TINY.tokenization.vocabulary
    assert logits.shape[-1] == vocabulary.padded_size > vocabulary.size
    expected = hidden @ pure["embedding"]["tokens"].T
    np.testing.assert_allclose(logits[:, : vocabulary.size], expected[:, : vocabulary.size], **TOLERANCE)
    assert not np.asarray(jax.nn.softmax(logits))[:, vocabulary.size :].any()


def test_the_patch_position_in_evaluation_is_the_middle_of_the_papers_figure():
    row, column = patch_position(jnp.array([[32, 64, 51, 77]]), None)
    assert (int(row[0]), int(column[0])) == (48, 64)


def test_the_patch_position_in_evaluation_is_the_mean_rounded():
    thirds = jnp.array([[0, 43, 43, 85], [85, 128, 0, 128]])  # of an image of three by three patches
    row, column = patch_position(thirds, None)
    assert row.tolist() == [22, 106] and column.tolist() == [64, 64]


def test_patch_positions_in_training_are_uniform_within_their_interval():
    intervals = jnp.tile(jnp.array([[32, 64, 51, 77]]), (20_000, 1))
    row, column = patch_position(intervals, jax.random.uniform(jax.random.key(0), (20_000, 2)))
    for drawn, low, high in ((row, 32, 64), (column, 51, 77)):
        counts = np.bincount(np.asarray(drawn), minlength=128)
        assert counts.sum() == counts[low:high].sum() == 20_000
        expected = 20_000 / (high - low)
        assert (abs(counts[low:high] - expected) < 6 * np.sqrt(expected)).all()
    assert abs(np.corrcoef(row, column)[0, 1]) < 0.05


def test_patches_of_an_image_larger_than_the_position_tables_still_have_one():
    row, column = patch_position(jnp.array([[127, 128, 128, 128]]), jnp.array([[0.9, 0.9]]))
    assert (int(row[0]), int(column[0])) == (127, 127)
