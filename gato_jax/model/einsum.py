"""Products of activations with params, whose gradients are summed in float32 whatever the compute dtype.

A param is held in float32 and rounded to the dtype of the activations where it is used. Its gradient is a sum over all
positions of a batch; in bfloat16 such a sum loses addends that are small beside it (docs/decisions.md).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gato_jax.model.axes import platform

Product = Callable[[str, Array, Array], Array]
"""A product of activations with a param, with the subscripts, arguments and result of `project`."""


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


def project(axes: str, x: Float[Array, "..."], weight: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return the einsum of activations and a weight, in the dtype of the activations.

    The gradient of the weight is summed in float32 and has the dtype of the weight.

    Args:
      axes: subscripts, as for `jnp.einsum`; each letter of an operand is in the other one or in the result.
      x: activations.
      weight: weight, which is rounded to the dtype of `x`.
    """
    return cast(Any, _project)(axes, x, weight)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _project(axes: str, x, weight):
    return _project_forward(axes, x, weight)[0]


def _project_forward(axes: str, x, weight):
    return jnp.einsum(axes, x, weight.astype(x.dtype)), (x, weight)


def _project_backward(axes: str, residuals, grad):
    x, weight = residuals
    operands, result = axes.split("->")
    x_axes, weight_axes = operands.split(",")
    x_grad = jnp.einsum(f"{result},{weight_axes}->{x_axes}", grad, weight.astype(x.dtype))
    return x_grad, _weight_grad(x_axes, result, weight_axes, x, grad).astype(weight.dtype)


def _weight_grad(x_axes: str, grad_axes: str, weight_axes: str, x, grad):
    """Return the gradient of a weight in float32.

    The first operand of a product over positions is transposed. On a CPU that takes longer than the product where the
    operand is large and computed on the way, such as GEGLU's, so it comes second, and the result is transposed. The
    barrier keeps XLA from swapping the operands back.
    """
    if platform() == "cpu" and x.size > grad.size:
        summed = [axis for axis in x_axes if axis not in weight_axes]
        order = [axis for axis in grad_axes + x_axes if axis not in summed]
        swapped = jax.lax.optimization_barrier(einsum_f32(f"{grad_axes},{x_axes}->{''.join(order)}", grad, x))
        return jnp.transpose(swapped, [order.index(axis) for axis in weight_axes])
    return einsum_f32(f"{x_axes},{grad_axes}->{weight_axes}", x, grad)


_project.defvjp(_project_forward, _project_backward)


def add_bias(x: Float[Array, "..."], bias: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return activations plus a bias that broadcasts to their last axes, in the dtype of the activations.

    The sum is computed in float32, and so is the gradient of the bias.
    """
    bias = bias.astype(jnp.float32).reshape((1,) * (x.ndim - bias.ndim) + bias.shape)
    return (x.astype(jnp.float32) + bias).astype(x.dtype)


def convolve(
    x: Float[Array, "P S S C"], kernel: Float[Array, "K K C O"], stride: int, padding: str | int
) -> Float[Array, "P S2 S2 O"]:
    """Return the convolution of images with a kernel, in the dtype of the images.

    The gradient of the kernel is summed in float32 and has the dtype of the kernel.

    Args:
      x: images, with their channels last.
      kernel: kernel, which is rounded to the dtype of `x`.
      stride: stride along both sides.
      padding: `SAME`, or the number of zeros to add on each side.
    """
    if padding == "SAME" and kernel.shape[:2] == (stride, stride) and not (x.shape[1] % stride or x.shape[2] % stride):
        return _multiply_tiles(x, kernel)
    return cast(Any, _convolve)(x, kernel, stride, padding)


def _multiply_tiles(x, kernel):
    """Return the convolution whose stride is the side of its kernel: one product of the tiles of the images.

    XLA's convolution takes 1.6 times as long on a CPU, gradients included.
    """
    side, _, channels, outputs = kernel.shape
    rows, columns = x.shape[1] // side, x.shape[2] // side
    tiles = x.reshape(len(x), rows, side, columns, side * channels)
    return project("PRITC,ICO->PRTO", tiles, kernel.reshape(side, side * channels, outputs))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _convolve(x, kernel, stride: int, padding: str | int):
    return _convolve_forward(x, kernel, stride, padding)[0]


def _convolution(x, kernel, stride: int, padding: str | int):
    pads = padding if isinstance(padding, str) else [(padding, padding)] * 2
    return jax.lax.conv_general_dilated(x, kernel, (stride, stride), pads, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _convolve_forward(x, kernel, stride: int, padding: str | int):
    return _convolution(x, kernel.astype(x.dtype), stride, padding), (x, kernel)


def _convolve_backward(stride: int, padding: str | int, residuals, grad):
    x, kernel = residuals
    rounded, wide = kernel.astype(x.dtype), x.astype(jnp.float32)
    (x_grad,) = jax.linear_transpose(lambda x: _convolution(x, rounded, stride, padding), x)(grad)
    to_kernel = jax.linear_transpose(lambda k: _convolution(wide, k, stride, padding), kernel.astype(jnp.float32))
    (kernel_grad,) = to_kernel(grad.astype(jnp.float32))
    return x_grad, kernel_grad.astype(kernel.dtype)


_convolve.defvjp(_convolve_forward, _convolve_backward)
