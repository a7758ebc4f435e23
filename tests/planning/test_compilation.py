"""Tests of the compiled training step, on eight CPU devices in place of a pod."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gato_jax.batching import Budgets
from gato_jax.planning import load_step, save_step
from gato_jax.planning.compilation import compile_step, out_of_memory
from gato_jax.training import MeshConfig
from gato_jax.training.program import make_program
from gato_jax.training.sharding import make_mesh
from tests.planning.made_plan import config

GIB = 2**30


@pytest.fixture(scope="module")
def program():
    run = config(mesh=MeshConfig(data=-1, fsdp=2))
    return make_program(run, make_mesh(run.mesh), Budgets(patches=16, targets=32), [1.0])


@pytest.fixture(scope="module")
def step(program):
    return compile_step(program, GIB)


def test_what_a_step_takes(step, program):
    """A device needs at least its half of the state, and the params are gathered."""
    held = sum(np.prod(leaf.sharding.shard_shape(leaf.shape)) * 4 for leaf in jax.tree.leaves(program.state))
    assert step.fits and held < step.hbm < step.limit == GIB
    assert step.seconds > 0 and step.collectives.kinds["all-gather"].bytes > 0 and not step.collectives.unbounded_loops


def test_a_saved_step_runs_where_it_is_loaded(step, program, tmp_path):
    size = save_step(step.executable, tmp_path / "folder" / "step")
    assert size == (tmp_path / "folder" / "step").stat().st_size > 10_000
    with jax.set_mesh(program.mesh):
        state = program.init(jax.random.key(0))
        batch = jax.tree.map(lambda s: jax.device_put(jnp.zeros(s.shape, s.dtype), s.sharding), program.batch)
        key = jax.device_put(jax.random.key(1), program.key.sharding)
        expected, _ = step.executable(jax.tree.map(jnp.copy, state), batch, key)
        made, metrics = load_step(tmp_path / "folder" / "step", program)(state, batch, key)
    assert int(made.step) == 1 and np.isfinite(metrics["loss"])
    for one, other in zip(jax.tree.leaves(made), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "said, needed, limit",
    [
        (
            "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries (360.94G) "
            "exceeds available HBM (15.48G).",
            360.94 * GIB,
            15.48 * GIB,
        ),
        (
            "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory space hbm. Used "
            "37.99G of 15.75G hbm. Exceeded hbm capacity by 22.24G.",
            37.99 * GIB,
            15.75 * GIB,
        ),
        ("Used 900.00M of 512.00M hbm", 900 * 2**20, 512 * 2**20),
    ],
)
def test_what_a_compiler_says_that_ran_out(said, needed, limit):
    assert out_of_memory(said) == (round(needed), round(limit))


def test_another_complaint_is_no_lack_of_memory():
    assert out_of_memory("RESOURCE_EXHAUSTED: Ran out of memory in memory space vmem.") is None
