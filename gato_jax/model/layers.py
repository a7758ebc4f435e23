"""Norms in float32, convolution, the GEGLU feed-forward layer, stochastic depth and dropout.

Axes:
    B rows   T positions   D width   C channels   F half of the hidden units   G 2: value and gate
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from gato_jax.model.axes import constrain
from gato_jax.model.config import ModelConfig
from gato_jax.model.einsum import Product, add_bias, convolve, project

NORM_GROUPS = 32  # appendix C.2


class LayerNorm(nnx.LayerNorm):
    """LayerNorm over the width, computed in float32 and returned in the dtype of its input."""

    def __init__(self, width: int, rngs: nnx.Rngs):
        super().__init__(width, dtype=jnp.float32, rngs=rngs)

    def __call__(self, x: Float[Array, "*rest D"]) -> Float[Array, "*rest D"]:
        return super().__call__(x).astype(x.dtype)


class GroupNorm(nnx.GroupNorm):
    """GroupNorm of 32 groups (appendix C.2), computed in float32 and returned in the dtype of its input."""

    def __init__(self, channels: int, rngs: nnx.Rngs):
        super().__init__(channels, NORM_GROUPS, dtype=jnp.float32, rngs=rngs)

    def __call__(self, x: Float[Array, "*rest C"]) -> Float[Array, "*rest C"]:
        return super().__call__(x).astype(x.dtype)


class Conv(nnx.Conv):
    """Square convolution, computed in the dtype of its input; gradients of kernel and bias are summed in float32."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        side: int,
        stride: int = 1,
        *,
        padding: Literal["SAME"] | int = "SAME",
        rngs: nnx.Rngs,
        **settings,
    ):
        super().__init__(inputs, outputs, (side, side), stride, padding=padding, rngs=rngs, **settings)
        self.stride, self.pad = stride, padding

    def __call__(self, inputs: Float[Array, "P S S C"]) -> Float[Array, "P S2 S2 C2"]:
        out = convolve(inputs, jnp.asarray(self.kernel[...]), self.stride, self.pad)
        return out if self.bias is None else add_bias(out, self.bias[...])


class FeedForward(nnx.Module):
    """GEGLU feed-forward layer (arXiv 2002.05202): GELU of one half of the hidden units gates the other half."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        width, half = config.width, config.hidden // 2
        self.hidden = nnx.Param(jax.random.normal(rngs.params(), (width, 2, half)) * width**-0.5)
        self.hidden_bias = nnx.Param(jnp.zeros((2, half)))
        self.out = nnx.Param(jnp.zeros((half, width)))
        self.out_bias = nnx.Param(jnp.zeros(width))

    def __call__(self, x: Float[Array, "B T D"], product: Product = project) -> Float[Array, "B T D"]:
        """Return the update of the residual stream; `product` multiplies activations by the weights."""
        # Value and gate stay side by side in memory, as the einsum leaves them: on a CPU any other order is a copy.
        hidden = add_bias(product("BTD,DGF->BTGF", x, self.hidden[...]), self.hidden_bias[...])
        hidden = constrain(hidden, "batch", None, None, "hidden")
        value, gate = hidden[:, :, 0], hidden[:, :, 1]
        return add_bias(product("BTF,FD->BTD", value * nnx.gelu(gate), self.out[...]), self.out_bias[...])


def drop_path(update: Float[Array, "B T D"], keys: Key[Array, " B"], rate: float) -> Float[Array, "B T D"]:
    """Zero a sub-layer's output for random rows (stochastic depth, appendix D) and scale the others by 1 / (1 - rate).

    Args:
      update: output of the sub-layer, before it is added to the residual stream.
      keys: one key for each row. Each row draws from its own key alone, so the result does not depend on how rows are
        sharded or split into microbatches.
      rate: probability of dropping a row, in (0, 1).
    """
    dropped = jax.vmap(lambda key: jax.random.bernoulli(jax.random.fold_in(key, 0), rate))(keys)
    return _drop(update, dropped[:, None, None], rate)


def dropout(update: Float[Array, "B T D"], keys: Key[Array, " B"], rate: float) -> Float[Array, "B T D"]:
    """Zero random elements of a sub-layer's output (appendix E) and scale the others by 1 / (1 - rate).

    Args:
      update: output of the sub-layer, before it is added to the residual stream.
      keys: one key for each row, as for `drop_path`; the two draw independent numbers from the same key.
      rate: probability of dropping an element, in (0, 1).
    """
    draw = jax.vmap(lambda key, x: jax.random.bernoulli(jax.random.fold_in(key, 1), rate, x.shape))
    return _drop(update, draw(keys, update), rate)


def _drop(x, dropped, rate: float):
    return jnp.where(dropped, jnp.zeros((), x.dtype), x / jnp.asarray(1 - rate, x.dtype))
