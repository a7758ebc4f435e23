"""Where arrays live: a mesh of three axes, and one rule for params and one for batches.

`jax.jit` with NamedSharding is what pjit has become: the compiler partitions the program by these placements.
"""

from __future__ import annotations

import jax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from gato_jax.training.config import ConfigError, MeshConfig

BATCH = P(("data", "fsdp"))


def make_mesh(config: MeshConfig) -> Mesh:
    """A mesh ("data", "fsdp", "tensor") over all devices."""
    sizes = [config.data, config.fsdp, config.tensor]
    devices = jax.device_count()
    if any(size != -1 and size < 1 for size in sizes):
        raise ConfigError(f"mesh data x fsdp x tensor = {sizes}: each must be positive, or -1 for all that are left")
    if sizes.count(-1) > 1:
        raise ConfigError(f"mesh {sizes}: at most one axis may be -1")
    if -1 in sizes:
        rest = -sizes[0] * sizes[1] * sizes[2]
        sizes[sizes.index(-1)] = max(devices // rest, 1)
    if sizes[0] * sizes[1] * sizes[2] != devices:
        raise ConfigError(f"mesh data x fsdp x tensor = {sizes} does not cover {devices} devices; set one axis to -1")
    return jax.make_mesh(tuple(sizes), ("data", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3)


def shard_params(mesh: Mesh, shapes):
    """The largest axis of each matrix over fsdp where it divides; the rest on every device.

    Nothing is spread over `tensor` yet: devices along that axis hold and compute the same.
    """

    def place(leaf):
        shards = mesh.shape["fsdp"]
        axes = [axis for axis in range(leaf.ndim) if leaf.shape[axis] % shards == 0]
        if leaf.ndim < 2 or not axes:
            return NamedSharding(mesh, P())
        axis = max(axes, key=lambda axis: leaf.shape[axis])
        return NamedSharding(mesh, P(*[None] * axis, "fsdp"))

    return jax.tree.map(place, shapes)


def shard_batch(mesh: Mesh, batch):
    """Rows over data and fsdp; pooled patches likewise where they divide."""
    shards = mesh.shape["data"] * mesh.shape["fsdp"]
    return jax.tree.map(lambda x: NamedSharding(mesh, BATCH if len(x) % shards == 0 else P()), batch)
