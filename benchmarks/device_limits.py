"""Limits of one device, for figures beside a training step: a large product, a copy, and gradients of table look-ups.

The gradient of `table[ids]` is a scatter-add. In bfloat16 a GPU does it with compare-and-swap loops that serialise on
repeated ids; summed in float32, or as a product with one-hot vectors, it is hundreds of times as fast.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_REPEATS = 10


def prepare_device(scale: int | None = None) -> Callable[[], dict[str, Any]]:
    """Compile the measurements of a device.

    Args:
      scale: number of rows of the product and of the look-ups. Default: 8192 on a GPU or TPU, 256 on a CPU.

    Returns:
      The function that measures, and returns FLOP/s, bytes/s and milliseconds.
    """
    side = scale or (256 if jax.default_backend() == "cpu" else 8192)
    a = jax.ShapeDtypeStruct((side, side), jnp.bfloat16)
    product = jax.jit(lambda x: x @ x).lower(a).compile()
    copy = jax.jit(lambda x: x + jnp.ones((), x.dtype)).lower(a).compile()
    width, rows, vocabulary = side // 4, 2 * side, 33_152
    tables = {"token": vocabulary, "local position": 512}
    look_ups = {
        f"{name} {dtype}": _gradient(size, width, rows, dtype)
        for name, size in tables.items()
        for dtype in ("bfloat16", "float32")
    }

    def measure() -> dict[str, Any]:
        x = jnp.ones((side, side), jnp.bfloat16)
        rng = np.random.default_rng(0)
        # 30% separators and bins near the middle, as in rows of a robot; all rows have one local position.
        bins = rng.normal(32_000 + 512, 60, rows).clip(32_000, 33_023)
        ids = {
            "token": np.where(rng.random(rows) < 0.3, 33_024, bins).astype(np.int32),
            "local position": np.zeros(rows, np.int32),
        }
        grad = jnp.ones((rows, width), jnp.bfloat16)
        return {
            "device": jax.devices()[0].device_kind,
            "product_flops_per_second": 2 * side**3 / _seconds(product, x),
            "copy_bytes_per_second": 2 * x.nbytes / _seconds(copy, x),
            "look_up_gradient_milliseconds": {
                name: 1e3 * _seconds(function, jnp.asarray(ids[name.rpartition(" ")[0]]), grad)
                for name, function in look_ups.items()
            },
        }

    return measure


def _gradient(size: int, width: int, rows: int, dtype: str):
    """Return the compiled gradient (size, width) of a look-up of `rows` rows of a table, summed in `dtype`."""

    def gradient(ids, grad):
        table = jnp.zeros((size, width), dtype)
        return table.at[ids].add(grad.astype(dtype))

    shapes = jax.ShapeDtypeStruct((rows,), jnp.int32), jax.ShapeDtypeStruct((rows, width), jnp.bfloat16)
    return jax.jit(gradient).lower(*shapes).compile()


def _seconds(function: Callable, *arguments: jax.Array) -> float:
    jax.block_until_ready(function(*arguments))
    started = time.perf_counter()
    for _ in range(_REPEATS):
        out = function(*arguments)
    jax.block_until_ready(out)
    return (time.perf_counter() - started) / _REPEATS
