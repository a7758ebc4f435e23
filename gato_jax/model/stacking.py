"""Layouts of params: each block has its own, or those of all blocks are stacked for a scan over the layers.

A block's own `blocks.3.attention.query` (D, N, H) is what checkpoints, exports and agents hold, and what a step takes
that unrolls the blocks. A step that scans takes `blocks.attention.query` (L, D, N, H), so that it copies no params.
"""

from __future__ import annotations

import re
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

_STACKED = re.compile(r"(^|\.)blocks\.(?!\d)")


def is_stacked(path: str) -> bool:
    """Return True for the path of a param, or of an optimizer moment of it, whose first axis is that of the layers."""
    return _STACKED.search(path) is not None


def stack_blocks(tree: Any) -> Any:
    """Return a copy of a tree in which the params of all blocks of each model are stacked.

    Args:
      tree: params, or any tree with params in it, such as a state of training with its moments.
    """

    def stack(params: nnx.State) -> nnx.State:
        held = params.raw_mapping
        blocks = [held["blocks"][number] for number in sorted(held["blocks"])]
        return nnx.State({**held, "blocks": jax.tree.map(lambda *leaves: jnp.stack(leaves), *blocks)})

    return _map_params(stack, tree)


def unstack_blocks(tree: Any) -> Any:
    """Return a copy of a tree in which each block has its own params; the reverse of `stack_blocks`."""

    def unstack(params: nnx.State) -> nnx.State:
        held = params.raw_mapping
        leaves, structure = jax.tree.flatten(held["blocks"])
        layers = zip(*leaves, strict=True)  # the rows of each leaf
        blocks = {number: jax.tree.unflatten(structure, layer) for number, layer in enumerate(layers)}
        return nnx.State({**held, "blocks": blocks})

    return _map_params(unstack, tree)


def _map_params(function, tree: Any) -> Any:
    def is_params(node: Any) -> bool:
        return isinstance(node, nnx.State) and "blocks" in node

    return jax.tree.map(lambda node: function(node) if is_params(node) else node, tree, is_leaf=is_params)
