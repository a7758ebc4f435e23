"""The masked cross-entropy against a loop over its definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gato_jax.model import graphdef
from gato_jax.training import loss
from gato_jax.training.loss import Targets, by_dataset, cross_entropy, find_targets, target_mask
from tests.model.made_model import TINY, alive, made_batch

BUDGET = 24


@pytest.fixture(scope="module")
def model():
    return nnx.merge(graphdef(TINY), alive(TINY))


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


def losses_of(model, hidden, batch, budget=BUDGET, chunk=7):
    targets = find_targets(batch, jnp.ones(len(batch.row_ids)), budget)
    return cross_entropy(model, hidden, targets, chunk)[1], targets


def test_it_is_what_the_paper_says(model, hidden, batch):
    losses, targets = losses_of(model, hidden, batch)
    by_hand = losses_by_hand(model, hidden, batch)
    count = len(by_hand)
    assert 0 < count < BUDGET
    np.testing.assert_allclose(losses[0, :count], list(by_hand.values()), rtol=1e-5)
    np.testing.assert_array_equal(targets.rows[0, :count], [b for b, _ in by_hand])
    np.testing.assert_array_equal(targets.weights[0], np.arange(BUDGET) < count)  # places beyond the last count nothing


def test_the_first_token_of_a_segment_is_no_target(batch):
    everywhere = batch.replace(loss_mask=jnp.ones_like(batch.loss_mask))
    np.testing.assert_array_equal(np.flatnonzero(~np.asarray(target_mask(everywhere)[0])), [0, 10, 18])


def test_gradients_flow_only_from_the_positions_before_targets(model, hidden, batch):
    def total(hidden):
        return cross_entropy(model, hidden, find_targets(batch, jnp.ones(2), BUDGET), 7)[0]

    reached = np.argwhere((jax.grad(total)(hidden) != 0).any(axis=-1))
    assert {tuple(at) for at in reached} == {(b, at - 1) for b, at in losses_by_hand(model, hidden, batch)}


@pytest.mark.parametrize("chunk", [1, 7, 24, 1000])
def test_the_gradient_made_in_chunks_is_that_of_all_logits_at_once(model, hidden, batch, chunk):
    row_weights = jnp.array([0.3, 2.0])
    targets = find_targets(batch, row_weights, BUDGET)

    def chunked(hidden, table):
        params = alive(TINY)
        params["embedding"]["tokens"] = params["embedding"]["tokens"].replace(table)
        return 0.5 * cross_entropy(nnx.merge(graphdef(TINY), params), hidden, targets, chunk)[0]

    def at_once(hidden, table):
        logits = jnp.einsum("BTD,VD->BTV", hidden, table[: TINY.tokenization.vocabulary.size])
        following = jnp.roll(batch.target_ids, -1, axis=1)[..., None]
        losses = -jnp.take_along_axis(jax.nn.log_softmax(logits), following, axis=-1)[..., 0]
        counted = jnp.roll(target_mask(batch), -1, axis=1).astype(jnp.float32)
        return 0.5 * (losses * counted * row_weights[:, None]).sum()

    table = model.embedding.tokens[...]
    found, expected = (jax.grad(f, argnums=(0, 1))(hidden, table) for f in (chunked, at_once))
    for one, two in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, two, atol=2e-5)


def test_a_token_that_is_no_target_changes_nothing(model, hidden, batch):
    others = jnp.where(target_mask(batch), batch.target_ids, 0)
    losses, _ = losses_of(model, hidden, batch)
    changed, _ = losses_of(model, hidden, batch.replace(target_ids=others))
    count = int(target_mask(batch).sum())
    np.testing.assert_array_equal(changed[0, :count], losses[0, :count])


def test_the_budget_changes_nothing(model, hidden, batch):
    small, large = (cross_entropy(model, hidden, find_targets(batch, jnp.ones(2), n), 7)[0] for n in (BUDGET, 40))
    np.testing.assert_allclose(small, large, rtol=1e-6)


def test_pools_find_the_targets_of_their_own_rows(model):
    one, four = made_batch(rows=8), made_batch(rows=8, pools=4)
    hidden = jax.random.normal(jax.random.key(0), (8, 20, TINY.width))
    weights = jnp.arange(1.0, 9.0)
    whole, _ = cross_entropy(model, hidden, find_targets(one, weights, 100), 7)
    order = four.row_ids
    dealt, _ = cross_entropy(model, hidden[order], find_targets(four, weights[order], 30), 7)
    np.testing.assert_allclose(dealt, whole, rtol=1e-5)


def test_sums_and_counts_of_each_dataset():
    losses = jnp.array([[1.0, 2.0, 3.0], [4.0, 9.0, 9.0]])
    rows = jnp.array([[0, 1, 1], [3, 2, 2]])
    weights = jnp.array([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])  # 0 marks a place without a target
    targets = Targets(rows, rows, weights, rows)
    sums, counts = by_dataset(losses, targets, jnp.array([2, 0, 1, 2]), 4)
    np.testing.assert_array_equal(sums, [5, 0, 5, 0])
    np.testing.assert_array_equal(counts, [2, 0, 2, 0])


def test_narrow_models_hold_fewer_logits_on_a_cpu(monkeypatch):
    assert [loss._fitting_chunk(chunk, 128) for chunk in (2048, 16)] == [128, 16]
    assert loss._fitting_chunk(2048, 768) == 2048
    monkeypatch.setattr(loss, "platform", lambda: "gpu")
    assert loss._fitting_chunk(2048, 128) == 2048
