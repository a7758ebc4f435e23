"""What a step takes on devices that no compiler here knows: memory and traffic by arithmetic."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from gato_jax.batching import Budgets
from gato_jax.planning.collectives import Collectives, Traffic
from gato_jax.planning.compilation import Step
from gato_jax.planning.memory import estimate_memory, state_shapes
from gato_jax.training import TrainConfig
from gato_jax.training.sharding import AXES, row_groups


def estimate_step(config: TrainConfig, mesh: Mesh, budgets: Budgets, limit: int) -> Step:
    """In place of compiling it.

    Raises:
      ConfigError: a param does not divide over the mesh.
    """
    return Step(estimate_memory(config, mesh, budgets).total, limit, None, _traffic(config, mesh), None)


def _traffic(config: TrainConfig, mesh: Mesh) -> Collectives:
    """Over fsdp params are gathered, for the forward and for the backward pass, and gradients are added up in pieces;
    over data these are added up; over tensor, what each sub-layer makes, both ways.
    """
    data, fsdp, tensor = (mesh.shape[axis] for axis in AXES)
    size, microbatches = jnp.dtype(config.compute.dtype).itemsize, config.compute.accumulate
    params = state_shapes(config.model, config.optimizer, config.steps).params
    matrices = [leaf.size for leaf in jax.tree.leaves(params) if leaf.ndim > 1]
    held = sum(matrices) * size // tensor
    made = config.batch_size // (row_groups(mesh) * microbatches) * config.context * config.model.width * size
    sub_layers = 2 * 2 * config.model.layers
    kinds = [
        ("all-gather", 2 * len(matrices), 2 * held * (fsdp - 1) // fsdp, fsdp),
        ("reduce-scatter", len(matrices), held * (fsdp - 1) // fsdp, fsdp),
        ("all-reduce", len(matrices), 2 * (held // fsdp) * (data - 1) // data, data),
        ("all-reduce", sub_layers, sub_layers * 2 * made * (tensor - 1) // tensor, tensor),
    ]
    found = Collectives({})
    for kind, count, sent, devices in kinds:
        if devices > 1:
            found += Collectives({kind: Traffic(count, sent)})
    return found.times(microbatches)
