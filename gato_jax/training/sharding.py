"""Placement of params and batches on a mesh of three axes, by the table in gato_jax.model.axes.

The compiler partitions the program of `jax.jit` according to these NamedShardings.
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
from gato_jax.model import ComputeConfig, mesh_axes, param_axes, param_path, require_room
from gato_jax.training.config import ConfigError, MeshConfig

AXES = ("data", "fsdp", "tensor")


def make_mesh(config: MeshConfig, devices: Sequence[Any] | None = None) -> Mesh:
    """Return the mesh ("data", "fsdp", "tensor") over all devices of all processes, or over the given ones.

    One size of the config may be -1, which stands for the number of devices divided by the other two sizes.

    Raises:
      ConfigError: The product of the sizes of the axes is not the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    sizes = [config.data, config.fsdp, config.tensor]
    if -1 in sizes:
        rest = -sizes[0] * sizes[1] * sizes[2]
        sizes[sizes.index(-1)] = max(len(devices) // rest, 1)
    if sizes[0] * sizes[1] * sizes[2] != len(devices):
        raise ConfigError(
            f"mesh data x fsdp x tensor is {sizes}, expected a product of {len(devices)}, the devices; set one to -1"
        )
    laid_out = mesh_utils.create_device_mesh(sizes, devices, allow_split_physical_axes=True)
    return Mesh(laid_out, AXES, axis_types=(AxisType.Auto,) * 3)


def row_groups(mesh: Mesh) -> int:
    """Return data x fsdp, the number of groups of devices with rows of their own; those along `tensor` share theirs."""
    return mesh.shape["data"] * mesh.shape["fsdp"]


def local_pools(mesh: Mesh, accumulate: int) -> list[int]:
    """Return the indices, ascending, of the pools of a batch that the devices of this process need.

    A batch has one pool for each group of devices (see `row_groups`) and each of `accumulate` microbatches.
    """
    groups = np.reshape(mesh.devices, (row_groups(mesh), -1))
    here = [n for n, group in enumerate(groups) if any(d.process_index == jax.process_index() for d in group)]
    return [group * accumulate + n for group in here for n in range(accumulate)]


def param_shardings(mesh: Mesh, shapes):
    """Return the NamedShardings of params and of the optimizer's state, as a tree of the form of `shapes`.

    Args:
      mesh: The mesh.
      shapes: A tree of arrays or ShapeDtypeStructs; each leaf is placed by its path (see `param_axes`).

    Raises:
      ConfigError: The size of an axis is no multiple of the devices that it is spread over.
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


def batch_shardings(mesh: Mesh, batch: Batch) -> Batch:
    """Return the NamedShardings of a batch, as a Batch; its arrays are not read.

    The first axis, of rows or pools, is spread over the axes data and fsdp.
    """
    return jax.tree.map(lambda _: NamedSharding(mesh, mesh_axes("batch")), batch)


def place_batch(mesh: Mesh, batch: Batch, compute: ComputeConfig | None = None) -> Batch:
    """Return a batch as global arrays; each process passes the rows of its own devices.

    The fields in `HOST_ONLY`, which the step does not read, become None.

    Raises:
      KernelError: A row has more segments than the kernel of `compute` has room for.
    """
    if compute is not None:
        require_room(compute, batch.segment_ids)
    batch = batch.replace(**HOST_ONLY)
    return jax.tree.map(jax.make_array_from_process_local_data, batch_shardings(mesh, batch), batch)


def place_ahead(
    mesh: Mesh, batches: Iterable[Batch], compute: ComputeConfig | None = None, ahead: int = 2
) -> Iterator[Batch]:
    """Yield each batch, in order, placed by `place_batch` `ahead` batches early so that copies and steps overlap."""
    queue = collections.deque()
    for batch in batches:
        queue.append(place_batch(mesh, batch, compute))
        if len(queue) > ahead:
            yield queue.popleft()
    yield from queue


def replicated(mesh: Mesh) -> NamedSharding:
    """Return the sharding of an array that every device holds whole."""
    return NamedSharding(mesh, P())
