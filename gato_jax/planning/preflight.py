"""Planning of a run: `make_plan` turns a config and a topology into a plan."""

from __future__ import annotations

import inspect
import math
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from gato_jax.batching import Loader, Mixture
from gato_jax.batching.batch import batch_specs
from gato_jax.model import count_parameters, param_shapes
from gato_jax.planning.budgets import PlanError, PoolBudgets, pool_budgets
from gato_jax.planning.collectives import Collectives
from gato_jax.planning.compilation import StepCost, compile_step
from gato_jax.planning.estimation import estimate_step
from gato_jax.planning.flops import StepFlops, flops_per_token, step_flops
from gato_jax.planning.plan import Host, Plan
from gato_jax.planning.remedies import remedies
from gato_jax.planning.roofline import Roofline, step_roofline
from gato_jax.planning.topologies import AbsentDevice, Topology
from gato_jax.training import TrainConfig
from gato_jax.training.program import make_program
from gato_jax.training.sharding import make_mesh, row_groups

MFU = (40, 50, 60)  # percentages of the peak, by the convention of flops_per_token
_DAY = 24 * 60 * 60


class Planned(NamedTuple):
    """A plan and the compiled step; `executable` is None where the step was estimated or does not compile."""

    plan: Plan
    executable: jax.stages.Compiled | None


def make_plan(
    config: TrainConfig, topology: Topology, mixture: Mixture | None = None, tokens: int | None = None
) -> Planned:
    """Compile the training step for a topology, or estimate it where no compiler for its devices is present.

    Args:
      config: the run.
      topology: accelerators, which need not be present.
      mixture: the run's data, from which the budgets of patches and targets follow. Without it, budgets that the config
        does not set are those of the worst case.
      tokens: token budget for the estimate of training days. Default: all of config.steps.

    Raises:
      ConfigError: the mesh, or the model on this mesh, is not possible on this topology.
      PlanError: the batch size is not a multiple of the number of pools (see `pool_budgets`), or `tokens` is below 1.
      CompileError: the compiler refuses the step for another reason than lack of memory, or does not report the memory.
      KernelError: the attention kernel is for another platform.
      TopologyError: the topology does not exist, or libtpu is not installed.
    """
    if tokens is not None and tokens < 1:
        raise PlanError(f"--tokens is {tokens}, expected a positive number. Leave it out for all of config.steps.")
    mesh = make_mesh(config.mesh, topology.mesh_devices())
    pools = pool_budgets(config, row_groups(mesh) * config.compute.accumulate, mixture)
    step = _step_cost(config, topology, mesh, pools)
    convention, executed = flops_per_token(config.model, config.context), step_flops(config, pools.budgets, pools.pools)
    speeds = {str(mfu): mfu / 100 * topology.chip.flops * topology.devices / convention for mfu in MFU}
    tokens = tokens or config.steps * config.batch_size * config.context
    roofline = _roofline(config, topology, mesh, pools, executed, step.collectives)
    flags = remedies(config, topology, mixture, needed=step.hbm, limit=step.limit) if not step.fits else []
    plan = Plan(
        topology=topology.name,
        parameters=count_parameters(param_shapes(config.model)),
        context=config.context,
        batch=config.batch_size,
        devices=topology.devices,
        mesh=dict(mesh.shape),
        hbm_bytes_per_device=step.hbm,
        hbm_limit=step.limit,
        fits=step.fits,
        remedies=tuple(flags),
        estimated=step.seconds is None,
        compile_seconds=step.seconds,
        flops_per_token=convention,
        step_flops=executed,
        tokens=tokens,
        tokens_per_second_at_mfu=speeds,
        days={mfu: tokens / speed / _DAY for mfu, speed in speeds.items()},
        roofline=roofline,
        expected_tokens_per_second=None if roofline is None else config.batch_size * config.context / roofline.seconds,
        collectives=step.collectives,
        pools=pools,
        host=_host_memory(config, topology, pools, mixture),
    )
    return Planned(plan, step.executable)


def _step_cost(config: TrainConfig, topology: Topology, mesh: Mesh, pools: PoolBudgets) -> StepCost:
    device, limit = mesh.devices.flat[0], topology.chip.hbm_limit
    if isinstance(device, AbsentDevice):
        return estimate_step(config, mesh, pools.budgets, limit)
    if topology.chip.platform == "gpu":
        limit = device.memory_stats()["bytes_limit"]
    weights = [dataset.loss_weight for dataset in config.datasets.values()] or [1.0]
    program = make_program(config, mesh, pools.budgets, weights)
    return compile_step(program, limit, [config.compute, config.model])


def _roofline(
    config: TrainConfig,
    topology: Topology,
    mesh: Mesh,
    pools: PoolBudgets,
    flops: StepFlops,
    traffic: Collectives | None,
) -> Roofline | None:
    """Return the roofline of a step on a topology; None where its communication is not known."""
    if traffic is None:
        return None
    chip = topology.chip
    wire = chip.network if chip.network is not None and topology.hosts > 1 else chip.link
    return step_roofline(config, chip, mesh, pools.budgets, flops, collective_seconds=traffic.bytes / wire)


def _host_memory(config: TrainConfig, topology: Topology, pools: PoolBudgets, mixture: Mixture | None) -> Host:
    specs = batch_specs(
        rows=config.batch_size,
        context=config.context,
        pools=pools.pools,
        patch=config.model.tokenization.patch,
        patch_budget=pools.patches,
    )
    batch = sum(math.prod(spec.shape) * np.dtype(spec.dtype).itemsize for spec in specs.values())
    prefetched = inspect.signature(Loader).parameters["prefetch"].default
    return Host(
        hosts=topology.hosts,
        batch=-(-batch // min(topology.hosts, pools.pools)),
        batches=prefetched + 2,
        row_index=None if mixture is None else _row_index(mixture),
        memory=topology.chip.host_memory,
    )


def _row_index(mixture: Mixture) -> int:
    """Return the bytes of the memory-mapped index of all timesteps and episodes of a mixture."""
    return sum(records.index.nbytes for records in mixture.records.values())
