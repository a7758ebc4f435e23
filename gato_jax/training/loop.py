"""The training loop: build the program, restore the newest checkpoint, then run step after step.

Metrics are fetched one step late, so that the device does not wait for the host.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import pathlib
from collections.abc import Callable
from typing import Any

import jax
from tqdm import tqdm

from gato_jax.batching import Budgets, Loader, Mixture
from gato_jax.checkpoints import CheckpointError, CheckpointStore, model_from_json, model_to_json, require_place
from gato_jax.episodes.differences import require_same
from gato_jax.model import count_parameters
from gato_jax.tokenization import Contract
from gato_jax.training.config import ConfigError, TrainConfig
from gato_jax.training.config_file import write_config
from gato_jax.training.metrics import MetricsLog
from gato_jax.training.program import Program, make_program
from gato_jax.training.sharding import local_pools, make_mesh, place_ahead, row_groups
from gato_jax.training.start import Start, from_scratch

_log = logging.getLogger(__name__)


def train(
    config: TrainConfig,
    mixture: Mixture,
    workdir: pathlib.Path,
    *,
    stop_after: int | None = None,
    start: Start = from_scratch,
    after_checkpoint: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Train an agent, from the newest checkpoint of the folder if it has one, and return the last metrics.

    These are the last line of metrics.jsonl, and `parameters`, the number of the model's parameters.

    Args:
      config: Config of the run. When a run is continued, the sections compute and mesh, the budgets and the settings of
        logging and loading may differ; model, optimizer, steps and all that decides the rows may not.
      mixture: The rows, under the seed, batch size and context of the config.
      workdir: Folder of the run, for checkpoints, config.json, metrics.jsonl and TensorBoard events.
      stop_after: Number of steps, counted from the beginning of the run, after which to stop with a checkpoint; None
        or a larger number for all of `config.steps`.
      start: Function that makes the initial state of a run that has no checkpoint.
      after_checkpoint: Function that is called with the step of each checkpoint, once it is on disk. A run that is
        continued calls it first with the step that it continues from, because it may have been killed before the call.

    Raises:
      CheckpointError: The folder has checkpoints of another run or model.
      ContractError: The folder has checkpoints of another contract, or the mixture has another tokenization than
        the config.
      MixtureError: The batch size is no multiple of mesh.data x mesh.fsdp x compute.accumulate.
      ConfigError: A budget is too small, or the mesh does not fit the devices or the sizes of the params.
      NonFiniteLossError: The loss or a gradient is NaN or infinite.
    """
    contract = dataclasses.replace(mixture.contract, tokenization=config.model.tokenization)
    contract.require_equal(mixture.contract, "the token records")
    require_same_model(config, workdir)
    require_same_run(config, mixture, workdir)
    mesh = make_mesh(config.mesh)
    pools = row_groups(mesh) * config.compute.accumulate
    budgets = _budgets(config, mixture, pools)
    program = make_program(config, mesh, budgets, [dataset.loss_weight for dataset in mixture.datasets.values()])
    key = jax.jit(lambda: jax.random.key(config.seed), out_shardings=program.key.sharding)()
    _log_sizes(config, mixture, program, budgets)

    description = _description(config, mixture)
    store = CheckpointStore(workdir, keep=config.checkpoints.keep, keep_every=config.checkpoints.keep_every)
    if not jax.process_index():
        write_config(config, workdir)
    first_step = store.latest_step() or 0
    with jax.set_mesh(mesh):
        if first_step:
            state, loader_state = store.restore_training(first_step, program.state)
            next_batch = loader_state["next_step"]
            _call_outside_mesh(after_checkpoint, first_step)
        else:
            state, next_batch = start(program, key), 0
        stop = min(config.steps, stop_after or config.steps)
        loader = Loader(
            mixture, steps=config.steps, first_step=next_batch, threads=config.loader_threads,
            pools=pools, local=local_pools(mesh, config.compute.accumulate), budgets=budgets,
        )  # fmt: skip
        batches = place_ahead(mesh, loader)
        log = MetricsLog(workdir, mixture.names, config, first_step)
        metrics = None
        bar = {"initial": first_step, "total": config.steps, "unit": "step", "desc": "train", "mininterval": 2}
        with (
            contextlib.closing(store),  # when a step fails, too: what is being written is written to its end
            tqdm(range(first_step, stop), disable=jax.process_index() > 0, **bar) as progress,
        ):
            for step in progress:
                state, new_metrics = program.step(state, next(batches), key)
                if metrics is not None:
                    log.add(step - 1, metrics, progress)
                metrics = new_metrics
                done = step + 1
                if done % config.checkpoints.every == 0 or done == stop:
                    log.add(step, metrics, progress)
                    metrics = None
                    log.sync()
                    store.save(done, state, loader=loader.state_at(done), **description)
                    if after_checkpoint is not None:
                        store.wait()
                        _call_outside_mesh(after_checkpoint, done)
            store.wait()
    return {**log.close(), "parameters": count_parameters(program.state.params)}


def _call_outside_mesh(after_checkpoint: Callable[[int], None] | None, step: int):
    """Call `after_checkpoint(step)`, unless it is None, with the mesh of the run unset.

    With the mesh set, an agent with params on one device cannot act.
    """
    if after_checkpoint is not None:
        with jax.set_mesh(None):
            after_checkpoint(step)


def _description(config: TrainConfig, mixture: Mixture) -> dict[str, Any]:
    """Return what a checkpoint holds besides its arrays, as keyword arguments of `CheckpointStore.save`.

    `contract` is the Contract, `model` the ModelConfig, and `run` the identity of the run as JSON.
    """
    run = {name: getattr(config, name) for name in ("seed", "batch_size", "context", "steps")}
    rows = {name: value for name, value in mixture.to_json().items() if name not in run}
    run |= {"mixture": rows, "memory_steps": mixture.memory_steps}
    run |= {"optimizer": dataclasses.asdict(config.optimizer)}
    return {"contract": mixture.contract, "model": config.model, "run": run}


def require_same_run(config: TrainConfig, mixture: Mixture, workdir: pathlib.Path):
    """Check that the newest checkpoint in a folder, if there is one, is of this run.

    The rows, the seed, the number of steps, the optimizer and the contract must be the same.

    Raises:
      CheckpointError, ContractError: They are not the same; the message shows each difference.
    """
    if (found := _newest_description(workdir)) is None:
        return
    require_same(
        _description(config, mixture)["run"], found["run"], problem=f"{workdir} holds another run's checkpoint",
        holder="its checkpoint", remedy="name another --workdir", error=CheckpointError,
    )  # fmt: skip
    Contract.from_json(found["contract"], str(workdir)).require_equal(mixture.contract, "this config")


def require_same_model(config: TrainConfig, workdir: pathlib.Path):
    """Check that the newest checkpoint in a folder, if there is one, is of the same model and tokenization.

    Raises:
      CheckpointError: The model is another; the message shows each difference.
      ContractError: The tokenization is another; the message shows each difference.
    """
    if (found := _newest_description(workdir)) is None:
        return
    trained = model_from_json(found["model"])
    Contract(config.model.tokenization, {}).require_equal(Contract(trained.tokenization, {}), f"{workdir}'s checkpoint")
    require_same(
        model_to_json(config.model), model_to_json(trained), problem=f"{workdir} holds another model's checkpoint",
        holder="its checkpoint", remedy="name another --workdir", error=CheckpointError,
    )  # fmt: skip


def _newest_description(workdir: pathlib.Path) -> dict[str, Any] | None:
    """Return model, contract and run, as JSON, of a folder's newest checkpoint; None if there is no checkpoint."""
    require_place(workdir)
    if not (workdir / "checkpoints").is_dir():
        return None
    with contextlib.closing(CheckpointStore(workdir, read_only=True)) as store:
        step = store.latest_step()
        return None if step is None else store.about(step)


def _budgets(config: TrainConfig, mixture: Mixture, pools: int) -> Budgets:
    """Return the budgets of a pool: those of the config, or else the upper bounds of the mixture.

    A pool is the rows of one device in one microbatch.

    Raises:
      ConfigError: A budget of the config is below the upper bound.
    """
    worst = mixture.budgets(pools)
    budgets = Budgets(config.patch_budget or worst.patches, config.target_budget or worst.targets)
    for name, budget, needed in zip(("patch_budget", "target_budget"), budgets, worst, strict=True):
        if budget < needed:
            raise ConfigError(
                f"{name} is {budget}, and the {config.batch_size // pools} rows of a device can have {needed}; set "
                "that, or leave it out"
            )
    return budgets


def _log_sizes(config: TrainConfig, mixture: Mixture, program: Program, budgets: Budgets):
    if jax.process_index():
        return
    pools = program.batch.patch_slots.shape[0]
    _log.info(
        "model: %.2fM parameters; batch: %d rows of %d = %d tokens, budgets of %d x %d patches%s and %d x %d targets",
        count_parameters(program.state.params) / 1e6,
        config.batch_size,
        config.context,
        config.batch_size * config.context,
        pools,
        budgets.patches,
        f" ({mixture.patch_use(budgets.patches, pools):.0%} used)" if budgets.patches else "",
        pools,
        budgets.targets,
    )
