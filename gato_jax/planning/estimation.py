"""Estimate of a step's memory and communication by arithmetic, for devices without a compiler on this machine."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from gato_jax.batching import Budgets
from gato_jax.planning.collectives import Collectives, Traffic
from gato_jax.planning.compilation import StepCost
from gato_jax.planning.memory import estimate_memory, state_shapes
from gato_jax.training import TrainConfig
from gato_jax.training.sharding import AXES, row_groups


def estimate_step(config: TrainConfig, mesh: Mesh, budgets: Budgets, limit: int) -> StepCost:
    """Estimate the memory and collectives that `compile_step` would report; `seconds` and `executable` are None.

    Args:
      config: the run.
      mesh: devices by the axes data, fsdp and tensor.
      budgets: patches and targets that a pool, the rows of one device in one microbatch, has room for.
      limit: memory that a program may use on a device, in bytes.

    Raises:
      ConfigError: an axis of a param does not divide over the mesh.
    """
    return StepCost(estimate_memory(config, mesh, budgets).total, limit, None, _traffic(config, mesh), None)


def _traffic(config: TrainConfig, mesh: Mesh) -> Collectives:
    """Return the collectives of a step, over all its microbatches, with the bytes that one device sends.

    Over fsdp, params are gathered for the forward and again for the backward pass, and gradients are reduce-scattered.
    Over data, gradient shards are all-reduced. Gradients are float32. Over tensor, the output of each sub-layer is
    all-reduced in both passes.
    """
    data, fsdp, tensor = (mesh.shape[axis] for axis in AXES)
    size, microbatches = jnp.dtype(config.compute.dtype).itemsize, config.compute.accumulate
    params = state_shapes(config.model, config.optimizer, config.steps).params
    matrices = [leaf.size for leaf in jax.tree.leaves(params) if leaf.ndim > 1]
    held, gradients = sum(matrices) * size // tensor, sum(matrices) * 4 // tensor
    activations = config.batch_size // (row_groups(mesh) * microbatches) * config.context * config.model.width * size
    sub_layers = 2 * 2 * config.model.layers
    kinds = [
        ("all-gather", 2 * len(matrices), 2 * held * (fsdp - 1) // fsdp, fsdp),
        ("reduce-scatter", len(matrices), gradients * (fsdp - 1) // fsdp, fsdp),
        ("all-reduce", len(matrices), 2 * (gradients // fsdp) * (data - 1) // data, data),
        ("all-reduce", sub_layers, sub_layers * 2 * activations * (tensor - 1) // tensor, tensor),
    ]
    total = Collectives({})
    for kind, count, sent, devices in kinds:
        if devices > 1:
            total += Collectives({kind: Traffic(count, sent)})
    return total.times(microbatches)
