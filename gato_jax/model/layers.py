"""Norms in float32, GEGLU, and what training leaves out at random.

Axes:
    B rows   T positions   D width   F half of the hidden units   G 2: value and gate
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from gato_jax.model.axes import constrain
from gato_jax.model.config import ModelConfig

NORM_GROUPS = 32  # appendix C.2


class LayerNorm(nnx.LayerNorm):
    """Computed in float32, whatever flows through it."""

    def __init__(self, width: int, rngs: nnx.Rngs):
        super().__init__(width, dtype=jnp.float32, rngs=rngs)

    def __call__(self, x: Float[Array, "*rest D"]) -> Float[Array, "*rest D"]:
        return super().__call__(x).astype(x.dtype)


class GroupNorm(nnx.GroupNorm):
    """Likewise, of the patch block."""

    def __init__(self, channels: int, rngs: nnx.Rngs):
        super().__init__(channels, NORM_GROUPS, dtype=jnp.float32, rngs=rngs)

    def __call__(self, x: Float[Array, "*rest C"]) -> Float[Array, "*rest C"]:
        return super().__call__(x).astype(x.dtype)


class FeedForward(nnx.Module):
    """GEGLU (arXiv 2002.05202): half of the hidden units gate the other half."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        width, half = config.width, config.hidden // 2
        self.hidden = nnx.Param(jax.random.normal(rngs.params(), (width, 2, half)) * width**-0.5)
        self.hidden_bias = nnx.Param(jnp.zeros((2, half)))
        self.out = nnx.Param(jnp.zeros((half, width)))
        self.out_bias = nnx.Param(jnp.zeros(width))

    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        # Value and gate side by side in memory, as the product leaves them: on a CPU any other order is a copy.
        hidden = jnp.einsum("BTD,DGF->BTGF", x, self.hidden[...]) + self.hidden_bias[...][None, None]
        hidden = constrain(hidden, "batch", None, None, "hidden")
        value, gate = hidden[:, :, 0], hidden[:, :, 1]
        return jnp.einsum("BTF,FD->BTD", value * nnx.gelu(gate), self.out[...]) + self.out_bias[...][None, None]


def leave_out(
    update: Float[Array, "B T D"], keys: Key[Array, " B"], *, stochastic_depth: float, dropout: float
) -> Float[Array, "B T D"]:
    """What a sub-layer adds, without it for some rows (appendix D) and without some of its elements (appendix E).

    What stays is scaled up, so that the expectation does. Each row draws from its own key: the numbers are the same
    however the rows are spread over devices and microbatches.
    """
    if stochastic_depth:
        skip = jax.vmap(lambda key: jax.random.bernoulli(jax.random.fold_in(key, 0), stochastic_depth))(keys)
        update = _without(update, skip[:, None, None], stochastic_depth)
    if dropout:
        drop = jax.vmap(lambda key, x: jax.random.bernoulli(jax.random.fold_in(key, 1), dropout, x.shape))
        update = _without(update, drop(keys, update), dropout)
    return update


def _without(x, left_out, share: float):
    return jnp.where(left_out, jnp.zeros((), x.dtype), x / jnp.asarray(1 - share, x.dtype))
