"""Which axis of which array is spread over which axis of the mesh: the one table of logical names.

The mesh has the axes data, fsdp and tensor. Rows go over data and fsdp; params are kept in pieces over fsdp and
gathered when used; heads, hidden units and vocabulary go over tensor.
"""

from __future__ import annotations

import jax
from jax.sharding import PartitionSpec as P

RULES: dict[str, str | tuple[str, ...]] = {
    "batch": ("data", "fsdp"),
    "embed": "fsdp",
    "heads": "tensor",
    "hidden": "tensor",
    "vocabulary": "tensor",
}

# By the last names on the way to a param; what is not named is small, and whole on every device.
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
    """The mesh axes of logical ones; None is whole on every device.

    Raises:
      KeyError: a name that is not in the table.
    """
    return P(*(None if name is None else RULES[name] for name in names))


def param_axes(path: str, ndim: int) -> P:
    """Of a param by its path, names joined by dots; also of the moments that an optimizer keeps of it."""
    ending = ".".join(path.split(".")[-2:])
    names = _PARAMS.get(ending, (None,) * ndim)
    if len(names) != ndim:
        raise ValueError(f"{path} has {ndim} axes, the table of axes gives it {len(names)}: {names}")
    return mesh_axes(*names)


def constrain(x: jax.Array, *names: str | None) -> jax.Array:
    """Says where an activation lies; without a mesh there is nothing to say."""
    if jax.sharding.get_abstract_mesh().empty:
        return x
    return jax.lax.with_sharding_constraint(x, mesh_axes(*names))


def platform() -> str:
    """Of the devices that a program is traced for: cpu, gpu or tpu."""
    device = jax.sharding.get_abstract_mesh().abstract_device
    return jax.default_backend() if device is None else device.platform
