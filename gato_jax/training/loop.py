"""The training loop: build the program, restore the newest checkpoint, then run step after step."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
from tqdm import tqdm

from gato_jax.batching import Batch, Budgets, Loader, Mixture, describe_prompts
from gato_jax.checkpoints import CheckpointStore
from gato_jax.model import count_parameters
from gato_jax.runtime import Interruption, interruptible
from gato_jax.runtime.interruption import GO_ON
from gato_jax.training.board import first_images, require_wandb
from gato_jax.training.config import ConfigError, TrainConfig
from gato_jax.training.config_file import write_config
from gato_jax.training.evaluators import Evaluator, evaluate, is_due
from gato_jax.training.holding import hold_run
from gato_jax.training.processes import any_process
from gato_jax.training.program import Program, compile_step, make_program
from gato_jax.training.recorder import Recorder
from gato_jax.training.resume import continue_run, require_same_model
from gato_jax.training.run_data import open_image_tokenizer
from gato_jax.training.sharding import local_pools, make_mesh, place_ahead, row_groups
from gato_jax.training.start import FromAgent, Start, from_scratch
from gato_jax.training.step import TrainState

_log = logging.getLogger(__name__)


def train(
    config: TrainConfig,
    mixture: Mixture,
    workdir: pathlib.Path,
    *,
    stop_after: int | None = None,
    start: Start = from_scratch,
    after_checkpoint: Callable[[int], None] | None = None,
    evaluators: Sequence[Evaluator] = (),
    interruption: Interruption | None = None,
    command: str | None = None,
) -> dict[str, Any]:
    """Train an agent, from the newest checkpoint of the folder if it has one, and return the last metrics.

    These are the last line of metrics.jsonl, but with `step` and `tokens` of the newest checkpoint, which may be some
    steps later; `parameters`, the number of the model's parameters; and `interrupted`, the name of the signal that
    ended the run before its last step, or None. A signal ends it with a checkpoint of the present step, or at once
    before the first step, while the program is compiled.

    Args:
      config: Config of the run. When a run is continued, steps, optimizer and the settings of computation, logging,
        checkpoints and evaluation may differ; the model and all that decides the rows may not (see `resume`).
      mixture: The rows, under the seed, batch size and context of the config.
      workdir: Folder of the run, for checkpoints, config.json, metrics.jsonl and TensorBoard events.
      stop_after: Number of steps, counted from the beginning of the run, after which to stop with a checkpoint; None
        or a larger number for all of `config.steps`.
      start: Function that makes the initial state of a run that has no checkpoint.
      after_checkpoint: Function that is called with the step of each checkpoint, once it is on disk. A run that is
        continued calls it first with the step that it continues from, because it may have been killed before the call
        or during it; a signal ends the run at once there.
      evaluators: Measurements for every `config.evaluators.every` steps.
      interruption: The requests to end, if the caller holds the folder already (see `hold_run`) and handles signals;
        None to do both now.
      command: The command that goes on with the run, for messages; None if there is none.

    Raises:
      FolderInUseError: Another process writes the folder.
      CheckpointError: The folder has checkpoints of another run or model, or of a later step than the last one.
      ContractError: The folder has checkpoints of another contract, or the mixture has another tokenization than
        the config.
      MixtureError: The batch size is no multiple of mesh.data x mesh.fsdp x compute.accumulate.
      ConfigError: A budget is too small, the mesh does not fit the devices or the sizes of the params, or wandb is not
        installed.
      NonFiniteLossError: The loss or a gradient was NaN or infinite in `config.max_skipped_steps` steps in a row.
    """
    if interruption is None:
        with interruptible(GO_ON) as interruption, hold_run(workdir):
            return train(
                config, mixture, workdir, stop_after=stop_after, start=start, after_checkpoint=after_checkpoint,
                evaluators=evaluators, interruption=interruption, command=command,
            )  # fmt: skip
    contract = dataclasses.replace(mixture.contract, tokenization=config.model.tokenization)
    contract.require_equal(mixture.contract, "the token records")
    require_wandb(config)
    require_same_model(config, workdir)
    run = continue_run(config, mixture, workdir)
    if isinstance(start, FromAgent):
        start.require_contract(mixture.contract)
        run["init_from"] = start.origin
    mesh = make_mesh(config.mesh)
    pools = row_groups(mesh) * config.compute.accumulate
    budgets = _budgets(config, mixture, pools)
    program = make_program(config, mesh, budgets, [dataset.loss_weight for dataset in mixture.datasets.values()])
    key = jax.jit(lambda: jax.random.key(config.seed), out_shardings=program.key.sharding)()
    _log_sizes(config, mixture, program, budgets)

    store = CheckpointStore(workdir, keep=config.checkpoints.keep, keep_every=config.checkpoints.keep_every)
    if not jax.process_index():
        write_config(config, workdir)
    first_step = store.latest_step() or 0
    stop = min(config.steps, stop_after or config.steps)
    if not is_due(config, first_step, stop):
        evaluators = ()
    # When a step fails, the checkpoint that is being written is completed, too.
    with jax.set_mesh(mesh), contextlib.closing(store):
        with interruption.at_once():  # nothing is lost before the first step
            if first_step:
                stored, held = store.restore_training(first_step, program.stored)
                state = program.from_stored(stored)
                del stored  # with compute.scan, it is a copy
            else:
                state, held = start(program, key), {}
            train_step = compile_step(program, config) if first_step < stop else program.step
            for evaluator in evaluators:
                evaluator.prepare(program)
            images = {} if jax.process_index() else first_images(mixture, open_image_tokenizer(config, workdir))
        if first_step:
            with interruption.at_once():
                _call_outside_mesh(after_checkpoint, first_step)
        loader = Loader(
            mixture, steps=config.steps, first_step=held.get("next_step", 0), threads=config.loader_threads,
            pools=pools, local=local_pools(mesh, config.compute.accumulate), budgets=budgets,
        )  # fmt: skip

        def save(done: int, state: TrainState, progress: dict[str, Any]):
            about = {"contract": mixture.contract, "model": config.model, "run": run}
            store.save(done, state, loader={**loader.state_at(done), **progress}, **about)
            if after_checkpoint is not None and (done == stop or not interruption.requested):
                store.wait()
                with interruption.at_once():  # the same command calls it again
                    _call_outside_mesh(after_checkpoint, done)

        recorder = Recorder(config, mixture, workdir, store, first_step, held, images=images, command=command)
        done = _run_steps(
            config, range(first_step, stop), state, lambda state, batch: train_step(state, batch, key),
            to_stored=program.to_stored,
            batches=place_ahead(mesh, loader, config.compute), recorder=recorder, save=save, evaluators=evaluators,
            interruption=interruption,
        )  # fmt: skip
        store.wait()
    return {
        **recorder.close(),
        "step": done,
        "tokens": done * config.batch_size * config.context,
        "parameters": count_parameters(program.state.params),
        "interrupted": interruption.requested if done < stop else None,
    }


def _run_steps(
    config: TrainConfig,
    steps: range,
    state: TrainState,
    train_step: Callable,
    *,
    to_stored: Callable[[TrainState], TrainState],
    batches: Iterator[Batch],
    recorder: Recorder,
    save: Callable[[int, TrainState, dict[str, Any]], None],
    evaluators: Sequence[Evaluator],
    interruption: Interruption,
) -> int:
    """Run the steps, with evaluations and checkpoints, until the last one or a request to end; return the number done.

    There is no checkpoint, and no end, after a step that was skipped, except at the last step: the checkpoints that are
    kept stay those of steps that went well.

    Args:
      config: Config of the run.
      steps: Indices of the steps.
      state: The state before them, which is donated.
      train_step: Function (state, batch) -> (state, metrics).
      to_stored: Function that returns the state as it is in checkpoints, for evaluators and for `save`.
      batches: The batches of these steps, on the mesh.
      recorder: Receiver of the metrics.
      save: Function that writes a checkpoint of (steps done, state, state of the recorder).
      evaluators: Measurements for every `config.evaluators.every` steps.
      interruption: The requests to end.
    """
    bar = {"initial": steps.start, "total": config.steps, "unit": "step", "desc": "train", "mininterval": 2}
    with tqdm(steps, disable=jax.process_index() > 0, **bar) as progress:
        for step in progress:
            state, metrics = train_step(state, next(batches))
            recorder.add(metrics, progress)
            done = step + 1
            is_last = done == steps.stop
            asked = any_process(interruption.requested is not None, now=done % config.log_every == 0)
            saves = is_last or asked or done % config.checkpoints.every == 0
            evaluates = bool(evaluators) and done % config.evaluators.every == 0
            if evaluates:
                with interruption.after(f"the evaluation of step {done}"):
                    recorder.fetch(progress, functools.partial(evaluate, evaluators, done, to_stored(state)))
            elif saves:
                recorder.fetch(progress)
            if saves and recorder.in_a_row and not is_last:
                _log.info("step %d was not finite; the next checkpoint is written after a step that is", done)
            elif saves:
                save(done, to_stored(state), recorder.state)
                if asked and not is_last:
                    _log.info("%s: saving step %d", interruption.requested or "a signal", done)
                    return done
    return steps.stop


def _call_outside_mesh(after_checkpoint: Callable[[int], None] | None, step: int):
    """Call `after_checkpoint(step)`, unless it is None, with the mesh of the run unset.

    With the mesh set, an agent with params on one device cannot act.
    """
    if after_checkpoint is not None:
        with jax.set_mesh(None):
            after_checkpoint(step)


def _budgets(config: TrainConfig, mixture: Mixture, pools: int) -> Budgets:
    """Return the budgets of a pool: those of the config, or else the upper bounds of the mixture.

    A pool is the rows of one device in one microbatch.

    Raises:
      ConfigError: A budget of the config is below the upper bound.
    """
    worst = mixture.budgets(pools)
    given = (config.patch_budget, config.target_budget)
    budgets = Budgets(*(most if budget is None else budget for budget, most in zip(given, worst, strict=True)))
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
    for line in describe_prompts(mixture):
        _log.info("%s", line)
