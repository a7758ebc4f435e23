"""Einsum with 16-bit operands and a float32 result."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from gato_jax.model.axes import platform


def einsum_f32(axes: str, a: Float[Array, "..."], b: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return the einsum of two arrays, multiplied in the dtype of `b` and summed in float32.

    Args:
      axes: subscripts, as for `jnp.einsum`.
      a: first operand; it is rounded to the dtype of `b`.
      b: second operand.

    Returns:
      The product in float32, for operands of any dtype.
    """
    a = a.astype(b.dtype)
    if platform() == "cpu":  # XLA has no such product for CPUs; the rounded numbers multiplied as float32 are the same.
        a, b = a.astype(jnp.float32), b.astype(jnp.float32)
    return jnp.einsum(axes, a, b, preferred_element_type=jnp.float32)
