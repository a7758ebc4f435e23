"""What a run begins with: new params, an image trunk from a file, or the params of another run."""

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
    """New params, each device making its own part."""
    return program.init(key)


def from_params(params: nnx.State) -> Start:
    """The given params, which the first step uses up, and an optimizer that knows nothing of how they came to be."""

    def start(program: Program, key: jax.Array) -> TrainState:
        state = program.init(key)
        placed = jax.tree.map(lambda new, old: jax.device_put(new, old.sharding), params, state.params)
        average = None if state.average is None else jax.tree.map(jnp.copy, placed)
        return state._replace(params=placed, average=average)

    return start


def with_image_trunk(path: pathlib.Path) -> Start:
    """New params, but for the ResNet-50 that embeds patches: its weights are torchvision's, from a local file."""
    weights = load_resnet50(path)

    def start(program: Program, key: jax.Array) -> TrainState:
        params = nnx.to_pure_dict(program.init(key).params)
        params["embedding"]["patch"]["resnet"] = weights
        like = jax.tree.map(lambda leaf: leaf, program.state.params)
        nnx.replace_by_pure_dict(like, params)
        return from_params(like)(program, key)

    return start
