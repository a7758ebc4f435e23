"""A run's folder with two checkpoints, for the tests that read it."""

import jax
import jax.numpy as jnp
import optax
import pytest

from gato_jax.checkpoints import CheckpointStore
from gato_jax.training import TrainState
from tests.checkpoints.made_checkpoint import ABOUT
from tests.model.made_model import TINY, alive


@pytest.fixture(scope="session")
def params():
    return alive(TINY)


@pytest.fixture(scope="session")
def moments(params):
    return jax.tree.map(lambda leaf: leaf + 1, optax.adam(1e-3).init(params))


@pytest.fixture(scope="session")
def saved(params, moments, tmp_path_factory):
    """A workdir with the checkpoints of steps 10 and 20; the parameters of 10 are all zero. Do not change it."""
    workdir = tmp_path_factory.mktemp("run")
    store = CheckpointStore(workdir)
    for step, kept in ((10, jax.tree.map(jnp.zeros_like, params)), (20, params)):
        store.save(step, TrainState(kept, moments, step), loader={"next_step": step}, **ABOUT)
    store.wait()
    store.close()
    return workdir
