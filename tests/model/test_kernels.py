"""Tests of the kernels: outputs and gradients of the dense one, for packed rows too, or an error."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gato_jax.model import ComputeConfig, KernelError
from gato_jax.model.kernels import RelativePosition, attend
from gato_jax.model.kernels.splash import splash

ROWS, HEADS = 2, 3


def operands(length, size=8, seed=0):
    """Return queries, keys, values, relative positions and segments, of rows with up to four segments."""
    rng = np.random.default_rng(seed)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)  # noqa: E731
    query, keys, values = (draw(ROWS, length, HEADS, size) for _ in range(3))
    cuts = np.sort(rng.integers(length, size=(ROWS, 3)), axis=1)
    segments = jnp.asarray((np.arange(length)[None, :, None] >= cuts[:, None]).sum(-1), jnp.int32)
    position = RelativePosition(draw(HEADS, size), draw(HEADS, size), draw(HEADS, length, size))
    return query, keys, values, position, segments


def named(kernel):
    """Return `attend` for the kernel of this name, with the arguments of a kernel."""
    return functools.partial(attend, ComputeConfig(attention=kernel))


def loss(kernel, relative):
    def of(query, keys, values, position, segments):
        out = kernel(query, keys, values, segments, position if relative else None)
        return (out * jnp.cos(jnp.arange(out.size, dtype=jnp.float32)).reshape(out.shape)).sum(), out

    return jax.jit(jax.value_and_grad(of, argnums=(0, 1, 2, 3), has_aux=True))


@pytest.mark.parametrize("relative", [False, True], ids=["rope", "relative_xl"])
@pytest.mark.parametrize("length", [20, 128, 300])
def test_blockwise_is_dense(length, relative):
    given = operands(length)
    (_, plain), gradients = loss(named("dense"), relative)(*given)
    (_, found), blockwise = loss(named("blockwise"), relative)(*given)
    np.testing.assert_allclose(found, plain, atol=1e-5)
    for one, two in zip(jax.tree.leaves(blockwise), jax.tree.leaves(gradients), strict=True):
        np.testing.assert_allclose(one, two, atol=2e-5 * max(1, np.abs(two).max()))


def test_in_bfloat16_scores_and_softmax_are_float32():
    given = operands(300)
    (_, exact), _ = loss(named("dense"), True)(*given)
    half = jax.tree.map(lambda x: x.astype(jnp.bfloat16) if x.dtype == jnp.float32 else x, given)
    for kernel in ("dense", "blockwise"):
        out = named(kernel)(*half[:3], half[4], half[3])
        assert out.dtype == jnp.bfloat16
        np.testing.assert_allclose(out.astype(jnp.float32), exact, atol=0.03)


def test_splash_is_dense_where_its_kernel_is_interpreted():
    query, keys, values, _, segments = operands(256, size=64)
    expected = named("dense")(query, keys, values, segments)
    np.testing.assert_allclose(splash(query, keys, values, segments, interpret=True), expected, atol=1e-4)


def test_splash_refuses_what_its_tiles_cannot_hold():
    query, keys, values, _, segments = operands(200, size=64)
    with pytest.raises(KernelError, match="context is 200 and head_size 64, expected multiples of 128 and of 64. Set"):
        splash(query, keys, values, segments)


@pytest.mark.parametrize("kernel, needed", [("cudnn", "gpu"), ("cudnn_mask", "gpu"), ("splash", "tpu")])
def test_a_kernel_of_another_platform_is_refused_by_name(kernel, needed):
    query, keys, values, _, segments = operands(128, size=64)
    with pytest.raises(KernelError, match=f"compute.attention={kernel} runs on {needed} only, this is cpu; set it to"):
        attend(ComputeConfig(attention=kernel, dtype="bfloat16"), query, keys, values, segments)


def test_a_fused_kernel_refuses_relative_attention_and_cudnn_float32():
    splash = ComputeConfig(attention="splash", dtype="bfloat16")
    assert "splash cannot add the position scores of model.position=relative_xl" in str(splash.misfit("relative_xl"))
    assert splash.misfit("rope") is None
    with pytest.raises(ValueError, match="attention=cudnn computes in 16 bits, and dtype is float32. Set"):
        ComputeConfig(attention="cudnn")
