"""Sharding rules: the one table from logical axis names of arrays to axes of the mesh.

The mesh has the axes data, fsdp and tensor. Rows of a batch are sharded over data and fsdp. Params are sharded over
fsdp and gathered where they are used. Heads, hidden units and the vocabulary are sharded over tensor.
"""

from __future__ import annotations

import jax
from jax.sharding import PartitionSpec as P

from gato_jax.model.stacking import is_stacked

RULES: dict[str, str | tuple[str, ...]] = {
    "batch": ("data", "fsdp"),
    "embed": "fsdp",
    "heads": "tensor",
    "hidden": "tensor",
    "vocabulary": "tensor",
}

# {last two names of a param's path: logical names of its axes}. Params that are not listed are small and replicated.
_PARAMS: dict[str, tuple[str | None, ...]] = {
    "embedding.tokens": ("vocabulary", "embed"),
    "embedding.local": (None, "embed"),
    "embedding.row": (None, "embed"),
    "embedding.column": (None, "embed"),
    "patch.out": (None, "embed"),
    "attention.query": ("embed", "heads", None),
    "attention.key": ("embed", "heads", None),
    "attention.value": ("embed", "heads", None),
    "attention.relative": ("embed", "heads", None),
    "attention.content_bias": ("heads", None),
    "attention.position_bias": ("heads", None),
    "attention.out": ("heads", None, "embed"),
    "feed_forward.hidden": ("embed", None, "hidden"),
    "feed_forward.hidden_bias": (None, "hidden"),
    "feed_forward.out": ("hidden", "embed"),
}


def mesh_axes(*names: str | None) -> P:
    """Return the partition spec of an array whose axes have these logical names; None marks an axis not sharded.

    Raises:
      KeyError: a name is not in `RULES`.
    """
    return P(*(None if name is None else RULES[name] for name in names))


def param_axes(path: str, ndim: int) -> P:
    """Return the partition spec of a param, or of an optimizer moment of it; params not in the table are replicated.

    The first axis of stacked params, that of the layers, is not sharded.

    Args:
      path: names on the way to the param, joined by dots, as `param_path` returns them; the last two decide.
      ndim: number of axes of the param.

    Raises:
      ValueError: the table has another number of axes for the param.
    """
    ending = ".".join(path.split(".")[-2:])
    names = _PARAMS.get(ending, (None,) * (ndim - is_stacked(path)))
    if is_stacked(path):
        names = (None, *names)
    if len(names) != ndim:
        raise ValueError(f"param_axes: {path} has {ndim} axes, expected {len(names)} ({names}). Correct _PARAMS.")
    return mesh_axes(*names)


def constrain(x: jax.Array, *names: str | None) -> jax.Array:
    """Return `x`, its sharding constrained to that of axes with these logical names.

    Outside of `jax.set_mesh` it is `x` itself, and the names are not checked. Within, a name that is not in `RULES`
    raises KeyError.
    """
    if jax.sharding.get_abstract_mesh().empty:
        return x
    return jax.lax.with_sharding_constraint(x, mesh_axes(*names))


def platform() -> str:
    """Return the platform of the devices of the mesh that is set, else of the default ones: `cpu`, `gpu` or `tpu`."""
    device = jax.sharding.get_abstract_mesh().abstract_device
    return jax.default_backend() if device is None else device.platform
