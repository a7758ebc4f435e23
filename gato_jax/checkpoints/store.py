"""Checkpoints of a run, written by orbax. Params are apart from the optimizer state, as acting needs only them.

The folder of a run holds:
    WORKDIR/checkpoints/STEP/params        the params
    WORKDIR/checkpoints/STEP/average       moving average of the params, if the run keeps one
    WORKDIR/checkpoints/STEP/optimizer     state of the optimizer
    WORKDIR/checkpoints/STEP/loader        next step and fingerprint of the mixture, in JSON
    WORKDIR/checkpoints/STEP/about         config of the model, contract, description of the run, in JSON
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import nnx

from gato_jax.episodes.dataclass_reader import DataclassReader
from gato_jax.model import ModelConfig, graphdef, initialise
from gato_jax.tokenization import Contract


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged or of another run; the message names the folder and the remedy."""


class AgentCheckpoint(NamedTuple):
    """An agent as restored from a checkpoint.

    Attributes:
      step: number of training steps.
      model: config of the model.
      graph: structure of the model, to merge with `params`.
      params: the params that the agent acts with, the moving average if the run kept one.
      contract: tokenization and tasks of the training data.
      run: description of the training run as JSON: seed, context, mixture, optimizer, and `memory_steps`, the number of
        timesteps that the agent remembers of each task, None for as many as fit.
    """

    step: int
    model: ModelConfig
    graph: nnx.GraphDef
    params: nnx.State
    contract: Contract
    run: dict[str, Any]


class CheckpointStore:
    """Reader and writer of the checkpoints of one run.

    Args:
      workdir: folder of the run.
      keep: number of the newest checkpoints to keep; older ones are deleted when a new one is written. None keeps all.
      keep_every: checkpoints of steps that are multiples of this number are not deleted; None for no such ones.
      read_only: True to read only, in which case the folder `checkpoints` must exist; otherwise it is made.

    Attributes:
      directory: the folder `checkpoints` of the run.

    Raises:
      CheckpointError: with `read_only`, the folder is missing; otherwise, it cannot be made.
    """

    def __init__(
        self,
        workdir: pathlib.Path,
        *,
        keep: int | None = 2,
        keep_every: int | None = None,
        read_only: bool = False,
    ):
        self.directory = workdir.resolve() / "checkpoints"
        if read_only and not self.directory.is_dir():
            raise CheckpointError(f"no checkpoints in {workdir}; train there first, or name another --workdir")
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep,
            keep_period=keep_every,
            create=not read_only,
            read_only=read_only,
            enable_async_checkpointing=True,
        )
        try:
            self._manager = ocp.CheckpointManager(self.directory, options=options)
        except OSError as error:
            raise CheckpointError(f"{self.directory}: {error.strerror}; free space or name another --workdir") from None

    def latest_step(self) -> int | None:
        """Return the number of training steps of the newest complete checkpoint, None if there is none."""
        return self._manager.latest_step()

    def steps(self) -> list[int]:
        """Return the numbers of training steps of all complete checkpoints, in ascending order."""
        return sorted(self._manager.all_steps())

    def save(self, step: int, state, *, loader: dict, contract: Contract, model: ModelConfig, run: dict):
        """Write a checkpoint in the background. It is not used for restoring before it is complete.

        Args:
          step: number of training steps done.
          state: the TrainState.
          loader: state of the loader, as JSON.
          contract: tokenization and tasks of the training data.
          model: config of the model.
          run: description of the run, as JSON.

        Raises:
          CheckpointError: this or an earlier checkpoint cannot be written.
        """
        about = {"model": model_to_json(model), "contract": contract.to_json(), "run": run}
        with self._writing():
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    **{name: ocp.args.StandardSave(tree) for name, tree in _arrays(state).items()},
                    loader=ocp.args.JsonSave(loader),
                    about=ocp.args.JsonSave(about),
                ),
            )

    def wait(self):
        """Wait until the last checkpoint is on disk. Raises CheckpointError if it cannot be written."""
        with self._writing():
            self._manager.wait_until_finished()

    def close(self):
        """Wait until the last checkpoint is on disk, and release the store, which cannot be used afterwards.

        Raises:
          CheckpointError: the checkpoint cannot be written.
        """
        with self._writing():
            self._manager.close()

    def about(self, step: int) -> dict[str, Any]:
        """Return the description of a checkpoint as JSON: {"model": ..., "contract": ..., "run": ...}.

        Raises:
          CheckpointError: there is no checkpoint of this step, or it cannot be read.
        """
        return self._restore(step, about=ocp.args.JsonRestore())["about"]

    def restore_training(self, step: int, like) -> tuple[Any, dict]:
        """Restore the state of training.

        Args:
          step: step of the checkpoint.
          like: a TrainState of arrays, or of ShapeDtypeStructs, with the shardings that the result shall have. Its
            `average` is None exactly if the run keeps none.

        Returns:
          The TrainState and the state of the loader, as `save` got it.

        Raises:
          CheckpointError: there is no checkpoint of this step, or it cannot be restored.
        """
        items = {name: ocp.args.StandardRestore(tree) for name, tree in _arrays(like).items()}
        restored = self._restore(step, **items, loader=ocp.args.JsonRestore())
        state = like._replace(
            params=_with_arrays(like.params, restored["params"]),
            optimizer=jax.tree.unflatten(jax.tree.structure(like.optimizer), restored["optimizer"]),
            step=jax.device_put(np.int32(step), like.step.sharding),
            average=None if like.average is None else _with_arrays(like.average, restored["average"]),
        )
        return state, restored["loader"]

    def restore_agent(self) -> AgentCheckpoint:
        """Return the agent of the newest checkpoint, with the moving average of the params if there is one.

        Raises:
          CheckpointError: there is no checkpoint, or it cannot be restored.
          ContractError: its contract is of another version.
        """
        step = self.latest_step()
        if step is None:
            raise CheckpointError(f"no finished checkpoint in {self.directory}; train there first")
        about = self.about(step)
        model = model_from_json(about["model"])
        shapes = jax.eval_shape(lambda: initialise(model, jax.random.key(0)))
        item = "params" if about["run"]["optimizer"]["ema_decay"] is None else "average"
        restored = self._restore(step, **{item: ocp.args.StandardRestore(nnx.to_pure_dict(shapes))})
        params, contract = _with_arrays(shapes, restored[item]), Contract.from_json(about["contract"])
        return AgentCheckpoint(step, model, graphdef(model), params, contract, about["run"])

    @contextlib.contextmanager
    def _writing(self):
        """Convert an error of writing to a CheckpointError; orbax raises a ValueError for one in the background."""
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
                "delete that folder to continue from the checkpoint before"
            ) from None


def _arrays(state) -> dict[str, Any]:
    """Return {item of the checkpoint: its arrays} of a TrainState; the step is the name of its folder.

    The items are `params` and, if the run keeps one, `average`, as pure dicts, and `optimizer`, as a list of leaves.
    """
    items = {"params": nnx.to_pure_dict(state.params), "optimizer": jax.tree.leaves(state.optimizer)}
    return items if state.average is None else {**items, "average": nnx.to_pure_dict(state.average)}


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _with_arrays(like, pure):
    """Return a copy of the nnx.State `like` with the arrays of the pure dict `pure`; `like` is not changed."""
    state = jax.tree.map(lambda leaf: leaf, like)
    nnx.replace_by_pure_dict(state, pure)
    return state


def model_to_json(model: ModelConfig) -> dict[str, Any]:
    """Return a model config as JSON; `model_from_json` is the inverse."""
    return json.loads(json.dumps(dataclasses.asdict(model)))


def model_from_json(fields: dict[str, Any]) -> ModelConfig:
    """Return the model config that `model_to_json` wrote.

    Raises:
      CheckpointError: this version does not know a key or value.
    """
    return DataclassReader(error=CheckpointError).read(ModelConfig, fields, "model")
