"""Evaluators: what a run measures between its steps, above all the loss on data that it does not learn from."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from gato_jax.batching import Batch, Loader, Mixture
from gato_jax.model import graphdef, stack_blocks
from gato_jax.training.config import TrainConfig
from gato_jax.training.loss import by_dataset, cross_entropy, find_targets
from gato_jax.training.program import Program, batch_shapes, with_shardings
from gato_jax.training.sharding import batch_shardings, local_pools, place_batch, replicated, row_groups
from gato_jax.training.step import TrainState, accumulate


@runtime_checkable
class Evaluator(Protocol):
    """A measurement of an agent during training; its numbers are in the lines of metrics.jsonl."""

    def prepare(self, program: Program):
        """Compile, before the first step, what can be compiled for the mesh of the run."""

    def __call__(self, step: int, params: nnx.State) -> Mapping[str, float]:
        """Return {name: value} of an agent; called outside of the mesh.

        Args:
          step: Number of steps done.
          params: The params that the agent acts with, on the mesh of the run.
        """
        ...


class HeldOutLoss:
    """The mean loss of the targets of each held-out dataset, in nats, as `held_out/NAME`.

    The rows are the same each time, cut and prompted as those of training, without dropout.

    Args:
      config: Config of the run.
      mixture: The held-out rows, all datasets of equal weight, with batch size and context of the config.
    """

    def __init__(self, config: TrainConfig, mixture: Mixture):
        self.config, self.mixture = config, mixture
        self._program: Program | None = None
        self._step: Any = None

    def prepare(self, program: Program):
        """Compile the forward pass over a batch on the mesh of the run."""
        mesh, compute = program.mesh, self.config.compute
        pools = row_groups(mesh) * compute.accumulate
        self._budgets = self.mixture.budgets(pools)
        graph = graphdef(self.config.model, stacked=compute.scan)
        datasets, budget = len(self.mixture.names), self._budgets.targets

        def microbatch(params, batch: Batch, row_weights):
            targets = find_targets(batch, row_weights, budget)
            model = nnx.merge(graph, params)
            _, losses = cross_entropy(model, model(batch, None, compute), targets, compute.loss_chunk)
            return by_dataset(losses, targets, jnp.asarray(batch.dataset_ids), datasets)

        def evaluate(params, batch: Batch):
            params = stack_blocks(params) if compute.scan else params
            weights = jnp.ones(batch.row_ids.shape, jnp.float32)
            return accumulate(functools.partial(microbatch, params), compute.accumulate, batch, weights)

        shapes = batch_shapes(self.config, pools, self._budgets)
        shapes = with_shardings(shapes, batch_shardings(mesh, shapes))
        with jax.set_mesh(mesh):
            jitted = jax.jit(evaluate, out_shardings=replicated(mesh))
            self._step = jitted.lower(program.stored.params, shapes).compile()
        self._program = program

    def __call__(self, step: int, params: nnx.State) -> dict[str, float]:
        """Return {"held_out/NAME": mean loss} of each dataset."""
        assert self._program is not None, "prepare comes first"
        mesh, compute = self._program.mesh, self.config.compute
        count = compute.accumulate
        batches = -(-self.config.evaluators.held_out_rows * len(self.mixture.names) // self.config.batch_size)
        loader = Loader(
            self.mixture, steps=batches, threads=self.config.loader_threads, pools=row_groups(mesh) * count,
            local=local_pools(mesh, count), budgets=self._budgets,
        )  # fmt: skip
        with jax.set_mesh(mesh):
            parts = [jax.device_get(self._step(params, place_batch(mesh, batch, compute))) for batch in loader]
        sums, counts = np.sum(np.asarray(parts, np.float64), axis=0)
        names = self.mixture.names
        return {f"held_out/{n}": float(s / c) for n, s, c in zip(names, sums, counts, strict=True) if c}


def evaluate(evaluators: Sequence[Evaluator], step: int, state: TrainState) -> dict[str, float]:
    """Return the numbers of all evaluators for the agent of a state: its moving average of the params, if it has one.

    An agent on one device cannot act with the mesh of the run set, so it is unset.
    """
    params = state.params if state.average is None else state.average
    with jax.set_mesh(None):
        return {name: value for evaluator in evaluators for name, value in evaluator(step, params).items()}


def is_due(config: TrainConfig, first_step: int, last_step: int) -> bool:
    """Return whether an evaluation is due after any of the steps from `first_step` + 1 to `last_step`."""
    every = config.evaluators.every
    return last_step // every > first_step // every
