"""Floating-point operations of a training step, by convention and as they are executed.

By convention (PaLM, arXiv 2204.02311, appendix B) a token costs 6N + 12LDT, with N all parameters, the token table
that the head shares counted once, and no discount for causality. MFU is defined by this count. The operations that a
step executes are fewer where the head computes logits of targets only, and more where distances have keys of their own
or the backward pass computes blocks again. Expected speeds are derived from this second count.

Axes:
    L layers   D heads times head size   T positions   N parameters
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.extend.core import jaxprs_in_params

from gato_jax.batching import Budgets
from gato_jax.model import ComputeConfig, ModelConfig, count_parameters, graphdef, param_path, param_shapes
from gato_jax.training import TrainConfig

TRAINING = 3  # forward passes that a step costs: the backward pass has two products for each of the forward pass

# Products of T queries with T keys, (forward, backward). Scores by content, scores by distance with relative_xl, and
# the weighted sum of values; backward, two for each, and the scores again where the kernel does not keep them.
_SCORE_PRODUCTS = {"rope": (2, 4), "relative_xl": (3, 6)}
_SCORES_AGAIN = {"rope": 1, "relative_xl": 2}
# `triton` and `mosaic` compute the gradients of queries and those of keys in two kernels, each of which computes the
# scores again. Scores by distance of a pair of blocks take one product more where keys are the outer loop, because only
# the loop over keys can keep one of two blocks of distances.
_FLASH = ("triton", "mosaic")
_FLASH_BACKWARD = {"rope": 7, "relative_xl": 11}
_BLOCK = {"blockwise": 256}  # queries of a block; fused kernels skip tiles of 128 keys above the diagonal
_FUSED_BLOCK = 128


class Again(NamedTuple):
    """Forward passes that the backward pass executes a second time.

    Attributes:
      blocks: products with params.
      attention: attention.
      activations: norms, GEGLU, residuals and rotations.
    """

    blocks: int
    attention: int
    activations: int


AGAIN = {  # by compute.remat
    "none": Again(0, 0, 0),
    "dots": Again(0, 0, 1),
    "attention": Again(1, 0, 1),
    "full": Again(1, 1, 1),
}


def flops_per_token(model: ModelConfig, context: int) -> int:
    """Return the training FLOPs of one token by the convention, 6N + 12LDT, with T = `context`."""
    return 6 * count_parameters(param_shapes(model)) + TRAINING * 2 * _score_flops(model, context)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepFlops:
    """FLOPs that one step executes on all devices together, with those spent on padding of patches and targets.

    Attributes:
      blocks: products with the params of the transformer blocks, forward and backward, as for the next three.
      attention: attention scores, and products of attention weights with values, as the kernel computes them: it skips
        blocks of later keys, and its backward pass computes the scores again.
      attention_forward: part of `attention` in the forward pass.
      patches: the patch block, for the patch budgets of all pools (see `PoolBudgets`).
      head: logits, for the target budgets of all pools.
      again: forward FLOPs that the backward pass executes a second time, by the remat policy.
    """

    blocks: int
    attention: int
    attention_forward: int
    patches: int
    head: int
    again: int

    @property
    def total(self) -> int:
        return self.blocks + self.attention + self.patches + self.head + self.again


def step_flops(config: TrainConfig, budgets: Budgets, pools: int) -> StepFlops:
    """Return the FLOPs of one step on all devices together.

    Args:
      config: the run.
      budgets: patches and targets that each pool has room for; all of them count, padding included.
      pools: number of pools in a batch, as in `PoolBudgets`.
    """
    model, tokens = config.model, config.batch_size * config.context
    # The keys of distances are computed once for all rows, so their matrix costs nothing for each token.
    matrices = sum(
        leaf.size
        for path, leaf in _named_leaves(param_shapes(model))
        if path.startswith("blocks.") and leaf.ndim > 1 and "bias" not in path and not path.endswith(".relative")
    )
    blocks = 2 * matrices * tokens
    forward, backward = (
        round(products * score_share(config.compute.attention, config.context) * _score_flops(model, config.context))
        * tokens
        for products in _score_products(model, config.compute, config.context)
    )
    again = AGAIN[config.compute.remat]
    vocabulary = model.tokenization.vocabulary.padded_size
    return StepFlops(
        blocks=TRAINING * blocks,
        attention=forward + backward,
        attention_forward=forward,
        patches=TRAINING * patch_flops(model) * budgets.patches * pools,
        head=TRAINING * 2 * vocabulary * model.width * budgets.targets * pools,
        again=again.blocks * blocks + again.attention * forward,
    )


def score_share(kernel: str, context: int) -> float:
    """Return the share of all T x T scores that an attention kernel computes; 1 for `dense` and `cudnn_mask`."""
    if kernel in ("dense", "cudnn_mask"):
        return 1.0
    return (context + min(_BLOCK.get(kernel, _FUSED_BLOCK), context)) / (2 * context)


def _score_products(model: ModelConfig, compute: ComputeConfig, context: int) -> tuple[int | float, int | float]:
    """Return the numbers of products of T queries with T keys in the forward and in the backward pass.

    The gradient of the keys of distances is one more product for `mosaic`, within its kernel. For `triton` it is a
    product of all T x T gradients of scores, those of later keys included, which its kernel writes to memory.
    """
    forward, backward = _SCORE_PRODUCTS[model.position]
    if compute.attention in _FLASH:
        whole = 1 / score_share(compute.attention, context) if compute.attention == "triton" else 1
        return forward, _FLASH_BACKWARD[model.position] + (whole if model.position == "relative_xl" else 0)
    return forward, backward + (0 if compute.attention == "dense" else _SCORES_AGAIN[model.position])


@functools.lru_cache(maxsize=8)
def patch_flops(model: ModelConfig) -> int:
    """Return the FLOPs of one forward pass of the patch embedding for one patch, counted in its jaxpr."""
    side = model.tokenization.patch
    patch = jax.ShapeDtypeStruct((1, side, side, 3), jnp.uint8)
    structure = graphdef(model)
    traced = jax.make_jaxpr(lambda params, patches: nnx.merge(structure, params).embedding.patch(patches))(
        param_shapes(model), patch
    )
    return sum(map(_equation_flops, _equations(traced.jaxpr)))


def _score_flops(model: ModelConfig, context: int) -> int:
    """Return the forward FLOPs of the products of one query with `context` keys, in all heads and layers."""
    return 2 * model.layers * model.heads * model.head_size * context


def _named_leaves(params: nnx.State) -> Iterator[tuple[str, Any]]:
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        yield param_path(path), leaf


def _equations(jaxpr: Any) -> Iterator[Any]:
    """Yield the equations of a jaxpr and of all jaxprs that it calls."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from _equations(inner)


def _equation_flops(equation: Any) -> int:
    """Return the FLOPs of a jaxpr's dot product or convolution, two for each multiplication; 0 for anything else."""
    outputs = math.prod(equation.outvars[0].aval.shape)
    if equation.primitive.name == "dot_general":
        (summed, _), _ = equation.params["dimension_numbers"]
        return 2 * outputs * math.prod(equation.invars[0].aval.shape[axis] for axis in summed)
    if equation.primitive.name == "conv_general_dilated":
        kernel, axes = equation.invars[1].aval.shape, equation.params["dimension_numbers"].rhs_spec
        return 2 * outputs * math.prod(kernel) // kernel[axes[0]]
    return 0
