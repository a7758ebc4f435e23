"""What a step computes, in floating point operations.

There are two counts. By convention (PaLM, arXiv 2204.02311, appendix B) a token costs 6N + 12LDT, with N all
parameters, the token table that the head shares counted once, and no discount for causality: MFU is in these. What a
step really multiplies is less where the head runs for targets alone, and more where distances have keys of their own
or the backward pass computes blocks again. Shares, and times in a sweep, are of these.

Axes:
    L layers   D heads times head size   T positions   N parameters
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.extend.core import jaxprs_in_params

from gato_jax.batching import Budgets
from gato_jax.model import ModelConfig, count_parameters, graphdef, initialise, param_path
from gato_jax.training import TrainConfig

TRAINING = 3  # times a forward pass: the backward one is of the same products, with respect to both of their factors


def flops_per_token(model: ModelConfig, context: int) -> int:
    """By the convention: 6N + 12LDT."""
    return 6 * count_parameters(model_shapes(model)) + TRAINING * 2 * _score_product(model, context)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepFlops:
    """Of one step over all devices; what only fills up a budget is multiplied, too.

    Attributes:
      blocks: matrix products with the params of blocks.
      attention: those of positions with positions.
      patches: the patch block, on all places of all pools.
      head: the token table, for all places of targets.
      again: what the backward pass computes a second time.
    """

    blocks: int
    attention: int
    patches: int
    head: int
    again: int

    @property
    def total(self) -> int:
        return self.blocks + self.attention + self.patches + self.head + self.again


def step_flops(config: TrainConfig, budgets: Budgets, pools: int) -> StepFlops:
    """Of a batch in so many pools of these budgets."""
    model, tokens = config.model, config.batch_size * config.context
    # The keys of distances are made once for all rows: their matrix is no work for each token.
    matrices = sum(
        leaf.size
        for path, leaf in _named(model_shapes(model))
        if path.startswith("blocks.") and leaf.ndim > 1 and "bias" not in path and not path.endswith(".relative")
    )
    blocks = 2 * matrices * tokens
    # Scores by content and, with relative attention, by distance; and the mixture of values.
    products = 3 if model.position == "relative_xl" else 2
    attention = products * _score_product(model, config.context) * tokens
    again = {"none": 0, "dots": attention, "full": blocks + attention}[config.compute.remat]
    vocabulary = model.tokenization.vocabulary.padded_size
    return StepFlops(
        blocks=TRAINING * blocks,
        attention=TRAINING * attention,
        patches=TRAINING * patch_flops(model) * budgets.patches * pools,
        head=TRAINING * 2 * vocabulary * model.width * budgets.targets * pools,
        again=again,
    )


@functools.lru_cache(maxsize=8)
def patch_flops(model: ModelConfig) -> int:
    """Of the patch block's convolutions and projection, forward, for one patch; whatever the trunk is."""
    side = model.tokenization.patch
    patch = jax.ShapeDtypeStruct((1, side, side, 3), jnp.uint8)
    graph = graphdef(model)
    traced = jax.make_jaxpr(lambda params, patches: nnx.merge(graph, params).embedding.patch(patches))(
        model_shapes(model), patch
    )
    return sum(map(_flops_of, _equations(traced.jaxpr)))


@functools.lru_cache(maxsize=8)
def model_shapes(model: ModelConfig) -> nnx.State:
    """The params as shapes."""
    return jax.eval_shape(functools.partial(initialise, model), jax.eval_shape(lambda: jax.random.key(0)))


def _score_product(model: ModelConfig, context: int) -> int:
    """Of one product of all positions with all, in all layers, for one token."""
    return 2 * model.layers * model.heads * model.head_size * context


def _named(params: nnx.State) -> Iterator[tuple[str, Any]]:
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        yield param_path(path), leaf


def _equations(jaxpr: Any) -> Iterator[Any]:
    """Those of a jaxpr and of all that it calls."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from _equations(inner)


def _flops_of(equation: Any) -> int:
    """Two for each multiplication; what is neither a product nor a convolution is not counted."""
    made = math.prod(equation.outvars[0].aval.shape)
    if equation.primitive.name == "dot_general":
        (summed, _), _ = equation.params["dimension_numbers"]
        return 2 * made * math.prod(equation.invars[0].aval.shape[axis] for axis in summed)
    if equation.primitive.name == "conv_general_dilated":
        kernel, axes = equation.invars[1].aval.shape, equation.params["dimension_numbers"].rhs_spec
        return 2 * made * math.prod(kernel) // kernel[axes[0]]
    return 0
