"""The arrays of an agent, prepared once for all the steps in which it acts.

Axes:
    N heads   R distances   H head size   D width   V ids
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from gato_jax.model.gato import Gato, cast_params

RelativeKeys = tuple[Float[Array, "N R H"] | None, ...]


class Network(NamedTuple):
    """Arrays of an agent, prepared for acting.

    Attributes:
      params: Parameters of the model, in the dtype of the computation.
      relative_keys: Position keys of each block, see `compute_relative_keys`.
      head: (V, D) embeddings of the ids that an action token may have.
      head_ids: (V,) these ids.
    """

    params: nnx.State
    relative_keys: RelativeKeys
    head: Float[Array, "V D"]
    head_ids: Int[Array, " V"]


@functools.partial(jax.jit, static_argnames=("graph", "context", "dtype", "spans"))
def prepare_network(
    graph: nnx.GraphDef, params: nnx.State, context: int, dtype: str, spans: tuple[tuple[int, int], ...]
) -> Network:
    """Return the arrays of an agent for acting.

    Args:
      graph: Structure of the model.
      params: Parameters of the model.
      context: Number of tokens that the agent may look at.
      dtype: Dtype of the computation; norms keep theirs.
      spans: Ranges [low, high) of the ids that an action token may have.
    """
    model = nnx.merge(graph, params)
    tokens = model.embedding.tokens[...]
    keys = compute_relative_keys(model, context)
    return Network(
        cast_params(params, dtype),
        jax.tree.map(lambda array: array.astype(dtype), keys),
        jnp.concatenate([tokens[low:high] for low, high in spans]).astype(dtype),
        jnp.concatenate([jnp.arange(low, high) for low, high in spans]),
    )


def compute_relative_keys(model: Gato, context: int) -> RelativeKeys:
    """Return the position keys (N, R, H) of each block for the distances 0 to R - 1, where R is `context`.

    The entry of a block with rotary positions is None.
    """
    return tuple(block.attention.relative_keys(context) for block in model.block_list)
