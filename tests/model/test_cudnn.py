"""Tests of cuDNN's attention where there is no GPU: the segments that it is given, and the program for a GPU."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gato_jax.model import ComputeConfig, KernelError, require_room
from gato_jax.model.kernels.cudnn import cudnn, cudnn_mask, find_segments, fused

LENGTH = 96  # differs from all other axes, so that an array of (T, T) can be found in the program's text


@pytest.fixture
def hopper(monkeypatch):
    """Make JAX believe that cuDNN and a GPU with packed attention are present; programs are lowered, not run."""
    monkeypatch.setattr(fused, "check_cudnn_version", lambda: 91_002)
    monkeypatch.setattr(fused, "check_compute_capability", lambda capability: True)


def program(kernel, *rest) -> str:
    """Return the text of outputs and gradients of a kernel, lowered for a GPU."""
    query = jax.ShapeDtypeStruct((2, LENGTH, 4, 64), jnp.bfloat16)
    segments = jax.ShapeDtypeStruct((2, LENGTH), jnp.int32)

    def loss(query, keys, values, segments):
        return kernel(query, keys, values, segments, *rest).astype(jnp.float32).sum()

    grad = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)))
    return grad.trace(query, query, query, segments).lower(lowering_platforms=("cuda",)).as_text()


def test_segments_of_rows():
    rows = [[1, 1, 2, 3, 3, 3], [5, 5, 5, 5, 0, 0], [1, 2, 3, 4, 0, 0], [0, 0, 1, 1, 0, 0]]
    starts, lengths, fits = find_segments(jnp.asarray(rows), 3)
    np.testing.assert_array_equal(starts, [[0, 2, 3, -1], [0, -1, -1, -1], [0, 1, 2, -1], [0, 2, -1, -1]])
    np.testing.assert_array_equal(lengths, [[2, 1, 3], [6, -1, -1], [1, 1, 1], [2, 4, -1]])
    np.testing.assert_array_equal(fits, [True, True, False, True])


@pytest.mark.parametrize("row_segments", [1, 5])
def test_cudnn_has_no_square_mask_and_no_transposed_operand(hopper, row_segments):
    text = program(cudnn, row_segments)
    assert f"{LENGTH}x{LENGTH}x" not in text
    assert len(re.findall(r"__cudnn\$fmhaSoftmax(?:Backward)?\(", text)) == 2
    assert ("PADDING_CAUSAL" in text) == (row_segments > 1)
    assert f"max_seg_per_batch\\22: {row_segments}" in text
    # The kernel's results are in its own order of axes, with a layout that makes each transpose a view.
    operands = [line for line in text.splitlines() if "stablehlo.transpose" in line]
    assert all("dims = [0, 2, 1, 3]" in line for line in operands) and len(operands) == 4


def test_the_mask_of_cudnn_mask_is_seen_by_this_test(hopper):
    assert f"{LENGTH}x{LENGTH}x" in program(cudnn_mask)


def test_a_row_with_too_many_segments_is_refused():
    rows = np.array([[1, 1, 2, 3, 0, 0], [1, 1, 1, 1, 1, 1]])
    few, enough = (ComputeConfig(attention="cudnn", dtype="bfloat16", row_segments=count) for count in (2, 3))
    with pytest.raises(KernelError, match="a row has 3 segments, compute.row_segments is 2. Set"):
        require_room(few, rows)
    require_room(enough, rows)
    require_room(ComputeConfig(), rows)
