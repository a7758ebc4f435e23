"""Roofline of a training step: the seconds of each kind of work on one device, from counts and the speeds of the chip.

Kernels of one device run one after the other, so the terms add up. A matrix product takes its FLOPs at the rate of a
large plain product, and the bytes of its operands and of its result at the rate of a plain copy. Everything else is
bytes at that rate, except for the exponentials of softmax and for repeated rows of a scatter-add in bfloat16.

Symbols:
    D width   A heads times head size   F hidden units, both halves of GEGLU   T positions   V vocabulary
"""

from __future__ import annotations

import dataclasses
from typing import Literal, NamedTuple

import jax.numpy as jnp
from jax.sharding import Mesh

from gato_jax.batching import Budgets
from gato_jax.model import count_parameters, param_shapes
from gato_jax.planning.flops import AGAIN, TRAINING, StepFlops, score_share
from gato_jax.planning.memory import block_residual_bytes, writes_score_gradients
from gato_jax.planning.topologies import Chip
from gato_jax.training import TrainConfig
from gato_jax.training.sharding import row_groups

# Seconds of a scatter-add in bfloat16 for each update of one row by several positions, measured by itself on an H200:
# 16,384 updates of one row of 2048 numbers took 126 ms, in compare-and-swap loops that wait for each other.
_REPEATED_UPDATE = 126e-3 / 16_384

# Bytes for each parameter in the optimizer and around it, all float32 but the last two: AdamW reads params, moments and
# gradients and writes params and moments (28), the norms of gradients and params read them again (8), and the products
# take a copy in 16 bits (4 + 2).
_OPTIMIZER_BYTES = 42

# Passes of `blockwise` over its float32 scores in memory, (forward, backward), where what can be fused is fused.
# Numbers in 16 bits count half. Forward: scores are written and read twice, for maxima and for exponentials, which are
# written and read. Backward: scores are written and read, the gradient of the weights too, and weights and gradient of
# the scores are written and read by three products. Scores by distance are written, read two times more and once in
# the backward pass, and the gradient is shifted to distances, written, and read by two products.
_SCORE_PASSES = {"rope": (5, 6.5), "relative_xl": (8, 10.5)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lowering:
    """Properties of the compiled step that no config names; the defaults are those of this version.

    Attributes:
      look_up_gradients: dtype in which the gradients of table look-ups are summed.
      fused_projections: whether one product makes queries, keys and values in the layout of the attention kernel.
        Otherwise there are three, and a fused kernel's operands and result are transposed.
      mask_array: whether a fused kernel takes a mask of (T, T) and computes all scores.
    """

    look_up_gradients: Literal["float32", "bfloat16"] = "float32"
    fused_projections: bool = True
    mask_array: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Roofline:
    """Seconds of one step on one device, by kind of work.

    Attributes:
      products: matrix products: those with params, of the patch block and of the head.
      attention: scores, softmax and weighted sums of values.
      activations: norms, GEGLU, residuals, rotations and other passes over activations and logits.
      optimizer: AdamW, norms of gradients and params, and copies of params in compute.dtype.
      look_ups: gradients of table look-ups.
      scan: copies of saved activations into and out of the stacks of compute.scan.
      collectives: communication, which overlaps with all of the above.
    """

    products: float
    attention: float
    activations: float
    optimizer: float
    look_ups: float
    scan: float
    collectives: float

    @property
    def computation(self) -> float:
        """Sum of all terms but the collectives."""
        return sum(dataclasses.astuple(self)) - self.collectives

    @property
    def seconds(self) -> float:
        """Duration of a step: computation, or collectives if they take longer."""
        return max(self.computation, self.collectives)

    @property
    def dominant(self) -> str:
        """Name of the largest term; `collectives` only if they take longer than all computation."""
        if self.collectives > self.computation:
            return "collectives"
        terms = {name: value for name, value in dataclasses.asdict(self).items() if name != "collectives"}
        return max(terms, key=lambda name: terms[name])


def step_roofline(
    config: TrainConfig,
    chip: Chip,
    mesh: Mesh,
    budgets: Budgets,
    flops: StepFlops,
    *,
    collective_seconds: float = 0.0,
    lowering: Lowering | None = None,
) -> Roofline:
    """Return the roofline of one training step.

    Args:
      config: the run.
      chip: figures of one device.
      mesh: devices by the axes data, fsdp and tensor.
      budgets: patches and targets that a pool, the rows of one device in one microbatch, has room for.
      flops: FLOPs of the step on all devices, as `step_flops` counts them.
      collective_seconds: duration of the communication of one device.
      lowering: properties of the compiled step. Default: those of this version for the kernel of the config.
    """
    lowering = lowering or Lowering(mask_array=config.compute.attention == "cudnn_mask")
    work = _Work(config, mesh, budgets, lowering)
    again = AGAIN[config.compute.remat]
    products = flops.blocks + flops.patches + flops.head + flops.again - again.attention * flops.attention_forward
    attention = flops.attention + again.attention * flops.attention_forward
    if lowering.mask_array:  # no block of scores is skipped
        attention /= score_share(config.compute.attention, config.context)
    layers = config.model.layers
    product_bytes = layers * (TRAINING + again.blocks) * work.product_bytes()
    passes = work.passes()
    attention_bytes = layers * (passes.attention_forward * (1 + again.attention) + passes.attention_backward)
    activation_bytes = layers * (passes.forward * (1 + again.activations) + passes.backward) + work.head_bytes()
    scores = layers * (2 + again.attention) * work.scores()
    return Roofline(
        products=products / mesh.size / chip.product_flops + product_bytes / chip.copy_bandwidth,
        attention=attention / mesh.size / chip.product_flops
        + scores / chip.exponentials
        + attention_bytes / chip.copy_bandwidth,
        activations=activation_bytes / chip.copy_bandwidth,
        optimizer=_OPTIMIZER_BYTES * work.parameters / chip.copy_bandwidth,
        look_ups=work.look_up_bytes() / chip.copy_bandwidth + work.repeated_updates() * _REPEATED_UPDATE,
        scan=work.scan_bytes() / chip.copy_bandwidth,
        collectives=collective_seconds,
    )


class _Passes(NamedTuple):
    """Bytes that one layer reads and writes outside of products."""

    forward: float
    backward: float
    attention_forward: float
    attention_backward: float


class _Work:
    """Bytes and counts of one step on one device, over all its microbatches; of one layer where there are several."""

    def __init__(self, config: TrainConfig, mesh: Mesh, budgets: Budgets, lowering: Lowering):
        tensor, model = mesh.shape["tensor"], config.model
        self.config, self.lowering = config, lowering
        self.size = jnp.dtype(config.compute.dtype).itemsize
        self.tokens = config.batch_size * config.context / row_groups(mesh)
        self.targets = budgets.targets * config.compute.accumulate
        self.patches = budgets.patches * config.compute.accumulate
        self.width, self.heads = model.width, model.heads / tensor
        self.attention, self.hidden = self.heads * model.head_size, model.hidden / tensor
        self.vocabulary = model.tokenization.vocabulary.padded_size / tensor
        self.parameters = count_parameters(param_shapes(model)) / (mesh.shape["fsdp"] * tensor)

    def product_bytes(self) -> float:
        """Return the bytes of operands and results of the forward products of a layer, without the params."""
        projections = self.width * (1 if self.lowering.fused_projections else 3) + 3 * self.attention
        out, feed_forward = self.attention + self.width, 2 * self.width + 1.5 * self.hidden
        return self.size * self.tokens * (projections + out + feed_forward)

    def passes(self) -> _Passes:
        """Return the bytes of norms, residuals, rotations, GEGLU and attention, in arrays of D, A and F per position.

        Forward: norm of x (2 D), rotation of queries and keys (4 A), residual with the second norm (4 D), GEGLU (1.5 F)
        and residual (3 D). Backward: GEGLU with its output again and the sum for the bias (4 F), norms (4 D each), sums
        for biases (2 D), rotation (4 A). Fused attention reads queries, keys and values and writes its output; its
        backward pass reads these and the gradient and writes three gradients. `triton` also writes the gradients of
        all T x T scores by distance, which a product and the sums for the position bias read.
        """
        width, heads, hidden = self.width, self.attention, self.hidden
        forward, backward = 9 * width + 4 * heads + 1.5 * hidden, 10 * width + 4 * heads + 4 * hidden
        unit = self.size * self.tokens
        if self.config.compute.attention in ("dense", "blockwise"):
            in_scores = 4 * self.scores()
            passes = _SCORE_PASSES[self.config.model.position]
            return _Passes(unit * forward, unit * backward, passes[0] * in_scores, passes[1] * in_scores)
        transposed = 0 if self.lowering.fused_projections else 8 * heads  # three operands and the result, in and out
        by_distance = 3 * unit * self.heads * self.config.context if writes_score_gradients(self.config) else 0
        return _Passes(
            unit * (forward + transposed),
            unit * (backward + transposed),
            4 * unit * heads,
            8 * unit * heads + by_distance,
        )

    def scores(self) -> float:
        """Return the number of scores that one layer computes in a forward pass."""
        compute, context = self.config.compute, self.config.context
        share = 1.0 if self.lowering.mask_array else score_share(compute.attention, context)
        return self.tokens * self.heads * context * share

    def head_bytes(self) -> float:
        """Return the bytes of passes over the logits and the gradient of the token table.

        The float32 logits are written, read for the sum, read for their gradient, which is written in compute.dtype and
        read by two products. For each chunk, the table is read by two products and the sum of its gradients is read,
        written and read.
        """
        logits = self.targets * self.vocabulary * (3 * 4 + 3 * self.size)
        chunks = -(-self.targets // min(self.config.compute.loss_chunk, self.targets))
        return logits + chunks * self.vocabulary * self.width * (2 * self.size + 3 * 4)

    def look_up_bytes(self) -> float:
        """Return the bytes of the gradients of token and position look-ups, read once and added in float32."""
        return self.tokens * self.width * 2 * (self.size + 8)

    def repeated_updates(self) -> float:
        """Return the number of updates of one row that wait for each other; 0 for sums in float32.

        All positions but those of patches are taken to share one local position, as in rows of text.
        """
        return 0.0 if self.lowering.look_up_gradients == "float32" else max(self.tokens - self.patches, 0)

    def scan_bytes(self) -> float:
        """Return the bytes of the copies that compute.scan makes of activations: 2 passes into a stack, 2 out of it."""
        if not self.config.compute.scan:
            return 0.0
        rows = self.tokens / self.config.context
        saved = rows * block_residual_bytes(self.config.model, self.config.compute, self.config.context)
        return 4 * self.config.model.layers * saved
