"""The training step as a program for a mesh: shapes, placements and the jitted step, before anything is allocated.

The loop runs it, and the planner compiles it for devices that this machine does not have.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from gato_jax.batching import Batch, Budgets
from gato_jax.batching.batch import HOST_ONLY, batch_specs
from gato_jax.model import graphdef, initialise, stack_blocks, unstack_blocks
from gato_jax.runtime.compilation import announced_compilation
from gato_jax.training.config import TrainConfig
from gato_jax.training.optimizer import optimizer
from gato_jax.training.sharding import batch_shardings, param_shardings, replicated, row_groups
from gato_jax.training.step import TrainState, make_initial_state, make_train_step


class Program(NamedTuple):
    """The jitted training step and what it takes.

    Attributes:
      mesh: The mesh that it runs on. Trace the functions within `with jax.set_mesh(program.mesh):`.
      state, batch, key: Arguments of the step, as ShapeDtypeStructs with their shardings. With compute.scan, the params
        of all blocks are stacked in the state.
      init: Jitted function key -> state, in which each device makes its own part.
      step: Jitted function (state, batch, key) -> (state, metrics). The state is donated.
      stored: The state as it is in checkpoints, where each block has its own params, as ShapeDtypeStructs.
      to_stored: Function state -> state as in checkpoints; with compute.scan it copies it.
      from_stored: Function state as in checkpoints -> state.
    """

    mesh: Mesh
    state: TrainState
    batch: Batch
    key: jax.ShapeDtypeStruct
    init: Callable
    step: Callable
    stored: TrainState
    to_stored: Callable
    from_stored: Callable


def make_program(config: TrainConfig, mesh: Mesh, budgets: Budgets, loss_weights: Sequence[float]) -> Program:
    """Build the program of a run without allocating arrays or compiling.

    Args:
      config: Config of the run.
      mesh: Mesh of devices, which need not be here.
      budgets: Patches and targets that a pool has room for, the rows of one device in one microbatch.
      loss_weights: Weight of the targets of each dataset, in the order of the mixture.

    Raises:
      ConfigError: A param does not divide over the mesh (see `param_shardings`).
    """
    tx = optimizer(config.optimizer, config.model, config.steps)
    average = config.optimizer.ema_decay is not None
    init = make_initial_state(functools.partial(initialise, config.model), tx, average=average)
    key = jax.eval_shape(lambda: jax.random.key(config.seed))
    scan = config.compute.scan
    stack, unstack = (stack_blocks, unstack_blocks) if scan else (lambda state: state, lambda state: state)
    stored = jax.eval_shape(init, key)
    shapes = jax.eval_shape(stack, stored)
    placement, stored_placement = (param_shardings(mesh, tree) for tree in (shapes, stored))
    batch = batch_shapes(config, row_groups(mesh) * config.compute.accumulate, budgets)
    step = make_train_step(
        graphdef(config.model, stacked=scan),
        tx,
        compute=config.compute,
        target_budget=budgets.targets,
        loss_weights=loss_weights,
        ema_decay=config.optimizer.ema_decay,
    )
    return Program(
        mesh,
        with_shardings(shapes, placement),
        with_shardings(batch, batch_shardings(mesh, batch)),
        with_shardings(key, replicated(mesh)),
        jax.jit(lambda key: stack(init(key)), out_shardings=placement),
        jax.jit(step, donate_argnums=0, out_shardings=(placement, replicated(mesh))),
        with_shardings(stored, stored_placement),
        jax.jit(unstack, out_shardings=stored_placement) if scan else unstack,
        jax.jit(stack, out_shardings=placement) if scan else stack,
    )


def compile_step(program: Program, config: TrainConfig) -> Callable:
    """Compile the training step, and return it as a function (state, batch, key) -> (state, metrics).

    The log says that it compiles, how long it took last time, and how long it took. Call it with the mesh of the
    program set.
    """
    devices = [device.device_kind for device in program.mesh.devices.flat]
    identity = [jax.__version__, devices, dict(program.mesh.shape), config.compute, config.model, program.batch]
    announced = (
        announced_compilation("training step", identity) if not jax.process_index() else contextlib.nullcontext()
    )
    with announced:
        return program.step.lower(program.state, program.batch, program.key).compile()


def batch_shapes(config: TrainConfig, pools: int, budgets: Budgets) -> Batch:
    """Return a whole batch, over all processes, of ShapeDtypeStructs without shardings.

    Fields that stay on the host are None. `pools` is the number of pools of the batch.
    """
    specs = batch_specs(
        rows=config.batch_size,
        context=config.context,
        pools=pools,
        patch=config.model.tokenization.patch,
        patch_budget=budgets.patches,
    )
    shapes: dict[str, Any] = {name: jax.ShapeDtypeStruct(spec.shape, spec.dtype) for name, spec in specs.items()}
    return Batch(**{**shapes, **HOST_ONLY})


def with_shardings(shapes, placement):
    """Return the tree `shapes` as ShapeDtypeStructs with the shardings in `placement`, a tree of the same form."""
    return jax.tree.map(lambda s, p: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=p), shapes, placement)
