"""How much of a device's memory a step takes, by arithmetic: where no compiler says it, and to find what would fit.

Params and what the optimizer keeps of them are exact. Activations are those that the backward pass needs by the remat
policy, and what is at hand while a block, the patches or a chunk of logits are computed; a compiler may do better.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from gato_jax.batching import Budgets
from gato_jax.model import ModelConfig, count_parameters, initialise
from gato_jax.training import OptimizerConfig, TrainConfig, TrainState
from gato_jax.training.optimizer import optimizer
from gato_jax.training.program import batch_shapes
from gato_jax.training.sharding import row_groups, shard_batch, shard_params
from gato_jax.training.step import make_initial_state

_SCORES = 3  # arrays of the dense kernel's scores at a time, in float32: they themselves, weights and a gradient


@dataclasses.dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes of one device at the worst moment.

    Attributes:
      state: params, moments and average.
      copies: params in compute.dtype, in pieces; and whole the token table and two blocks.
      activations: kept for the backward pass.
      working: gradients so far, and what is being computed.
      batch: as the step takes it.
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
    """Of a step on a mesh of data, fsdp and tensor, with pools of these budgets.

    Raises:
      ConfigError: a param does not divide over the mesh.
    """
    state = state_shapes(config.model, config.optimizer, config.steps)
    tensor, size = mesh.shape["tensor"], jnp.dtype(config.compute.dtype).itemsize
    pools = row_groups(mesh) * config.compute.accumulate
    tokens = config.batch_size // pools * config.context
    params = state.params
    copies = _bytes(params, shard_params(mesh, params)) * size // 4
    whole = count_parameters(params["embedding"]["tokens"]) + 2 * count_parameters(params["blocks"][0])
    # Gradients come in the dtype of the copies, and are summed over microbatches in that of the params.
    gradients = copies if config.compute.accumulate == 1 else copies * (size + 4) // size
    blocks_or_patches = max(tokens * _block(config.model, tensor), budgets.patches * _patch(config.model)) * size
    batch = batch_shapes(config, pools, budgets)
    return Memory(
        state=_bytes(state, shard_params(mesh, state)),
        copies=copies + whole * size // tensor,
        activations=config.model.layers * tokens * size * _kept(config, tensor),
        working=max(gradients + blocks_or_patches, _head(config, budgets, tensor, size)),
        batch=_bytes(batch, shard_batch(mesh, batch)),
    )


@functools.lru_cache(maxsize=8)
def state_shapes(model: ModelConfig, optimizer_config: OptimizerConfig, steps: int) -> TrainState:
    """Everything that a step changes."""
    init = make_initial_state(
        functools.partial(initialise, model),
        optimizer(optimizer_config, model, steps),
        average=optimizer_config.ema_decay is not None,
    )
    return jax.eval_shape(init, jax.eval_shape(lambda: jax.random.key(0)))


def _kept(config: TrainConfig, tensor: int) -> int:
    """Elements of a position that a block keeps for its backward pass."""
    model, heads = config.model, config.model.heads * config.model.head_size // tensor
    hidden = model.hidden // tensor
    made = 3 * heads + hidden + 2 * model.width  # by the block's matrices
    if config.compute.remat == "full":
        return model.width
    if config.compute.remat == "dots":
        return model.width + made
    scores = _SCORES * model.heads // tensor * config.context if config.compute.attention == "dense" else 0
    return 4 * model.width + made + 3 * heads + 2 * hidden + scores


def _block(model: ModelConfig, tensor: int) -> int:
    """Elements of a position that the backward pass of a block has at hand; scores live in a kernel or briefly."""
    return 6 * model.width + (8 * model.heads * model.head_size + 3 * model.hidden) // tensor


def _patch(model: ModelConfig) -> int:
    """Elements of a patch that the backward pass of its block has at hand."""
    side = model.tokenization.patch
    return 6 * (side // model.patch_stride) ** 2 * model.patch_channels + 2 * side**2 * 3 + 4 * model.width


def _head(config: TrainConfig, budgets: Budgets, tensor: int, size: int) -> int:
    """Bytes of a chunk's logits and their gradient, and of the sum of the table's gradient."""
    vocabulary = config.model.tokenization.vocabulary.padded_size // tensor
    chunk = min(config.compute.loss_chunk, budgets.targets)
    return (4 + size) * chunk * vocabulary + 4 * vocabulary * config.model.width


def _bytes(shapes: Any, placement: Any) -> int:
    """Of one device's part."""
    leaves = zip(jax.tree.leaves(shapes), jax.tree.leaves(placement), strict=True)
    return sum(math.prod(where.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf, where in leaves)
