"""The network of a distilled policy: a multilayer perceptron from the observations of a task to its action.

The same function runs in NumPy, to act, and in JAX, to train.

Axes:
    b batch   i inputs of a layer   o outputs of a layer
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

MEAN, SCALE = "input.mean", "input.scale"  # params that training sets from the data, without gradients
_RANGE = 5.0  # largest standardised input: the network has not seen larger ones


def param_shapes(inputs: int, hidden: Sequence[int], outputs: int) -> dict[str, tuple[int, ...]]:
    """Return {name: shape} of the params of a network with these numbers of inputs, hidden units and outputs."""
    shapes: dict[str, tuple[int, ...]] = {MEAN: (inputs,), SCALE: (inputs,)}
    for number, (fan_in, fan_out) in enumerate(zip([inputs, *hidden], [*hidden, outputs], strict=True)):
        shapes[f"layers.{number}.kernel"], shapes[f"layers.{number}.bias"] = (fan_in, fan_out), (fan_out,)
    return shapes


def initial_params(shapes: Mapping[str, tuple[int, ...]], seed: int) -> dict[str, np.ndarray]:
    """Return params of these shapes, float32: kernels with deviation 1 / sqrt(fan-in), the last one a tenth of it."""
    generator = np.random.default_rng(seed)
    params = {name: np.full(shape, float(name == SCALE), np.float32) for name, shape in shapes.items()}
    kernels = [name for name in shapes if name.endswith(".kernel")]
    for name in kernels:
        deviation = (0.1 if name == kernels[-1] else 1.0) / np.sqrt(shapes[name][0])
        params[name] = (deviation * generator.standard_normal(shapes[name])).astype(np.float32)
    return params


def forward(params: Mapping[str, Any], inputs: Any, xp: Any = np) -> Any:
    """Return the outputs (batch, outputs) of the network, in [-1, 1].

    Sums run in the order of einsum, not of a matrix library, so that NumPy's results do not depend on its threads.

    Args:
      params: Arrays of `param_shapes`.
      inputs: Observations, (batch, inputs) float32.
      xp: Module of the arrays, `numpy` or `jax.numpy`.
    """
    hidden = xp.clip((inputs - params[MEAN][None]) / params[SCALE][None], -_RANGE, _RANGE)
    for number in range((len(params) - 2) // 2):
        kernel, bias = params[f"layers.{number}.kernel"], params[f"layers.{number}.bias"]
        hidden = xp.tanh(xp.einsum("bi,io->bo", hidden, kernel) + bias[None])
    return hidden
