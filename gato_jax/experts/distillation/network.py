"""The network of a distilled policy: a multilayer perceptron from the observations of a task to a mixture of actions.

A teacher may pass an obstacle on either side, and the mean of both leads into it. So the network has several modes: an
action for each, and their logits. It plays the most probable one. The same function runs in NumPy, to act, and in JAX,
to train.

Axes:
    b batch   i inputs of a layer   o outputs of a layer   m modes   a action
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

MEAN, SCALE = "input.mean", "input.scale"  # params that training sets from the data, without gradients
_RANGE = 5.0  # largest standardised input: the network has not seen larger ones


def param_shapes(inputs: int, hidden: Sequence[int], action: int, modes: int) -> dict[str, tuple[int, ...]]:
    """Return {name: shape} of the params of a network with these numbers of inputs, hidden units, actions and modes."""
    outputs = modes * (action + 1)
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


def act(params: Mapping[str, np.ndarray], inputs: np.ndarray, modes: int) -> np.ndarray:
    """Return the action (action,) of the most probable mode, in [-1, 1], for the inputs (inputs,) of one state."""
    actions, logits = forward(params, inputs[None], modes)
    return actions[0, np.argmax(logits[0])]


def forward(params: Mapping[str, Any], inputs: Any, modes: int, xp: Any = np) -> tuple[Any, Any]:
    """Return the actions (batch, modes, action) of all modes, in [-1, 1], and the logits (batch, modes).

    Sums run in the order of einsum, not of a matrix library, so that NumPy's results do not depend on its threads.

    Args:
      params: Arrays of `param_shapes`.
      inputs: Observations, (batch, inputs) float32.
      modes: Number of modes.
      xp: Module of the arrays, `numpy` or `jax.numpy`.
    """
    hidden = xp.clip((inputs - params[MEAN][None]) / params[SCALE][None], -_RANGE, _RANGE)
    last = (len(params) - 2) // 2 - 1
    for number in range(last + 1):
        kernel, bias = params[f"layers.{number}.kernel"], params[f"layers.{number}.bias"]
        outputs = xp.einsum("bi,io->bo", hidden, kernel) + bias[None]
        hidden = xp.tanh(outputs)
    return hidden[:, :-modes].reshape(len(inputs), modes, -1), outputs[:, -modes:]
