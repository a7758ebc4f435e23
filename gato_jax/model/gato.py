"""The decoder-only transformer (paper, section 2.3 and appendix C.1).

Axes:
    B rows   T positions   S keys   D width   F hidden   V vocabulary
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key

from gato_jax.model.attention import RelativeAttention
from gato_jax.model.config import ModelConfig
from gato_jax.model.embedding import Embedding


class FeedForward(nnx.Module):
    """GEGLU: half of the hidden units gate the other half."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        zeros = nnx.initializers.zeros_init()
        self.hidden = nnx.Linear(config.width, config.hidden, rngs=rngs)
        self.out = nnx.Linear(config.hidden // 2, config.width, kernel_init=zeros, rngs=rngs)

    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        value, gate = jnp.split(self.hidden(x), 2, axis=-1)
        return self.out(value * nnx.gelu(gate))


class Block(nnx.Module):
    """Pre-norm attention and feed-forward; in training each is skipped now and then (stochastic depth)."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        self.attention_norm = nnx.LayerNorm(config.width, rngs=rngs)
        self.attention = RelativeAttention(config, rngs)
        self.feed_forward_norm = nnx.LayerNorm(config.width, rngs=rngs)
        self.feed_forward = FeedForward(config, rngs)

    def __call__(self, x: Float[Array, "B T D"], allowed: Bool[Array, "B T T"], keep: Float[Array, "2 B"] | None):
        attended = self.attention(self.attention_norm(x), allowed)
        x = x + (attended if keep is None else attended * keep[0, :, None, None])
        fed = self.feed_forward(self.feed_forward_norm(x))
        return x + (fed if keep is None else fed * keep[1, :, None, None])


class Gato(nnx.Module):
    """Embedding, blocks and a head that shares the token table."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        self.embedding = Embedding(config, rngs)
        self.blocks = nnx.List([Block(config, rngs) for _ in range(config.layers)])
        self.norm = nnx.LayerNorm(config.width, rngs=rngs)
        self.stochastic_depth = config.stochastic_depth
        self.vocabulary_size = config.tokenization.vocabulary.size

    def __call__(self, batch, key: Key[Array, ""] | None = None) -> Float[Array, "B T D"]:
        """Final hidden vectors of a Batch; with a key, as in training, without one, as in evaluation."""
        patch_key, depth_key = (None, None) if key is None else jax.random.split(key)
        x = self.embedding(
            batch.token_ids, batch.local_position, batch.patches, batch.patch_slots, batch.patch_intervals, patch_key
        )
        allowed = causal_within_segments(batch.segment_ids)
        keeps = self._keeps(depth_key, len(x))
        for block, keep in zip(self.blocks, keeps, strict=True):
            x = block(x, allowed, keep)
        return self.norm(x)

    def logits(self, hidden: Float[Array, "*rest D"]) -> Float[Array, "*rest V"]:
        """Logits over the padded vocabulary; padding ids are never probable."""
        logits = self.embedding.attend(hidden)
        return jnp.where(jnp.arange(logits.shape[-1]) < self.vocabulary_size, logits, jnp.float32(-1e9))

    def _keeps(self, key, rows: int):
        """For each block (2, B) factors: 0 to skip a sub-layer, else what keeps its expectation."""
        if key is None or not self.stochastic_depth:
            return [None] * len(self.blocks)
        kept = 1 - self.stochastic_depth
        return jax.random.bernoulli(key, kept, (len(self.blocks), 2, rows)).astype(jnp.float32) / jnp.float32(kept)


def causal_within_segments(segment_ids: Int[Array, "B T"]) -> Bool[Array, "B T T"]:
    """[b, i, j] is True where i may look at j: not later, and in the same segment."""
    length = segment_ids.shape[1]
    causal = jnp.arange(length)[:, None] >= jnp.arange(length)[None]
    return (segment_ids[:, :, None] == segment_ids[:, None, :]) & causal[None]


def graph_of(config: ModelConfig) -> nnx.GraphDef:
    """The model without its arrays."""
    return nnx.split(nnx.eval_shape(lambda: Gato(config, nnx.Rngs(0))))[0]


def initialise(config: ModelConfig, key: Key[Array, ""]) -> nnx.State:
    """Params, a plain pytree of arrays. Jit it, with the output placed, when they are many."""
    return nnx.split(Gato(config, nnx.Rngs(params=key)))[1]


def count_parameters(params) -> int:
    """Of arrays, or of their shapes."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
