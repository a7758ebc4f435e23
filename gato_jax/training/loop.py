"""The training loop: shapes, placement, restore, then step after step; metrics are fetched one step late."""

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
from gato_jax.checkpoints import CheckpointError, CheckpointStore, model_from_json, model_to_json
from gato_jax.episodes.differences import require_same
from gato_jax.model import count_parameters
from gato_jax.tokenization import Contract
from gato_jax.training.config import ConfigError, TrainConfig
from gato_jax.training.metrics import MetricsLog
from gato_jax.training.program import Program, make_program
from gato_jax.training.sharding import make_mesh, my_pools, placed_ahead, row_groups
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
    """Trains into `workdir`, from its newest checkpoint if it has one, and returns the last metrics.

    Args:
      config: the run's; what it is computed with may change when a run goes on, what is computed may not.
      mixture: of rows, under the config's seed, batch size and context.
      workdir: holds checkpoints, metrics.jsonl and TensorBoard's events.
      stop_after: stop, with a checkpoint, after this many steps of the run: for planned interruptions.
      start: makes what a run without a checkpoint begins with.
      after_checkpoint: called with the step when a checkpoint is on disk, before the next step; of a run that goes on
        first with the step that it goes on from, as it may have been killed before the call.
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
    _describe(config, mixture, program, budgets)

    about = _about(config, mixture)
    store = CheckpointStore(workdir)
    first_step = store.latest_step() or 0
    with jax.set_mesh(mesh):
        if first_step:
            state, read = store.restore_training(first_step, program.state)
            next_batch = read["next_step"]
            _tell(after_checkpoint, first_step)
        else:
            state, next_batch = start(program, key), 0
        stop = min(config.steps, stop_after or config.steps)
        loader = Loader(
            mixture, steps=config.steps, first_step=next_batch, threads=config.loader_threads,
            pools=pools, mine=my_pools(mesh, config.compute.accumulate), budgets=budgets,
        )  # fmt: skip
        batches = placed_ahead(mesh, loader)
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
                if done % config.checkpoint_every == 0 or done == stop:
                    log.add(step, metrics, progress)
                    metrics = None
                    store.save(done, state, loader=loader.state_at(done), **about)
                    if after_checkpoint is not None:
                        store.wait()
                        _tell(after_checkpoint, done)
            store.wait()
    return {**log.close(), "parameters": count_parameters(program.state.params)}


def _tell(after_checkpoint: Callable[[int], None] | None, step: int):
    """Calls it outside of the mesh, in which params on one device, as agents have them, could not be used."""
    if after_checkpoint is not None:
        with jax.set_mesh(None):
            after_checkpoint(step)


def _about(config: TrainConfig, mixture: Mixture) -> dict[str, Any]:
    """What a checkpoint says of itself besides its arrays."""
    run = {name: getattr(config, name) for name in ("seed", "batch_size", "context", "steps")}
    rows = {name: value for name, value in mixture.to_json().items() if name not in run}
    run |= {"mixture": rows, "memory_steps": mixture.memory_steps}
    run |= {"optimizer": dataclasses.asdict(config.optimizer)}
    return {"contract": mixture.contract, "model": config.model, "run": run}


def require_same_run(config: TrainConfig, mixture: Mixture, workdir: pathlib.Path):
    """Refuses a folder whose checkpoints are of a run on other rows or with another optimizer.

    Raises:
      CheckpointError, ContractError: showing what differs.
    """
    if (about := _newest(workdir)) is None:
        return
    require_same(
        _about(config, mixture)["run"], about["run"], problem=f"{workdir} holds another run's checkpoint",
        holder="its checkpoint", remedy="name another --workdir", error=CheckpointError,
    )  # fmt: skip
    Contract.from_json(about["contract"], str(workdir)).require_equal(mixture.contract, "this config")


def require_same_model(config: TrainConfig, workdir: pathlib.Path):
    """Refuses a folder whose checkpoints are of another model or tokenization, before anything of it is changed.

    Raises:
      CheckpointError, ContractError: naming what differs.
    """
    if (about := _newest(workdir)) is None:
        return
    there = model_from_json(about["model"])
    Contract(config.model.tokenization, {}).require_equal(Contract(there.tokenization, {}), f"{workdir}'s checkpoint")
    require_same(
        model_to_json(config.model), model_to_json(there), problem=f"{workdir} holds another model's checkpoint",
        holder="its checkpoint", remedy="name another --workdir", error=CheckpointError,
    )  # fmt: skip


def _newest(workdir: pathlib.Path) -> dict[str, Any] | None:
    """What the newest checkpoint of a folder says of itself, None where there is none."""
    if not (workdir / "checkpoints").is_dir():
        return None
    with contextlib.closing(CheckpointStore(workdir, read_only=True)) as store:
        step = store.latest_step()
        return None if step is None else store.about(step)


def _budgets(config: TrainConfig, mixture: Mixture, pools: int) -> Budgets:
    """Of a pool: those set by hand, which have to hold the worst that the mixture can bring, or just that."""
    worst = mixture.budgets(pools)
    by_hand = Budgets(config.patch_budget or worst.patches, config.target_budget or worst.targets)
    for name, budget, needed in zip(("patch_budget", "target_budget"), by_hand, worst, strict=True):
        if budget < needed:
            raise ConfigError(
                f"{name} is {budget}, and the {config.batch_size // pools} rows of a device can bring {needed}; set "
                "that, or leave it out"
            )
    return by_hand


def _describe(config: TrainConfig, mixture: Mixture, program: Program, budgets: Budgets):
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
