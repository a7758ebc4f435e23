"""Checkpoints by orbax: params apart (all that acting needs), optimizer, loader state, contract and config.

A run's folder holds:
    WORKDIR/checkpoints/STEP/params        the parameters
    WORKDIR/checkpoints/STEP/optimizer     the optimizer's moments
    WORKDIR/checkpoints/STEP/loader        next step and fingerprint of the mixture, JSON
    WORKDIR/checkpoints/STEP/about         model config, contract, run identity, JSON
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from flax import nnx

from gato_jax.model import ModelConfig, graph_of, initialise
from gato_jax.tokenization import Contract, Tokenization


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged or of another run; the message names the folder and the remedy."""


class AgentCheckpoint(NamedTuple):
    """What acting needs of a checkpoint; `run` is what the training run said of itself."""

    step: int
    model: ModelConfig
    graph: nnx.GraphDef
    params: nnx.State
    contract: Contract
    run: dict[str, Any]


class CheckpointStore:
    """The checkpoints of one run; the newest are kept."""

    def __init__(self, workdir: pathlib.Path, *, keep: int = 2, read_only: bool = False):
        self.directory = workdir.resolve() / "checkpoints"
        if read_only and not self.directory.is_dir():
            raise CheckpointError(f"no checkpoints in {workdir}; train there first, or name another --workdir")
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep, create=not read_only, read_only=read_only, enable_async_checkpointing=True
        )
        try:
            self._manager = ocp.CheckpointManager(self.directory, options=options)
        except OSError as error:
            raise CheckpointError(f"{self.directory}: {error.strerror}; free space or name another --workdir") from None

    def latest_step(self) -> int | None:
        return self._manager.latest_step()

    def save(self, step: int, *, params, optimizer, loader: dict, contract: Contract, model: ModelConfig, run: dict):
        """Writes in the background; a checkpoint counts only once it is whole."""
        about = {"model": model_to_json(model), "contract": contract.to_json(), "run": run}
        items = ocp.args.Composite(
            params=ocp.args.StandardSave(nnx.to_pure_dict(params)),
            optimizer=ocp.args.StandardSave(jax.tree.leaves(optimizer)),
            loader=ocp.args.JsonSave(loader),
            about=ocp.args.JsonSave(about),
        )
        with self._writing():
            self._manager.save(step, args=items)

    def wait(self):
        """Until the last save is on disk."""
        with self._writing():
            self._manager.wait_until_finished()

    def close(self):
        """Until the last save is on disk, and no more of them."""
        with self._writing():
            self._manager.close()

    def about(self, step: int) -> dict[str, Any]:
        return self._restore(step, about=ocp.args.JsonRestore())["about"]

    def restore_training(self, step: int, *, params, optimizer) -> tuple[Any, Any, dict]:
        """(params, optimizer state, loader state), placed like the given trees of arrays or of their shapes."""
        restored = self._restore(
            step,
            params=ocp.args.StandardRestore(nnx.to_pure_dict(params)),
            optimizer=ocp.args.StandardRestore(jax.tree.leaves(optimizer)),
            loader=ocp.args.JsonRestore(),
        )
        moments = jax.tree.unflatten(jax.tree.structure(optimizer), restored["optimizer"])
        return _into(params, restored["params"]), moments, restored["loader"]

    def restore_agent(self) -> AgentCheckpoint:
        """What acting needs, from the newest checkpoint."""
        step = self.latest_step()
        if step is None:
            raise CheckpointError(f"no finished checkpoint in {self.directory}; train there first")
        about = self.about(step)
        model = model_from_json(about["model"])
        shapes = jax.eval_shape(lambda: initialise(model, jax.random.key(0)))
        restored = self._restore(step, params=ocp.args.StandardRestore(nnx.to_pure_dict(shapes)))
        params, contract = _into(shapes, restored["params"]), Contract.from_json(about["contract"])
        return AgentCheckpoint(step, model, graph_of(model), params, contract, about["run"])

    @contextlib.contextmanager
    def _writing(self):
        """A full disk is an OSError here, or the ValueError of a thread that wrote in the background, later."""
        try:
            yield
        except (OSError, ValueError) as error:
            message = f"{self.directory}: {_first_line(error)}; free space and run again"
            raise CheckpointError(message) from None

    def _restore(self, step: int, **items):
        try:
            return self._manager.restore(step, args=ocp.args.Composite(**items))
        except (OSError, ValueError, KeyError) as error:
            where = self.directory / str(step)
            raise CheckpointError(
                f"checkpoint {where} cannot be restored: {_first_line(error)}; "
                "delete that folder to go on from the one before"
            ) from None


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _into(like, pure):
    state = jax.tree.map(lambda leaf: leaf, like)
    nnx.replace_by_pure_dict(state, pure)
    return state


def model_to_json(model: ModelConfig) -> dict[str, Any]:
    """The config as plain JSON types; `model_from_json` is its inverse."""
    return json.loads(json.dumps(dataclasses.asdict(model)))


def model_from_json(fields: dict[str, Any]) -> ModelConfig:
    """The config of a checkpoint's `about`."""
    return ModelConfig(**{**fields, "tokenization": Tokenization.from_json(fields["tokenization"])})
