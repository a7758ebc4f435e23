"""The masked cross-entropy against a loop over its definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gato_jax.model import graph_of
from gato_jax.training.loss import by_dataset, cross_entropy, target_mask
from tests.model.made_model import TINY, alive, made_batch

BUDGET = 24


@pytest.fixture(scope="module")
def model():
    return nnx.merge(graph_of(TINY), alive(TINY))


@pytest.fixture(scope="module")
def batch():
    return made_batch()


@pytest.fixture(scope="module")
def hidden(batch):
    rows, length = batch.token_ids.shape
    return jax.random.normal(jax.random.key(0), (rows, length, TINY.width))


def losses_by_hand(model, hidden, batch):
    """{(row, position): - log p(token | tokens before it)} of all targets."""
    table = np.asarray(model.embedding.tokens[...], np.float64)[: TINY.tokenization.vocabulary.size]
    losses = {}
    for b, position in np.argwhere(batch.loss_mask):
        if position == 0 or batch.segment_ids[b, position - 1] != batch.segment_ids[b, position]:
            continue  # the first token of a segment follows nothing
        logits = table @ np.asarray(hidden[b, position - 1], np.float64)
        log_sum = np.log(np.exp(logits - logits.max()).sum()) + logits.max()
        losses[int(b), int(position)] = log_sum - logits[batch.target_ids[b, position]]
    return losses


def test_it_is_what_the_paper_says(model, hidden, batch):
    losses, rows = cross_entropy(model, hidden, batch, BUDGET)
    by_hand = losses_by_hand(model, hidden, batch)
    count = len(by_hand)
    assert 0 < count < BUDGET
    np.testing.assert_allclose(losses[:count], list(by_hand.values()), rtol=1e-5)
    np.testing.assert_array_equal(rows[:count], [b for b, _ in by_hand])
    assert not losses[count:].any() and (rows[count:] == 2).all()  # places beyond the last target count nothing


def test_the_first_token_of_a_segment_is_no_target(batch):
    everywhere = batch._replace(loss_mask=jnp.ones_like(batch.loss_mask))
    np.testing.assert_array_equal(np.flatnonzero(~np.asarray(target_mask(everywhere)[0])), [0, 10, 18])


def test_gradients_flow_only_from_the_positions_before_targets(model, hidden, batch):
    def total(hidden):
        return cross_entropy(model, hidden, batch, BUDGET)[0].sum()

    reached = np.argwhere((jax.grad(total)(hidden) != 0).any(axis=-1))
    assert {tuple(at) for at in reached} == {(b, at - 1) for b, at in losses_by_hand(model, hidden, batch)}


def test_a_token_that_is_no_target_changes_nothing(model, hidden, batch):
    others = jnp.where(target_mask(batch), batch.target_ids, 0)
    losses, _ = cross_entropy(model, hidden, batch, BUDGET)
    np.testing.assert_array_equal(cross_entropy(model, hidden, batch._replace(target_ids=others), BUDGET)[0], losses)


def test_the_budget_changes_nothing(model, hidden, batch):
    small, large = (cross_entropy(model, hidden, batch, budget)[0].sum() for budget in (BUDGET, 40))
    np.testing.assert_allclose(small, large, rtol=1e-6)


def test_sums_and_counts_of_each_dataset():
    losses = jnp.array([1.0, 2.0, 3.0, 4.0, 0.0])
    rows = jnp.array([0, 1, 1, 3, 4])  # of a batch of four rows; 4 marks a place without a target
    sums, counts = by_dataset(losses, rows, jnp.array([2, 0, 1, 2]), 4)
    np.testing.assert_array_equal(sums, [5, 0, 5, 0])
    np.testing.assert_array_equal(counts, [2, 0, 2, 0])
