"""Prefill of a prompt: its keys and values in one run of the network, pinned in the decode state of one environment.

Axes:
    P pinned slots   I image patches, padded
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Int

from gato_jax.model.attention import Cache
from gato_jax.policy.act import Observation, embed_observation
from gato_jax.policy.network import Network


@functools.partial(jax.jit, static_argnames="graph", donate_argnames="prompts")
def prefill(
    graph: nnx.GraphDef,
    network: Network,
    prompts: tuple[Cache, ...],
    environment: Int[Array, ""],
    prompt: Observation,
    zeroed: Bool[Array, "1 P"],
) -> tuple[Cache, ...]:
    """Return the keys and values of the prompts of all environments, with those of a new prompt in one of them.

    Args:
      graph: Structure of the model.
      network: Arrays of the agent.
      prompts: Keys and values of each block at P pinned slots, those of the decode state; their buffers are donated.
      environment: Index of the environment.
      prompt: Tokens and patches of the prompt, as those of one environment that observes them.
      zeroed: True at tokens in whose place zero is read, besides their local position: action tokens with `one_pass`.
    """
    model = nnx.merge(graph, network.params)
    x = embed_observation(model, prompt)
    x = jnp.where(zeroed[..., None], model.embedding.local[prompt.local_position], x)
    position = jnp.arange(x.shape[1])[None]
    distance = position[:, :, None] - position[:, None]
    allowed = (distance >= 0) & prompt.real[:, None]
    pinned = []
    for number, (block, old) in enumerate(zip(model.block_list, prompts, strict=True)):
        normed = block.attention_norm(x)
        keys, values = block.attention.keys_values(normed, position)
        new = Cache(keys.swapaxes(-2, -1), values)
        pinned.append(Cache(*(_set_row(one, two, environment) for one, two in zip(old, new, strict=True))))
        if number + 1 < len(prompts):  # of the last block only keys and values are needed
            relative_keys = network.relative_keys[number]
            x = x + block.attention.decode(normed, position, new, relative_keys, distance, allowed)
            x = x + block.feed_forward(block.feed_forward_norm(x))
    return tuple(pinned)


def _set_row(table: Array, new: Array, environment: Int[Array, ""]) -> Array:
    """Return a table of all environments with the entry of one set to `new` (1, N, ...).

    The table of a single environment has no axis of environments.
    """
    if table.ndim < new.ndim:
        return new[0].astype(table.dtype)
    return jax.lax.dynamic_update_slice_in_dim(table, new.astype(table.dtype), environment, axis=0)
