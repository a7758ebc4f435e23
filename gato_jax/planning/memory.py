"""Estimate of a training step's memory by arithmetic, where no compiler reports it and to find a config that fits.

Params and optimizer state are exact. Activations are those that the remat policy keeps for the backward pass, and the
temporaries of a block, of the patch embedding or of a chunk of logits; a compiler may need less.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh

from gato_jax.batching import Budgets
from gato_jax.model import ComputeConfig, ModelConfig, count_parameters, graphdef, initialise
from gato_jax.training import OptimizerConfig, TrainConfig, TrainState
from gato_jax.training.optimizer import optimizer
from gato_jax.training.program import batch_shapes
from gato_jax.training.sharding import batch_shardings, param_shardings, row_groups
from gato_jax.training.step import make_initial_state

_SCORES = 3  # arrays of the size of the scores that the dense kernel holds at a time: scores, weights and a gradient


@dataclasses.dataclass(frozen=True, kw_only=True)
class Memory:
    """Peak memory of one device, in bytes.

    Attributes:
      state: params, optimizer moments and the moving average of params.
      copies: params in compute.dtype: the device's shards of all, and the gathered token table and two gathered blocks.
      activations: activations that are kept for the backward pass.
      working: the larger of two needs: gradients with the temporaries of a block or of the patch embedding; or a chunk
        of logits with its gradient and the gradient of the token table.
      batch: the device's rows and patches of the whole batch.
    """

    state: int
    copies: int
    activations: int
    working: int
    batch: int

    @property
    def total(self) -> int:
        return sum(dataclasses.astuple(self))


def estimate_memory(config: TrainConfig, mesh: Mesh, budgets: Budgets) -> Memory:
    """Estimate the memory of one training step on one device.

    Args:
      config: the run.
      mesh: devices by the axes data, fsdp and tensor.
      budgets: patches and targets that a pool, the rows of one device in one microbatch, has room for.

    Raises:
      ConfigError: an axis of a param does not divide over the mesh.
    """
    state = state_shapes(config.model, config.optimizer, config.steps)
    tensor, size = mesh.shape["tensor"], jnp.dtype(config.compute.dtype).itemsize
    pools = row_groups(mesh) * config.compute.accumulate
    tokens = config.batch_size // pools * config.context
    params = state.params
    copies = _bytes_per_device(params, param_shardings(mesh, params)) * size // 4
    gathered = count_parameters(params["embedding"]["tokens"]) + 2 * count_parameters(params["blocks"][0])
    # Gradients are float32, and so is their sum over microbatches.
    gradients = copies * 4 // size * min(config.compute.accumulate, 2)
    block, patch = _block_temporaries(config.model, tensor), _patch_temporaries(config.model)
    if writes_score_gradients(config):
        block += config.model.heads // tensor * config.context
    blocks_or_patches = max(tokens * block, budgets.patches * patch) * size
    batch = batch_shapes(config, pools, budgets)
    return Memory(
        state=_bytes_per_device(state, param_shardings(mesh, state)),
        copies=copies + gathered * size // tensor,
        activations=config.model.layers * _saved_bytes(config, tokens, tensor, size),
        working=max(gradients + blocks_or_patches, _head_bytes(config, budgets, tensor, size)),
        batch=_bytes_per_device(batch, batch_shardings(mesh, batch)),
    )


def writes_score_gradients(config: TrainConfig) -> bool:
    """Return True if the attention kernel writes the gradients of all T x T scores by distance in compute.dtype."""
    return config.compute.attention == "triton" and config.model.position == "relative_xl"


@functools.lru_cache(maxsize=8)
def state_shapes(model: ModelConfig, optimizer_config: OptimizerConfig, steps: int) -> TrainState:
    """Return the training state (params, optimizer state, step, moving average) as unsharded ShapeDtypeStructs.

    Args:
      model: config of the model.
      optimizer_config: config of the optimizer.
      steps: number of training steps, for the schedule of the learning rate.
    """
    init = make_initial_state(
        functools.partial(initialise, model),
        optimizer(optimizer_config, model, steps),
        average=optimizer_config.ema_decay is not None,
    )
    return jax.eval_shape(init, jax.eval_shape(lambda: jax.random.key(0)))


@functools.lru_cache(maxsize=8)
def block_residual_bytes(model: ModelConfig, compute: ComputeConfig, context: int) -> int:
    """Return the bytes that a scanned block saves for its backward pass of one row, counted by tracing it.

    With `scan`, all of them are in memory, in stacks over the layers. Without it, a compiler computes those again that
    are no operand of a product.
    """
    one = dataclasses.replace(model, layers=1, stochastic_depth=0.0, dropout=0.0)
    traced = dataclasses.replace(compute, attention="blockwise", scan=False)  # all kernels save the same arrays
    structure = graphdef(one)

    def residuals(params, x, segment_ids):
        def apply(params, x):
            return nnx.merge(structure, params)._apply_blocks(x, segment_ids, None, traced)

        return jax.vjp(apply, params, x)[1]

    params = jax.eval_shape(functools.partial(initialise, one), jax.eval_shape(lambda: jax.random.key(0)))
    x = jax.ShapeDtypeStruct((1, context, model.width), compute.dtype)
    saved = jax.eval_shape(residuals, params, x, jax.ShapeDtypeStruct((1, context), jnp.int32))
    of_params = {leaf.shape for leaf in jax.tree.leaves(params)}
    leaves = [leaf for leaf in jax.tree.leaves(saved) if leaf.shape not in of_params]
    return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)


def _saved_bytes(config: TrainConfig, tokens: int, tensor: int, size: int) -> int:
    """Return the bytes that one block on one device saves for its backward pass.

    Without remat these are the operands of its products and norms, or with `scan` all residuals.

    Args:
      config: the run.
      tokens: positions of one device in one microbatch.
      tensor: number of devices along the mesh axis tensor.
      size: bytes of a number in the compute dtype.
    """
    model, compute, heads = config.model, config.compute, config.model.heads * config.model.head_size // tensor
    if compute.remat == "full":
        return tokens * size * model.width
    if compute.remat == "attention":
        return tokens * size * (model.width + heads)
    if compute.remat == "dots":
        return tokens * size * (3 * model.width + 4 * heads + model.hidden // tensor)
    if compute.scan:
        return tokens // config.context * block_residual_bytes(model, compute, config.context)
    queries = 2 if model.position == "relative_xl" else 1
    saved = 4 * model.width + (3 + queries) * heads + 3 * model.hidden // (2 * tensor)
    scores = _SCORES * model.heads // tensor * config.context if compute.attention == "dense" else 0
    return tokens * size * (saved + scores)


def _block_temporaries(model: ModelConfig, tensor: int) -> int:
    """Return the number of temporary elements for each position in the backward pass of a block, without scores.

    It is that of one device; `tensor` is the number of devices along the mesh axis tensor.
    """
    return 6 * model.width + (8 * model.heads * model.head_size + 3 * model.hidden) // tensor


def _patch_temporaries(model: ModelConfig) -> int:
    """Return the number of temporary elements for each patch in the backward pass of the patch block."""
    side = model.tokenization.patch
    return 6 * (side // model.patch_stride) ** 2 * model.patch_channels + 2 * side**2 * 3 + 4 * model.width


def _head_bytes(config: TrainConfig, budgets: Budgets, tensor: int, size: int) -> int:
    """Return the bytes of a chunk of logits and their gradient, and of the accumulated gradient of the token table.

    They are those of one device; `tensor` is the number of devices along the mesh axis tensor, `size` the bytes of a
    number in the compute dtype.
    """
    vocabulary = config.model.tokenization.vocabulary.padded_size // tensor
    chunk = min(config.compute.loss_chunk, budgets.targets)
    return (4 + size) * chunk * vocabulary + 4 * vocabulary * config.model.width


def _bytes_per_device(shapes: Any, shardings: Any) -> int:
    leaves = zip(jax.tree.leaves(shapes), jax.tree.leaves(shardings), strict=True)
    return sum(math.prod(sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf, sharding in leaves)
