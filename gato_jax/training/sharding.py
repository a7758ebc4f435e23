"""Where arrays live: a mesh of three axes, over which the table of gato_jax.model.axes spreads params and rows.

`jax.jit` with NamedSharding is what pjit has become: the compiler partitions the program by these placements.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from gato_jax.batching import Batch
from gato_jax.batching.batch import HOST_ONLY
from gato_jax.model import mesh_axes, param_axes, param_path
from gato_jax.training.config import ConfigError, MeshConfig

AXES = ("data", "fsdp", "tensor")


def make_mesh(config: MeshConfig, devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh ("data", "fsdp", "tensor") over all devices, or over those of a topology."""
    devices = jax.devices() if devices is None else devices
    sizes = [config.data, config.fsdp, config.tensor]
    if any(size != -1 and size < 1 for size in sizes):
        raise ConfigError(f"mesh data x fsdp x tensor = {sizes}: each must be positive, or -1 for all that are left")
    if sizes.count(-1) > 1:
        raise ConfigError(f"mesh {sizes}: at most one axis may be -1")
    if -1 in sizes:
        rest = -sizes[0] * sizes[1] * sizes[2]
        sizes[sizes.index(-1)] = max(len(devices) // rest, 1)
    if sizes[0] * sizes[1] * sizes[2] != len(devices):
        raise ConfigError(
            f"mesh data x fsdp x tensor = {sizes} does not cover {len(devices)} devices; set one axis to -1"
        )
    laid_out = mesh_utils.create_device_mesh(sizes, devices, allow_split_physical_axes=True)
    return Mesh(laid_out, AXES, axis_types=(AxisType.Auto,) * 3)


def row_groups(mesh: Mesh) -> int:
    """How many devices have rows of their own; those along `tensor` share theirs."""
    return mesh.shape["data"] * mesh.shape["fsdp"]


def my_pools(mesh: Mesh, accumulate: int) -> list[int]:
    """The pools of a batch that devices of this process need: of each group of devices one for each microbatch."""
    groups = np.reshape(mesh.devices, (row_groups(mesh), -1))
    here = [n for n, group in enumerate(groups) if any(d.process_index == jax.process_index() for d in group)]
    return [group * accumulate + n for group in here for n in range(accumulate)]


def shard_params(mesh: Mesh, shapes):
    """Of params and of what an optimizer keeps of them.

    Raises:
      ConfigError: an axis of a param does not divide over the devices it is spread over.
    """

    def place(path, leaf):
        spec = param_axes(param_path(path), leaf.ndim)
        for size, axis in zip(leaf.shape, spec, strict=True):
            if axis is not None and size % mesh.shape[axis]:
                raise ConfigError(
                    f"{param_path(path)} {leaf.shape} does not divide by mesh.{axis}={mesh.shape[axis]}; set another"
                )
        return NamedSharding(mesh, spec)

    return jax.tree_util.tree_map_with_path(place, shapes)


def shard_batch(mesh: Mesh, batch: Batch) -> Batch:
    """Rows and pools over data and fsdp."""
    return jax.tree.map(lambda _: NamedSharding(mesh, mesh_axes("batch")), batch)


def place_batch(mesh: Mesh, batch: Batch) -> Batch:
    """Return a batch as global arrays; each process passes the rows of its own devices.

    The fields in `HOST_ONLY`, which the step does not read, become None.
    """
    batch = batch.replace(**HOST_ONLY)
    return jax.tree.map(jax.make_array_from_process_local_data, shard_batch(mesh, batch), batch)


def placed_ahead(mesh: Mesh, batches: Iterable[Batch], ahead: int = 2) -> Iterator[Batch]:
    """Each batch as `place_batch` gives it, begun so many batches early: copies and steps overlap."""
    queue = collections.deque()
    for batch in batches:
        queue.append(place_batch(mesh, batch))
        if len(queue) > ahead:
            yield queue.popleft()
    yield from queue


def replicated(mesh: Mesh) -> NamedSharding:
    """Whole on every device."""
    return NamedSharding(mesh, P())
