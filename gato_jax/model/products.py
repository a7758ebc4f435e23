"""Matrix products of 16-bit numbers that are summed up in float32."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from gato_jax.model.axes import platform


def product(axes: str, a: Float[Array, "..."], b: Float[Array, "..."]) -> Float[Array, "..."]:
    """Einsum in the dtype of `b`, to which `a` is rounded; the result is float32.

    XLA has no such product for CPUs: there the rounded numbers are multiplied as float32, which is the same.
    """
    a = a.astype(b.dtype)
    if platform() == "cpu":
        a, b = a.astype(jnp.float32), b.astype(jnp.float32)
    return jnp.einsum(axes, a, b, preferred_element_type=jnp.float32)
