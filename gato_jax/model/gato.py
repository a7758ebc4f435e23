"""The decoder-only transformer (paper, section 2.3 and appendix C.1).

Axes:
    B rows   T positions   D width   V vocabulary   L layers
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, Key

from gato_jax.model.attention import Attention
from gato_jax.model.axes import constrain
from gato_jax.model.config import ComputeConfig, ModelConfig
from gato_jax.model.embedding import Embedding
from gato_jax.model.layers import FeedForward, LayerNorm, leave_out

_PLAINLY = ComputeConfig()
_REMAT = {"dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable, "full": None}


class Block(nnx.Module):
    """Pre-norm attention and feed-forward."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        self.attention_norm = LayerNorm(config.width, rngs)
        self.attention = Attention(config, rngs)
        self.feed_forward_norm = LayerNorm(config.width, rngs)
        self.feed_forward = FeedForward(config, rngs)
        self.stochastic_depth, self.dropout = config.stochastic_depth, config.dropout

    def __call__(
        self, x: Float[Array, "B T D"], segment_ids: Int[Array, "B T"], keys: Key[Array, "B 2"] | None, kernel: str
    ) -> Float[Array, "B T D"]:
        x = x + self._partly(self.attention(self.attention_norm(x), segment_ids, kernel), keys, 0)
        x = x + self._partly(self.feed_forward(self.feed_forward_norm(x)), keys, 1)
        return constrain(x, "batch", None, None)

    def _partly(self, update, keys, sub_layer: int):
        if keys is None:
            return update
        return leave_out(update, keys[:, sub_layer], stochastic_depth=self.stochastic_depth, dropout=self.dropout)


class Gato(nnx.Module):
    """Embedding, blocks and a head that shares the token table."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        self.embedding = Embedding(config, rngs)
        self.blocks = nnx.List([Block(config, rngs) for _ in range(config.layers)])
        self.norm = LayerNorm(config.width, rngs)
        self.vocabulary_size = config.tokenization.vocabulary.size

    def __call__(
        self, batch, keys: Key[Array, " B"] | None = None, compute: ComputeConfig = _PLAINLY
    ) -> Float[Array, "B T D"]:
        """Final hidden vectors of a Batch; with a key for each row as in training, without as in evaluation."""
        patch_keys, block_keys = None, None
        if keys is not None:
            patch_keys = jax.vmap(lambda key: jax.random.fold_in(key, 0))(keys)
            shape = (len(self.blocks), 2)
            block_keys = jax.vmap(lambda key: jax.random.split(jax.random.fold_in(key, 1), shape), out_axes=1)(keys)
        x = self.embedding(
            batch.token_ids, batch.local_position, batch.patches, batch.patch_slots, batch.patch_intervals, patch_keys
        )
        return self.norm(self._through_blocks(x, batch.segment_ids, block_keys, compute))

    def _through_blocks(self, x, segment_ids, keys: Key[Array, "L B 2"] | None, compute: ComputeConfig):
        graphs, states = zip(*map(nnx.split, self.blocks), strict=True)

        def run(state, x, keys):
            return nnx.merge(graphs[0], state)(x, segment_ids, keys, compute.attention)

        if compute.remat != "none":
            run = jax.checkpoint(run, policy=_REMAT[compute.remat], prevent_cse=not compute.scan)
        if compute.scan:
            stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
            return jax.lax.scan(lambda x, layer: (run(layer[0], x, layer[1]), None), x, (stacked, keys))[0]
        for number, state in enumerate(states):
            x = run(state, x, None if keys is None else keys[number])
        return x

    def logits(self, hidden: Float[Array, "*rest D"]) -> Float[Array, "*rest V"]:
        """Logits over the padded vocabulary; padding ids are never probable."""
        return self.without_padding(self.embedding.attend(hidden))

    def without_padding(self, logits: Float[Array, "*rest V"]) -> Float[Array, "*rest V"]:
        """The ids that fill the table up to a round size are never probable."""
        return jnp.where(jnp.arange(logits.shape[-1]) < self.vocabulary_size, logits, jnp.float32(-1e9))


def graph_of(config: ModelConfig) -> nnx.GraphDef:
    """The model without its arrays."""
    return nnx.split(nnx.eval_shape(lambda: Gato(config, nnx.Rngs(0))))[0]


def initialise(config: ModelConfig, key: Key[Array, ""]) -> nnx.State:
    """Params, a plain pytree of arrays. Jit it, with the output placed, when they are many."""
    return nnx.split(Gato(config, nnx.Rngs(params=key)))[1]


def param_path(path) -> str:
    """The names on the way to a param in the tree, joined by dots."""
    return ".".join(str(key.key) for key in path if hasattr(key, "key"))


def is_frozen(path: str) -> bool:
    """Whether a param is one of the image trunk: all of the patch block but the projection to the model's width."""
    return ".patch." in path and not path.endswith((".patch.out", ".patch.out_bias"))


def in_dtype(params: nnx.State, dtype: str) -> nnx.State:
    """The params to compute with: in `dtype`, but for those of norms."""

    def cast(path, leaf):
        return leaf if "norm" in param_path(path) else leaf.astype(dtype)

    return jax.tree_util.tree_map_with_path(cast, params)


def count_parameters(params) -> int:
    """Of arrays, or of their shapes."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
