"""The decoder-only transformer (paper, section 2.3 and appendix C.1).

Axes:
    B rows   T positions   D width   V vocabulary   L layers
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, Key

from gato_jax.model.attention import Attention
from gato_jax.model.axes import constrain
from gato_jax.model.config import ComputeConfig, ModelConfig
from gato_jax.model.embedding import Embedding
from gato_jax.model.float8 import choose_product
from gato_jax.model.kernels import save_attention
from gato_jax.model.layers import FeedForward, LayerNorm, drop_path, dropout

_DEFAULT_COMPUTE = ComputeConfig()
_DOTS = jax.checkpoint_policies.dots_with_no_batch_dims_saveable
_REMAT = {
    "dots": jax.checkpoint_policies.save_from_both_policies(_DOTS, save_attention),
    "attention": save_attention,
    "full": None,
}


class Block(nnx.Module):
    """Transformer block: pre-norm attention, then a pre-norm feed-forward layer, each added to the residual stream."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        self.attention_norm = LayerNorm(config.width, rngs)
        self.attention = Attention(config, rngs)
        self.feed_forward_norm = LayerNorm(config.width, rngs)
        self.feed_forward = FeedForward(config, rngs)
        self.stochastic_depth, self.dropout = config.stochastic_depth, config.dropout

    def __call__(
        self,
        x: Float[Array, "B T D"],
        segment_ids: Int[Array, "B T"],
        keys: Key[Array, "B 2"] | None,
        compute: ComputeConfig,
    ) -> Float[Array, "B T D"]:
        """Return the residual stream after the block.

        Args:
          x: residual stream.
          segment_ids: segment of each position.
          keys: a key for each row and sub-layer in training, for stochastic depth and dropout; None in evaluation.
          compute: settings of the computation, which name the attention kernel.
        """
        product = choose_product(compute)
        x = x + self._drop(self.attention(self.attention_norm(x), segment_ids, compute), keys, 0)
        x = x + self._drop(self.feed_forward(self.feed_forward_norm(x), product), keys, 1)
        return constrain(x, "batch", None, None)

    def _drop(self, update, keys, sub_layer: int):
        if keys is None:
            return update
        keys = keys[:, sub_layer]
        if self.stochastic_depth:
            update = drop_path(update, keys, self.stochastic_depth)
        return dropout(update, keys, self.dropout) if self.dropout else update


class Gato(nnx.Module):
    """The whole model: embedding, transformer blocks, and an output head that shares the token table."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs, *, stacked: bool = False):
        self.embedding = Embedding(config, rngs)
        self.layers = config.layers
        self.blocks = Block(config, rngs) if stacked else nnx.List([Block(config, rngs) for _ in range(self.layers)])
        self.norm = LayerNorm(config.width, rngs)
        self.vocabulary_size = config.tokenization.vocabulary.size

    def __call__(
        self, batch, keys: Key[Array, " B"] | None = None, compute: ComputeConfig = _DEFAULT_COMPUTE
    ) -> Float[Array, "B T D"]:
        """Return the final hidden vector of each position, after the last norm; `logits` maps it to the vocabulary.

        Args:
          batch: a Batch of gato_jax.batching, on the devices.
          keys: one key for each row in training; None in evaluation, where nothing is random.
          compute: dtype, attention kernel and rematerialisation. Blocks are scanned over if their params are stacked.
        """
        patch_keys, block_keys = None, None
        if keys is not None:
            patch_keys = jax.vmap(lambda key: jax.random.fold_in(key, 0))(keys)
            shape = (self.layers, 2)
            block_keys = jax.vmap(lambda key: jax.random.split(jax.random.fold_in(key, 1), shape), out_axes=1)(keys)
        x = self.embedding(
            batch.token_ids, batch.local_position, batch.patches, batch.patch_slots, batch.patch_intervals, patch_keys,
            compute.dtype,
        )  # fmt: skip
        return self.norm(self._apply_blocks(x, batch.segment_ids, block_keys, compute))

    @property
    def block_list(self) -> list[Block]:
        """Blocks in the order of the layers; a stacked model has one, whose params have an axis of layers."""
        return [self.blocks] if isinstance(self.blocks, Block) else list(self.blocks)

    def _apply_blocks(self, x, segment_ids, keys: Key[Array, "L B 2"] | None, compute: ComputeConfig):
        stacked = isinstance(self.blocks, Block)
        structures, states = zip(*map(nnx.split, self.block_list), strict=True)

        def apply(x, state, keys):
            return nnx.merge(structures[0], state)(x, segment_ids, keys, compute)

        if compute.remat != "none":
            apply = jax.checkpoint(apply, policy=_REMAT[compute.remat], prevent_cse=not stacked)
        if stacked:  # Params are rounded to the compute dtype in the body, so no rounded copy of all layers exists.
            return jax.lax.scan(lambda x, layer: (apply(x, *layer), None), x, (states[0], keys))[0]
        for number, state in enumerate(states):
            x = apply(x, state, None if keys is None else keys[number])
        return x

    def logits(self, hidden: Float[Array, "*rest D"]) -> Float[Array, "*rest V"]:
        """Return float32 logits over the vocabulary padded to a multiple of 128 ids; those of padding ids are -1e9."""
        return self.mask_padding_ids(self.embedding.attend(hidden))

    def mask_padding_ids(self, logits: Float[Array, "*rest V"]) -> Float[Array, "*rest V"]:
        """Return the logits with -1e9 at the ids that only round the token table up to a multiple of 128 rows."""
        return jnp.where(jnp.arange(logits.shape[-1]) < self.vocabulary_size, logits, jnp.float32(-1e9))


@functools.lru_cache(maxsize=8)  # it traces the whole model
def graphdef(config: ModelConfig, *, stacked: bool = False) -> nnx.GraphDef:
    """Return the structure of the model without its arrays, to be merged with params by `nnx.merge`.

    With `stacked`, the params are those of `stack_blocks`, and the model scans over its blocks.
    """
    return nnx.split(nnx.eval_shape(lambda: Gato(config, nnx.Rngs(0), stacked=stacked)))[0]


def param_shapes(config: ModelConfig) -> nnx.State:
    """Return the shapes of the params as ShapeDtypeStructs, in the tree that `initialise` returns."""
    return jax.tree.map(lambda shape: shape, _param_shapes(config))  # a State can be changed


@functools.lru_cache(maxsize=8)
def _param_shapes(config: ModelConfig) -> nnx.State:
    return jax.eval_shape(lambda: initialise(config, jax.random.key(0)))


def initialise(config: ModelConfig, key: Key[Array, ""]) -> nnx.State:
    """Return random params, a plain pytree of float32 arrays; jit it with its output sharded for a large model."""
    return nnx.split(Gato(config, nnx.Rngs(params=key)))[1]


def param_path(path) -> str:
    """Return the keys on the way to a param, joined by dots, for its key path in an nnx.State.

    An example is `blocks.0.attention.query`. Names of attributes, such as `.value`, and indices of tuples are left out.
    """
    return ".".join(str(key.key) for key in path if hasattr(key, "key"))


def is_frozen(path: str) -> bool:
    """Return True for params that `freeze_image_trunk` freezes: all of the patch block but its output projection.

    Args:
      path: the param's path in the whole model, as `param_path` returns it, such as `embedding.patch.stem.kernel`.
    """
    return ".patch." in path and not path.endswith((".patch.out", ".patch.out_bias"))


def cast_params(params: nnx.State, dtype: str) -> nnx.State:
    """Return a copy of the params cast to `dtype`, such as `bfloat16`, for export and acting.

    The params of normalisation layers keep their dtype. A training step takes float32 params and rounds them where they
    are used.
    """

    def cast(path, leaf):
        return leaf if "norm" in param_path(path) else leaf.astype(dtype)

    return jax.tree_util.tree_map_with_path(cast, params)


def count_parameters(params) -> int:
    """Return the number of elements of all arrays, or ShapeDtypeStructs, of a pytree."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
