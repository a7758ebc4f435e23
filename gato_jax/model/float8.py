"""Products of activations with params in float8, with one scale for each tensor (arXiv 2209.05433).

Activations and params are rounded to E4M3 and gradients to E5M2, each after a division by a scale that maps its largest
number to the largest one of the format. Products are summed in float32. The scales follow from the tensors of the same
step, so no state is kept.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from gato_jax.model.axes import platform
from gato_jax.model.config import ComputeConfig
from gato_jax.model.einsum import Product, project

_FORWARD, _GRADIENT = jnp.float8_e4m3fn, jnp.float8_e5m2


def choose_product(compute: ComputeConfig) -> Product:
    """Return the product of activations and weights of a block that the settings ask for."""
    return project_float8 if compute.float8 else project


class Rounded(NamedTuple):
    """A tensor in float8: `values` times `scale`, a scalar in float32."""

    values: Array
    scale: Float[Array, ""]


def round_to_float8(x: Float[Array, "..."], dtype: DTypeLike) -> Rounded:
    """Return a tensor in a float8 format, scaled so that its largest number is the largest one of the format."""
    wide = x.astype(jnp.float32)
    largest = jnp.max(jnp.abs(wide))
    scale = jnp.where(largest > 0, largest / float(jnp.finfo(dtype).max), 1.0)
    return Rounded((wide / scale).astype(dtype), scale)


def project_float8(axes: str, x: Float[Array, "..."], weight: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return the product of activations and a weight in float8, in the dtype of the activations.

    Args:
      axes: subscripts, as for `jnp.einsum`. The summed letters are the last ones of `x` and the first ones of `weight`;
        the others follow each other in the result.
      x: activations.
      weight: weight; its gradient has its dtype.

    Raises:
      ValueError: the subscripts have another form.
    """
    operands, result = axes.split("->")
    x_axes, weight_axes = operands.split(",")
    summed = len(x_axes) + len(weight_axes) - len(result)
    if summed % 2 or x_axes[len(x_axes) - summed // 2 :] + result != weight_axes[: summed // 2] + (
        x_axes[: len(x_axes) - summed // 2] + weight_axes[summed // 2 :]
    ):
        raise ValueError(f"axes is {axes!r}, expected the form 'XK,KO->XO', where each letter stands for any number.")
    return cast(Any, _project)(summed // 2, x, weight)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _project(summed: int, x, weight):
    """Return the product over the last `summed` axes of `x` and the first ones of `weight`."""
    return _project_forward(summed, x, weight)[0]


def _project_forward(summed: int, x, weight):
    a, b = round_to_float8(x, _FORWARD), round_to_float8(weight, _FORWARD)
    kept = x.ndim - summed
    product = _multiply(a, b, range(kept, x.ndim), range(summed))
    # Empty arrays carry the dtypes to the backward pass.
    return product.astype(x.dtype), (a, b, jnp.zeros(0, x.dtype), jnp.zeros(0, weight.dtype))


def _project_backward(summed: int, residuals, grad):
    a, b, x_like, weight_like = residuals
    rounded = round_to_float8(grad, _GRADIENT)
    kept = a.values.ndim - summed
    x_grad = _multiply(rounded, b, range(kept, grad.ndim), range(summed, b.values.ndim))
    weight_grad = _multiply(a, rounded, range(kept), range(kept))
    return x_grad.astype(x_like.dtype), weight_grad.astype(weight_like.dtype)


_project.defvjp(_project_forward, _project_backward)


def _multiply(a: Rounded, b: Rounded, a_axes: range, b_axes: range) -> Float[Array, "..."]:
    """Return the product of two tensors, summed over these axes of each, in float32."""
    left, right = a.values, b.values
    if platform() == "cpu":  # XLA has no such product for CPUs; the rounded numbers multiplied as float32 are the same.
        left, right = left.astype(jnp.float32), right.astype(jnp.float32)
    axes = ((tuple(a_axes), tuple(b_axes)), ((), ()))
    return jax.lax.dot_general(left, right, axes, preferred_element_type=jnp.float32) * (a.scale * b.scale)
