"""Initial states of a run: new params, an image trunk from a file, or the params of another run."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from gato_jax.checkpoints import load_resnet50
from gato_jax.training.program import Program
from gato_jax.training.step import TrainState

Start = Callable[[Program, jax.Array], TrainState]


def from_scratch(program: Program, key: jax.Array) -> TrainState:
    """Return a state with new random params, of which each device makes its own part, at step 0."""
    return program.init(key)


def from_params(params: nnx.State) -> Start:
    """Return a function that starts a run at step 0 with the given params and a new state of the optimizer.

    The moving average of the params, if the run keeps one, begins as a copy of them. The first step donates the params,
    so they cannot be used afterwards.
    """

    def start(program: Program, key: jax.Array) -> TrainState:
        state = program.init(key)
        placed = jax.tree.map(lambda new, old: jax.device_put(new, old.sharding), params, state.params)
        average = None if state.average is None else jax.tree.map(jnp.copy, placed)
        return state._replace(params=placed, average=average)

    return start


def with_image_trunk(path: pathlib.Path) -> Start:
    """Return a function that starts a run with new params and torchvision's weights in the ResNet-50.

    The file is read at once. The model must have image_trunk=resnet_50.

    Args:
      path: Local safetensors file of the weights.

    Raises:
      WeightsError: The file has not these weights (see `load_resnet50`).
    """
    weights = load_resnet50(path)

    def start(program: Program, key: jax.Array) -> TrainState:
        params = nnx.to_pure_dict(program.init(key).params)
        params["embedding"]["patch"]["resnet"] = weights
        like = jax.tree.map(lambda leaf: leaf, program.state.params)
        nnx.replace_by_pure_dict(like, params)
        return from_params(like)(program, key)

    return start
