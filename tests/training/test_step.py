"""One step: the same on one device and on eight, however they are arranged, and what the optimizer does."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from gato_jax.model import graph_of
from gato_jax.training import ConfigError, MeshConfig, OptimizerConfig
from gato_jax.training.loss import by_dataset, cross_entropy
from gato_jax.training.optimizer import decayed, learning_rate, optimizer
from gato_jax.training.sharding import make_mesh, shard_batch, shard_params
from gato_jax.training.step import TrainState, make_train_step
from tests.model.made_model import TINY, alive, made_batch

PAPER = OptimizerConfig()
SGD = optax.sgd(1.0)  # with a rate of one, the gradient is what a step takes away
WEIGHTS = (1.0, 0.25)


@pytest.fixture(scope="module")
def step():
    return make_train_step(graph_of(TINY), SGD, target_budget=100, loss_weights=WEIGHTS)


@pytest.fixture(scope="module")
def batch():
    return made_batch(rows=8)


@pytest.fixture(scope="module")
def state():
    params = alive(TINY)
    return TrainState(params, SGD.init(params), jnp.zeros((), jnp.int32))


def gradients(before, after):
    return jax.tree.map(lambda a, b: np.asarray(a) - np.asarray(b), before.params, after.params)


@pytest.fixture(scope="module")
def on_one_device(step, state, batch):
    return jax.jit(step)(state, batch, jax.random.key(1))


@pytest.mark.parametrize("mesh", [(8, 1, 1), (1, 8, 1), (2, 2, 2)], ids=["data", "fsdp", "2x2x2"])
def test_eight_devices_give_the_loss_and_gradients_of_one(step, state, batch, on_one_device, mesh):
    mesh = make_mesh(MeshConfig(data=mesh[0], fsdp=mesh[1], tensor=mesh[2]))
    placed = jax.device_put(state, shard_params(mesh, state))
    after, metrics = jax.jit(step)(placed, jax.device_put(batch, shard_batch(mesh, batch)), jax.random.key(1))
    expected, expected_metrics = on_one_device
    for name, value in expected_metrics.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-5, err_msg=name)
    found = gradients(state, after)
    for (path, one), many in zip(
        jax.tree.leaves_with_path(gradients(state, expected)), jax.tree.leaves(found), strict=True
    ):
        np.testing.assert_allclose(many, one, atol=1e-5 * max(np.abs(one).max(), 1), err_msg=jax.tree_util.keystr(path))


def test_matrices_are_spread_over_fsdp_and_vectors_are_not(state):
    mesh = make_mesh(MeshConfig(data=1, fsdp=8))
    placed = jax.device_put(state.params, shard_params(mesh, state.params))
    for leaf in jax.tree.leaves(placed):
        share = leaf.addressable_shards[0].data.size / leaf.size
        spread = leaf.ndim > 1 and any(side % 8 == 0 for side in leaf.shape)
        assert share == (1 / 8 if spread else 1)


def test_rows_are_spread_over_data_and_fsdp(batch):
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    placed = jax.device_put(batch, shard_batch(mesh, batch))
    assert placed.token_ids.addressable_shards[0].data.shape == (2, 20)
    assert placed.patches.addressable_shards[0].data.shape[0] == 5  # five patches do not divide by four


@pytest.mark.parametrize(
    "mesh, said",
    [(MeshConfig(data=3), "does not cover 8 devices"), (MeshConfig(fsdp=-1), "at most one axis may be -1")],
)
def test_a_mesh_that_does_not_fit_is_refused(mesh, said):
    with pytest.raises(ConfigError, match=said):
        make_mesh(mesh)


def test_the_loss_is_the_weighted_mean_over_targets(state, batch, on_one_device):
    _, metrics = on_one_device
    model = nnx.merge(graph_of(TINY), state.params)
    hidden = jax.jit(model)(batch)  # this model has no stochastic depth, so only its patch positions are drawn
    _, rows = cross_entropy(model, hidden, batch, 100)
    _, counts = by_dataset(jnp.ones(100), rows, batch.dataset_ids, 2)
    np.testing.assert_array_equal(metrics["counts"], counts)
    weights = np.array(WEIGHTS)
    np.testing.assert_allclose(metrics["loss"], weights @ metrics["sums"] / (weights @ metrics["counts"]), rtol=1e-6)


def test_the_gradient_norm_is_that_of_the_gradients(state, on_one_device):
    after, metrics = on_one_device
    squares = sum((leaf.astype(np.float64) ** 2).sum() for leaf in jax.tree.leaves(gradients(state, after)))
    np.testing.assert_allclose(metrics["gradient_norm"], np.sqrt(squares), rtol=1e-4)
    assert int(after.step) == 1


def test_the_learning_rate_warms_up_and_falls_to_a_tenth():
    rate = learning_rate(PAPER, 1_000_000)
    at = {step: float(rate(step)) for step in (0, 7_500, 15_000, 507_500, 1_000_000)}
    assert at == pytest.approx({0: 1e-7, 7_500: 5.005e-5, 15_000: 1e-4, 507_500: 5.5e-5, 1_000_000: 1e-5}, rel=1e-4)


def test_matrices_and_tables_decay_and_biases_and_norms_do_not():
    mask = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree.leaves_with_path(decayed(alive(TINY)))}
    for name, decays in mask.items():
        assert decays == ("bias" not in name and "norm" not in name), name
    assert any("content_bias" in name for name in mask) and any("tokens" in name for name in mask)


def test_decay_shrinks_what_decays_and_nothing_else():
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    tx = optimizer(OptimizerConfig(initial_learning_rate=0.5, warmup_steps=1, weight_decay=0.1), 10)
    with jax.numpy_dtype_promotion("standard"):
        updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
    np.testing.assert_allclose(updates["kernel"], -0.05, rtol=1e-6)
    np.testing.assert_array_equal(updates["bias"], 0)
