"""Products in float8: their values, gradients and scales, and a whole model that uses them."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AbstractDevice, AbstractMesh, AxisType, use_abstract_mesh

from gato_jax.model import ComputeConfig, graphdef
from gato_jax.model.einsum import project
from gato_jax.model.float8 import project_float8, round_to_float8
from tests.model.made_model import TINY, alive, made_batch

SHAPES = {"BTD,DGF->BTGF": ((2, 8, 48), (48, 2, 24)), "BTNH,NHD->BTD": ((2, 8, 3, 16), (3, 16, 32))}


def operands(axes, dtype=jnp.bfloat16):
    x, weight = (jax.random.normal(jax.random.key(n), shape) for n, shape in enumerate(SHAPES[axes]))
    return (3e-4 * x).astype(dtype), 50.0 * weight


def error(value, wanted):
    value, wanted = (np.asarray(array, np.float64) for array in (value, wanted))
    return np.linalg.norm(value - wanted) / np.linalg.norm(wanted)


def test_rounding_uses_the_whole_range_of_the_format():
    rounded = round_to_float8(jnp.array([1e-6, -4e-6, 0.0]), jnp.float8_e4m3fn)
    assert float(jnp.abs(rounded.values.astype(jnp.float32)).max()) == 448.0
    np.testing.assert_allclose(rounded.values.astype(jnp.float32) * rounded.scale, [1e-6, -4e-6, 0.0], rtol=2**-4)


def test_zeros_stay_zeros():
    rounded = round_to_float8(jnp.zeros((3, 2)), jnp.float8_e5m2)
    assert float(rounded.scale) == 1.0 and not np.any(rounded.values.astype(jnp.float32))


@pytest.mark.parametrize("axes", SHAPES)
def test_values_and_gradients_are_those_of_the_wide_product_up_to_rounding(axes):
    """A number of E4M3 has 4 significant bits, one of E5M2 3: a product is off by at most 2**-5 + 2**-5, or 2**-4."""
    x, weight = operands(axes)
    cotangent = jax.random.normal(jax.random.key(2), jnp.einsum(axes, x, weight.astype(x.dtype)).shape, jnp.bfloat16)
    out, pull = jax.vjp(lambda x, w: project_float8(axes, x, w), x, weight)
    wanted, wanted_pull = jax.vjp(lambda x, w: project(axes, x, w), x.astype(jnp.float32), weight)
    assert out.dtype == x.dtype and 1e-3 < error(out, wanted) < 0.06
    for grad, exact, like in zip(pull(cotangent), wanted_pull(cotangent.astype(jnp.float32)), (x, weight), strict=True):
        assert grad.dtype == like.dtype and 1e-3 < error(grad, exact) < 0.09


def test_other_forms_are_refused():
    with pytest.raises(ValueError, match="'RD,DNH->NRH', expected the form"):
        project_float8("RD,DNH->NRH", jnp.zeros((2, 3)), jnp.zeros((3, 4, 5)))


def test_on_a_gpu_products_are_in_float8():
    axes = "BTD,DGF->BTGF"
    device = AbstractDevice(device_kind="any", num_cores=None, platform="gpu")
    mesh = AbstractMesh((1,), ("data",), axis_types=(AxisType.Auto,), abstract_device=device)
    grad = jax.jit(jax.grad(lambda x, w: project_float8(axes, x, w).astype(jnp.float32).sum(), argnums=(0, 1)))
    with use_abstract_mesh(mesh):
        text = grad.trace(*operands(axes)).lower(lowering_platforms=("cuda",)).as_text()
    products = re.findall(r"stablehlo\.dot_general.*: \(tensor<(\S+)>, tensor<(\S+)>\)", text)
    kinds = sorted(tuple(operand.split("x")[-1] for operand in pair) for pair in products)
    assert kinds == [("f8E4M3FN", "f8E5M2"), ("f8E5M2", "f8E4M3FN")]  # the forward pass' product is not needed


def test_a_model_in_float8_is_near_that_in_bfloat16():
    model, batch = nnx.merge(graphdef(TINY), alive(TINY)), made_batch()
    hidden = [model(batch, compute=ComputeConfig(dtype="bfloat16", float8=float8)) for float8 in (False, True)]
    assert 1e-3 < error(hidden[1], hidden[0]) < 0.15
