"""A tiny model for all tests of this folder."""

import jax
import numpy as np
import pytest
from flax import nnx

from gato_jax.model import graphdef
from tests.model.made_model import TINY, alive


@pytest.fixture(scope="session")
def params():
    return alive(TINY)


@pytest.fixture(scope="session")
def model(params):
    return nnx.merge(graphdef(TINY), params)


@pytest.fixture(scope="session")
def pure(params):
    """Return the params as nested dicts of float64 arrays."""
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), nnx.to_pure_dict(params))


@pytest.fixture(scope="session")
def forward(params):
    """Return `forward(batch)`, which computes the hidden vectors and is compiled once."""
    graph = graphdef(TINY)
    compiled = jax.jit(lambda params, batch, key: nnx.merge(graph, params)(batch, key))
    return lambda batch, key=None: compiled(params, batch, key)
