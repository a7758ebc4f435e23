"""The training loop: shapes, placement, restore, then step after step; metrics are fetched one step late."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import logging
import pathlib
import time
from typing import Any

import jax
import numpy as np
from tensorboardX import SummaryWriter
from tqdm import tqdm

from gato_jax.batching import Loader, Mixture
from gato_jax.checkpoints import CheckpointError, CheckpointStore, model_from_json
from gato_jax.model import count_parameters, graph_of, initialise
from gato_jax.tokenization import Contract
from gato_jax.training.config import TrainConfig
from gato_jax.training.optimizer import learning_rate, optimizer
from gato_jax.training.sharding import make_mesh, shard_batch, shard_params
from gato_jax.training.step import TrainState, make_initial_state, make_train_step

_log = logging.getLogger(__name__)


class NonFiniteLossError(RuntimeError):
    """The loss or its gradient was NaN or infinite; the message names the step. The last checkpoint is from before."""


def train(
    config: TrainConfig, mixture: Mixture, workdir: pathlib.Path, *, stop_after: int | None = None
) -> dict[str, Any]:
    """Trains into `workdir`, from its newest checkpoint if it has one, and returns the last metrics.

    With `stop_after` it stops, with a checkpoint, after this many steps of the run: for planned interruptions.
    """
    contract = dataclasses.replace(mixture.contract, tokenization=config.model.tokenization)
    contract.require_equal(mixture.contract, "the token records")
    require_same_model(config, workdir)
    key = jax.random.key(config.seed)
    mesh = make_mesh(config.mesh)
    tx = optimizer(config.optimizer, config.steps)
    init = make_initial_state(functools.partial(initialise, config.model), tx)
    shapes = jax.eval_shape(init, key)
    placement = shard_params(mesh, shapes)
    graph = graph_of(config.model)
    _describe(config, mixture, shapes)

    store = CheckpointStore(workdir)
    run = {name: getattr(config, name) for name in ("seed", "batch_size", "context", "steps")}
    run |= {"mixture": mixture.fingerprint, "memory_steps": mixture.memory_steps}
    run |= {"optimizer": dataclasses.asdict(config.optimizer)}
    first_step = store.latest_step() or 0
    if first_step:
        _require_same_run(store, first_step, mixture, run, config)
        placed = jax.tree.map(lambda s, p: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=p), shapes, placement)
        params, moments, read = store.restore_training(first_step, params=placed.params, optimizer=placed.optimizer)
        next_batch = read["next_step"]
        state = TrainState(params, moments, jax.device_put(np.int32(first_step), placement.step))
    else:
        state, next_batch = jax.jit(init, out_shardings=placement)(key), 0

    step_fn = make_train_step(
        graph, tx, target_budget=mixture.target_budget, loss_weights=[entry.loss_weight for entry in mixture.entries]
    )
    train_step = jax.jit(step_fn, donate_argnums=0, out_shardings=(placement, None))
    stop = min(config.steps, stop_after or config.steps)
    loader = Loader(mixture, steps=config.steps, first_step=next_batch, threads=config.loader_threads)
    log = MetricsLog(workdir, mixture.names, config, first_step)
    metrics = None
    bar = {"initial": first_step, "total": config.steps, "unit": "step", "desc": "train", "mininterval": 2}
    with (
        contextlib.closing(store),  # when a step fails, too: what is being written is written to its end
        tqdm(range(first_step, stop), **bar) as progress,
    ):
        for step in progress:
            batch = next(loader)
            batch = jax.device_put(batch, shard_batch(mesh, batch))
            state, new_metrics = train_step(state, batch, key)
            if metrics is not None:
                log.add(step - 1, metrics, progress)
            metrics = new_metrics
            done = step + 1
            if done % config.checkpoint_every == 0 or done == stop:
                log.add(step, metrics, progress)
                metrics = None
                about = {"contract": mixture.contract, "model": config.model, "run": run}
                store.save(done, params=state.params, optimizer=state.optimizer, loader=loader.state(), **about)
        store.wait()
    return {**log.close(), "parameters": count_parameters(shapes.params)}


def _require_same_run(store: CheckpointStore, step: int, mixture: Mixture, run: dict, config: TrainConfig):
    about = store.about(step)
    for name, mine in run.items():
        if (there := about["run"].get(name)) != mine:
            raise CheckpointError(
                f"{store.directory.parent} holds another run's checkpoint: {name} is {there!r} there, "
                f"{mine!r} here; name another --workdir"
            )
    Contract.from_json(about["contract"], str(store.directory)).require_equal(mixture.contract, "this config")


def require_same_model(config: TrainConfig, workdir: pathlib.Path):
    """Refuses a folder whose checkpoints are of another model or tokenization, before anything of it is changed.

    Raises:
      CheckpointError, ContractError: naming what differs.
    """
    if not (workdir / "checkpoints").is_dir():
        return
    with contextlib.closing(CheckpointStore(workdir, read_only=True)) as store:
        step = store.latest_step()
        there = None if step is None else model_from_json(store.about(step)["model"])
    if there is None:
        return
    Contract(config.model.tokenization, {}).require_equal(Contract(there.tokenization, {}), f"{workdir}'s checkpoint")
    for name in (field.name for field in dataclasses.fields(there)):
        if (theirs := getattr(there, name)) != (mine := getattr(config.model, name)):
            raise CheckpointError(
                f"{workdir} holds another model's checkpoint: {name} is {theirs!r} there, {mine!r} here; "
                "name another --workdir"
            )


def _describe(config: TrainConfig, mixture: Mixture, shapes: TrainState):
    tokens = config.batch_size * config.context
    _log.info(
        "model: %.2fM parameters; batch: %d rows of %d = %d tokens, budgets of %d patches%s and %d targets",
        count_parameters(shapes.params) / 1e6,
        config.batch_size,
        config.context,
        tokens,
        mixture.patch_budget,
        f" ({mixture.patch_use():.0%} used)" if mixture.patch_budget else "",
        mixture.target_budget,
    )


class MetricsLog:
    """metrics.jsonl and TensorBoard events: one line for every `log_every` steps, with their mean loss."""

    def __init__(self, workdir: pathlib.Path, datasets: list[str], config: TrainConfig, first_step: int):
        self.datasets, self.config = datasets, config
        self.path = workdir / "metrics.jsonl"
        self.schedule = learning_rate(config.optimizer, config.steps)
        kept = [line for line in self._lines() if line["step"] <= first_step]
        rewritten = self.path.with_suffix(".partial")
        rewritten.write_text("".join(json.dumps(line) + "\n" for line in kept))
        rewritten.replace(self.path)
        self.seconds_before = kept[-1]["seconds"] if kept else 0.0
        self.last = kept[-1] if kept else {}
        self.file = self.path.open("a")
        self.board = SummaryWriter(str(workdir / "tensorboard"), purge_step=first_step + 1)
        self.started = self.previous = time.monotonic()
        self.window: list[dict] = []

    def add(self, step: int, metrics: dict, progress: tqdm):
        """Takes the metrics of one step (counted from 0); writes a line for every `log_every` steps."""
        metrics = jax.device_get(metrics)
        loss, norm = metrics["loss"], metrics["gradient_norm"]
        if not np.isfinite([loss, norm]).all():  # a gradient that is not finite would be in the next checkpoint
            raise NonFiniteLossError(
                f"loss is {loss} and gradient norm {norm} at step {step + 1}; lower the learning rate and run again"
            )
        self.window.append(metrics)
        if (step + 1) % self.config.log_every and step + 1 != self.config.steps:
            return
        now = time.monotonic()
        tokens = len(self.window) * self.config.batch_size * self.config.context
        sums, counts = (np.sum([m[name] for m in self.window], axis=0) for name in ("sums", "counts"))
        line = {
            "step": step + 1,
            "loss": float(np.mean([m["loss"] for m in self.window], dtype=np.float64)),
            "gradient_norm": float(np.mean([m["gradient_norm"] for m in self.window])),
            "learning_rate": float(np.asarray(self.schedule(step))),
            "tokens_per_second": tokens / (now - self.previous),
            "tokens": (step + 1) * self.config.batch_size * self.config.context,
            "seconds": self.seconds_before + now - self.started,
        }
        line |= {f"loss/{n}": float(s / c) for n, s, c in zip(self.datasets, sums, counts, strict=True) if c}
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()
        for name, value in line.items():
            if name not in ("step", "tokens", "seconds"):
                self.board.add_scalar(name, value, step + 1)
        progress.set_postfix(loss=f"{line['loss']:.3f}", tokens_s=f"{line['tokens_per_second']:.0f}", refresh=False)
        self.window, self.previous, self.last = [], now, line

    def close(self) -> dict[str, Any]:
        self.file.close()
        self.board.close()
        return self.last

    def _lines(self) -> list[dict]:
        text = self.path.read_text() if self.path.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]  # one may be torn
