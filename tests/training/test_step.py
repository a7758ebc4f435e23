"""One step: the same numbers however it is computed and spread over devices, and those of the paper's formulas."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from gato_jax.model import ComputeConfig, graphdef, stack_blocks, unstack_blocks
from gato_jax.training.config import MeshConfig
from gato_jax.training.sharding import make_mesh, param_shardings, place_batch
from gato_jax.training.step import TrainState, make_train_step
from tests.model import reference
from tests.model.made_model import TINY, alive, made_batch

KEEP = optax.trace(decay=0.0)  # an optimizer whose state is the gradient
WEIGHTS = (1.0, 0.25)
# What is left out at random has to be the same, too. With 32 channels each would be a group of its norm alone, and the
# gradient of the bias before it nothing but rounding.
RANDOM = dataclasses.replace(TINY, stochastic_depth=0.25, dropout=0.1, patch_channels=64)
KEY = jax.random.key(1)


def state_of(config, scan=False):
    params = stack_blocks(alive(config)) if scan else alive(config)
    return TrainState(params, KEEP.init(params), jnp.zeros((), jnp.int32))


def made_step(config, budget=200, **compute):
    compute = ComputeConfig(**{"attention": "dense", **compute})
    graph = graphdef(config, stacked=compute.scan)
    return make_train_step(graph, KEEP, compute=compute, target_budget=budget, loss_weights=WEIGHTS)


def gradients(after, scan=False):
    found = unstack_blocks(after.optimizer.trace) if scan else after.optimizer.trace
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), found)


def assert_close(found, expected, tolerance):
    """Within a share of the norm of each tensor."""
    for (path, two), one in zip(jax.tree.leaves_with_path(expected), jax.tree.leaves(found), strict=True):
        error = np.linalg.norm(one - two) / max(np.linalg.norm(two), 1e-12)
        assert error < tolerance, f"{jax.tree_util.keystr(path)}: {error:.2e}"


@pytest.fixture(scope="module")
def plainly():
    """Metrics and gradients of eight rows on one device, with the plainest attention and nothing computed again."""
    state = state_of(RANDOM)
    after, metrics = jax.jit(made_step(RANDOM))(state, made_batch(rows=8), KEY)
    return metrics, gradients(after)


@pytest.mark.parametrize(
    "compute",
    [
        {"attention": "blockwise"},
        pytest.param({"scan": True}, marks=pytest.mark.slow),
        {"scan": True, "remat": "full", "attention": "blockwise"},
        pytest.param({"remat": "dots"}, marks=pytest.mark.slow),
        {"remat": "attention", "attention": "blockwise"},
        {"loss_chunk": 7},
        {"accumulate": 4, "scan": True},
    ],
    ids=lambda value: " ".join(f"{k}={v}" for k, v in value.items()),
)
def test_however_a_step_is_computed_its_numbers_are_the_same(plainly, compute):
    scan, pools = compute.get("scan", False), compute.get("accumulate", 1)
    state, batch = state_of(RANDOM, scan), made_batch(rows=8, pools=pools)
    after, metrics = jax.jit(made_step(RANDOM, **compute))(state, batch, KEY)
    expected, expected_gradients = plainly
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-5, err_msg=name)
    assert_close(gradients(after, scan), expected_gradients, 1e-5)


@pytest.mark.parametrize(
    "mesh, compute",
    [
        pytest.param((8, 1, 1), {}, marks=pytest.mark.slow),
        pytest.param((1, 8, 1), {}, marks=pytest.mark.slow),
        ((2, 2, 2), {}),
        pytest.param((1, 2, 4), {"scan": True, "remat": "full", "attention": "blockwise"}, marks=pytest.mark.slow),
        ((2, 2, 2), {"accumulate": 2, "attention": "blockwise", "loss_chunk": 7}),
    ],
    ids=lambda value: "x".join(map(str, value)) if isinstance(value, tuple) else " ".join(value),
)
def test_eight_devices_give_the_numbers_of_one(plainly, mesh, compute):
    config = dataclasses.replace(RANDOM, heads=4) if mesh[2] == 4 else RANDOM
    expected, expected_gradients = plainly
    if config is not RANDOM:
        state = state_of(config)
        after, expected = jax.jit(made_step(config))(state, made_batch(rows=8), KEY)
        expected_gradients = gradients(after)
    mesh = make_mesh(MeshConfig(data=mesh[0], fsdp=mesh[1], tensor=mesh[2]))
    scan = compute.get("scan", False)
    state = state_of(config, scan)
    pools = mesh.shape["data"] * mesh.shape["fsdp"] * compute.get("accumulate", 1)
    placement = param_shardings(mesh, state)
    with jax.set_mesh(mesh):
        step = jax.jit(made_step(config, **compute), out_shardings=(placement, None))
        after, metrics = step(jax.device_put(state, placement), place_batch(mesh, made_batch(8, pools=pools)), KEY)
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-5, err_msg=name)
    assert_close(gradients(after, scan), expected_gradients, 1e-5)


def test_a_step_in_bfloat16_is_near(plainly):
    state = state_of(RANDOM)
    after, metrics = jax.jit(made_step(RANDOM, dtype="bfloat16", attention="blockwise"))(state, made_batch(8), KEY)
    expected, expected_gradients = plainly
    np.testing.assert_allclose(metrics["loss"], expected["loss"], rtol=0.01)
    np.testing.assert_allclose(metrics["gradient_norm"], expected["gradient_norm"], rtol=0.03)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(after.params))
    assert_close(gradients(after), expected_gradients, 0.1)


@pytest.mark.parametrize("position", ["relative_xl", "rope"])
def test_a_step_is_that_of_the_papers_formulas(position):
    """Loss, and its slope along the gradient by the loss's own differences, of NumPy float64."""
    config = dataclasses.replace(TINY, position=position)
    state, batch = state_of(config), made_batch(rows=2)
    low = batch.patch_intervals[..., 0::2]
    batch = batch.replace(patch_intervals=jnp.stack([low, low], axis=-1).reshape(*low.shape[:-1], 4))  # nothing to draw
    after, metrics = jax.jit(made_step(config, attention="blockwise"))(state, batch, KEY)
    gradient = nnx.to_pure_dict(gradients(after))
    pure = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), nnx.to_pure_dict(state.params))
    numpy_batch = jax.tree.map(np.asarray, batch)
    vocabulary = config.tokenization.vocabulary.size

    def loss(p):
        hidden = reference.gato(p, numpy_batch, config.patch_stride)
        return reference.cross_entropy(p, hidden, numpy_batch, vocabulary, np.array(WEIGHTS)[numpy_batch.dataset_ids])

    np.testing.assert_allclose(metrics["loss"], loss(pure), rtol=1e-5)
    for part in ("embedding", "blocks", "norm"):
        norm = np.sqrt(sum((leaf**2).sum() for leaf in jax.tree.leaves(gradient[part])))
        h = 1e-4 / norm
        up, down = (
            {**pure, part: jax.tree.map(lambda p, g, by=by: p + by * g, pure[part], gradient[part])} for by in (h, -h)
        )
        slope = (loss(up) - loss(down)) / (2 * h)
        np.testing.assert_allclose(slope, norm**2, rtol=1e-4, err_msg=part)


def test_the_loss_is_the_weighted_mean_over_targets(plainly):
    metrics, _ = plainly
    weights = np.array(WEIGHTS)
    np.testing.assert_allclose(metrics["loss"], weights @ metrics["sums"] / (weights @ metrics["counts"]), rtol=1e-6)


def test_the_gradient_norm_is_that_of_the_gradients(plainly):
    metrics, found = plainly
    squares = sum((leaf**2).sum() for leaf in jax.tree.leaves(found))
    np.testing.assert_allclose(metrics["gradient_norm"], np.sqrt(squares), rtol=1e-4)


def test_gradients_reach_exactly_what_the_papers_mask_lets_them():
    """A token's embedding is reached only from targets after it in its segment."""
    batch = made_batch(rows=2)
    one_target = jnp.zeros_like(batch.loss_mask).at[0, 6].set(True)
    ids = jnp.arange(40, dtype=jnp.int32).reshape(2, 20)
    batch = batch.replace(
        token_ids=ids, target_ids=ids + 50, loss_mask=one_target, patch_slots=jnp.full_like(batch.patch_slots, 40)
    )
    state = state_of(TINY)
    after, _ = jax.jit(made_step(TINY))(state, batch, KEY)
    table = np.asarray(nnx.to_pure_dict(gradients(after))["embedding"]["tokens"])
    as_input = np.abs(table[:40]).max(axis=1)
    as_output = np.abs(table[:160]).min()
    assert as_output > 0  # the head moves every row a little; what only the head moves lies along one vector
    hidden = table[159] / np.linalg.norm(table[159])
    across = np.linalg.norm(table[:40] - np.outer(table[:40] @ hidden, hidden), axis=1)
    np.testing.assert_array_equal(across > 1e-4 * as_input.max(), np.arange(40) < 6)


def test_an_average_of_the_params_follows_them():
    state = state_of(TINY)._replace(average=alive(TINY))
    step = make_train_step(
        graphdef(TINY), KEEP, compute=ComputeConfig(), target_budget=60, loss_weights=WEIGHTS, ema_decay=0.9
    )
    after, _ = jax.jit(step)(state, made_batch(), KEY)
    expected = jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, state.params, after.params)
    jax.tree.map(lambda one, two: np.testing.assert_allclose(one, two, atol=1e-6), after.average, expected)
