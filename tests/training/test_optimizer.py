"""The paper's schedules, and what decays, what is frozen and what is left alone."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gato_jax.model import param_path, stack_blocks
from gato_jax.training import OptimizerConfig
from gato_jax.training.optimizer import decay_mask, frozen_mask, learning_rate, optimizer
from tests.model.made_model import TINY, alive


def names_of(tree):
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree.leaves_with_path(tree)}


def test_the_learning_rate_warms_up_and_falls_to_a_tenth():
    rate = learning_rate(OptimizerConfig(), 1_000_000)
    at = {step: float(rate(step)) for step in (0, 7_500, 15_000, 507_500, 1_000_000)}
    assert at == pytest.approx({0: 1e-7, 7_500: 5.005e-5, 15_000: 1e-4, 507_500: 5.5e-5, 1_000_000: 1e-5}, rel=1e-4)


def test_a_constant_rate_is_constant_after_its_warm_up():
    rate = learning_rate(OptimizerConfig(schedule="constant", peak_learning_rate=1e-5, warmup_steps=10), 100)
    assert [float(rate(step)) for step in (0, 10, 50, 1000)] == pytest.approx([1e-7, 1e-5, 1e-5, 1e-5], rel=1e-6)
    from_the_start = learning_rate(OptimizerConfig(schedule="constant", peak_learning_rate=1e-5, warmup_steps=0), 100)
    assert float(from_the_start(0)) == pytest.approx(1e-5)


def test_matrices_and_tables_decay_and_biases_and_norms_do_not():
    mask = names_of(decay_mask(alive(TINY)))
    for name, decays in mask.items():
        assert decays == ("bias" not in name and "norm" not in name), name
    assert any("content_bias" in name for name in mask) and any("tokens" in name for name in mask)


def test_stacked_params_decay_as_those_of_each_block():
    each, stacked = (
        {param_path(path): leaf for path, leaf in jax.tree.leaves_with_path(decay_mask(params))}
        for params in (alive(TINY), stack_blocks(alive(TINY)))
    )
    for path, decays in stacked.items():
        assert decays == each[re.sub("^blocks", "blocks.1", path)], path


def test_what_is_frozen_is_the_trunk_without_its_projection():
    found = {name for name, is_frozen in names_of(frozen_mask(alive(TINY))).items() if is_frozen}
    assert found and all("'patch'" in name and "'out" not in name for name in found)


def test_decay_shrinks_what_decays_and_nothing_else():
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    tx = optimizer(OptimizerConfig(initial_learning_rate=0.5, warmup_steps=1, weight_decay=0.1), TINY, 10)
    with jax.numpy_dtype_promotion("standard"):
        updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
    np.testing.assert_allclose(updates["kernel"], -0.05, rtol=1e-6)
    np.testing.assert_array_equal(updates["bias"], 0)
