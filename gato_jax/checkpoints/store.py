"""Checkpoints of a run, written by orbax. Params are apart from the optimizer state, as acting needs only them.

The folder of a run holds:
    WORKDIR/checkpoints/STEP/params        the params
    WORKDIR/checkpoints/STEP/average       moving average of the params, if the run keeps one
    WORKDIR/checkpoints/STEP/optimizer     state of the optimizer
    WORKDIR/checkpoints/STEP/loader        next step and fingerprint of the mixture, in JSON
    WORKDIR/checkpoints/STEP/about         config of the model, contract, description of the run, in JSON
    WORKDIR/checkpoints/STEP/checksums.json  checksums of all these files, verified before anything is restored
    WORKDIR/checkpoints/STEP.damaged       a damaged checkpoint that a run went back from
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gc
import json
import logging
import pathlib
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from flax import nnx
from jax.experimental import multihost_utils

from gato_jax.checkpoints.checksums import CHECKSUMS_FILE, find_damage, write_checksums
from gato_jax.checkpoints.copied_runs import mark_copied
from gato_jax.checkpoints.orbax_errors import disk_problem, first_line, without_logging
from gato_jax.episodes.dataclass_reader import DataclassReader
from gato_jax.model import ModelConfig, graphdef, param_shapes
from gato_jax.runtime.paths import is_bucket
from gato_jax.tokenization import Contract

DAMAGED = ".damaged"

_UNFINISHED = ".orbax-checkpoint-tmp"  # at the end of the name of the folder that orbax writes a checkpoint into

_log = logging.getLogger(__name__)


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged or of another run; the message names the folder and the remedy."""


class DamagedCheckpointError(CheckpointError):
    """A checkpoint with a file that is missing or not as it was written; the message names both and the one before."""


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
      CheckpointError: with `read_only`, the folder is missing; otherwise, it cannot be made; or it is in a bucket that
        orbax does not write to.
    """

    def __init__(
        self,
        workdir: pathlib.Path,
        *,
        keep: int | None = 2,
        keep_every: int | None = None,
        read_only: bool = False,
    ):
        require_place(workdir)
        self.directory = workdir.resolve() / "checkpoints"
        if read_only and not self.directory.is_dir():
            raise CheckpointError(f"no checkpoints in {workdir}; train there first, or name another --workdir")
        mark_copied(epath.Path(self.directory))
        self._saving = 0
        try:
            with without_logging():
                options = ocp.CheckpointManagerOptions(
                    max_to_keep=keep,
                    keep_period=keep_every,
                    create=not read_only,
                    read_only=read_only,
                    enable_async_checkpointing=True,
                    async_options=ocp.options.AsyncOptions(post_finalization_callback=self._write_checksums),
                )
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
          CheckpointError: this or an earlier checkpoint cannot be written, or there is a checkpoint of a later step.
        """
        about = {"model": model_to_json(model), "contract": contract.to_json(), "run": run}
        if (latest := self.latest_step() or 0) > step:
            raise CheckpointError(f"{self.directory}: cannot write step {step}, there is a checkpoint of step {latest}")
        with self._writing():
            self._manager.wait_until_finished()  # the checksums of the checkpoint before are written by now
            self._saving = step
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
          CheckpointError: there is no checkpoint of this step, or it is damaged or cannot be read.
        """
        self._require_undamaged(step, ["about"])
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
          CheckpointError: there is no checkpoint of this step, or it is damaged or cannot be restored.
        """
        items = {name: ocp.args.StandardRestore(tree) for name, tree in _arrays(like).items()}
        self._require_undamaged(step, [*items, "loader"], shared=True)
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
          CheckpointError: there is no checkpoint, or it is damaged or cannot be restored.
          ContractError: its contract is of another version.
        """
        step = self.latest_step()
        if step is None:
            raise CheckpointError(f"no finished checkpoint in {self.directory}; train there first")
        about = self.about(step)
        model = model_from_json(about["model"])
        shapes = param_shapes(model)
        item = "params" if about["run"]["optimizer"]["ema_decay"] is None else "average"
        self._require_undamaged(step, [item])
        restored = self._restore(step, **{item: ocp.args.StandardRestore(nnx.to_pure_dict(shapes))})
        params, contract = _with_arrays(shapes, restored[item]), Contract.from_json(about["contract"])
        return AgentCheckpoint(step, model, graphdef(model), params, contract, about["run"])

    def set_aside_damaged(self) -> int | None:
        """Rename the damaged checkpoints that are newer than the newest undamaged one, and return the step of that one.

        A damaged checkpoint of step 20 is renamed to `20.damaged`, with a warning in the log, so that the run can write
        that step again. All files are read. In a run of several processes, each of them makes this call.

        Returns:
          The number of training steps of the newest undamaged checkpoint; None if there is no checkpoint at all.

        Raises:
          DamagedCheckpointError: every checkpoint is damaged, in which case none is renamed.
        """
        damaged: dict[int, str] = {}
        for step in sorted(self._manager.all_steps(), reverse=True):
            if (problem := self._find_damage(step, shared=True)) is None:
                self._rename_damaged(damaged, step)
                return step
            damaged[step] = problem
        if damaged:
            step, problem = next(iter(damaged.items()))
            raise DamagedCheckpointError(
                f"no checkpoint in {self.directory} is undamaged: of the newest one, {step}, {problem}. Remove that "
                "folder to train from the beginning."
            )
        return None

    def _rename_damaged(self, damaged: Mapping[int, str], left: int):
        """Rename checkpoints {step: damage} in process 0 while the others wait; `left` is the step to go on from."""
        for step, problem in damaged.items():
            folder = self._folder(step)
            aside = folder.with_name(f"{step}{DAMAGED}")
            _log.warning(
                "checkpoint %s is damaged: %s. It is kept as %s, and the run goes on from step %d.",
                folder, problem, aside, left,
            )  # fmt: skip
            if jax.process_index() == 0:
                if aside.exists():
                    aside.rmtree()
                folder.rename(aside)
        if damaged:
            if jax.process_count() > 1:
                multihost_utils.sync_global_devices("damaged checkpoints are renamed")
            self._manager.reload()

    def _folder(self, step: int) -> epath.Path:
        return epath.Path(self.directory) / str(step)

    def _write_checksums(self):
        """Write the checksums of the checkpoint that is being saved. Orbax calls this in process 0 before it commits.

        Until the commit, the folder of the checkpoint has a longer name; on a bucket, it has its name from the start.
        """
        folder = self._folder(self._saving)
        unfinished = folder.with_name(f"{folder.name}{_UNFINISHED}")
        write_checksums(unfinished if unfinished.is_dir() else folder)

    def _require_undamaged(self, step: int, items: Collection[str], *, shared: bool = False):
        """Check the files of these items of a checkpoint.

        With `shared`, each process of the run makes this call, reads a part of the files and learns of the others'.

        Raises:
          DamagedCheckpointError: a file is missing or was changed.
          CheckpointError: there is no checkpoint of this step.
        """
        folder = self._folder(step)
        if not folder.is_dir():
            raise CheckpointError(f"checkpoint {folder} is missing; it was removed or never written")
        if (problem := self._find_damage(step, items, shared=shared)) is None:
            return
        earlier = sorted((other for other in self._manager.all_steps() if other < step), reverse=True)
        before = next((other for other in earlier if self._find_damage(other, shared=shared) is None), None)
        if before is None:
            remedy = "No checkpoint before it is undamaged; train in another folder."
        else:
            remedy = (
                f"The checkpoint before it, {self._folder(before)}, is undamaged: train with --on_damage=previous to "
                "go on from there."
            )
        raise DamagedCheckpointError(f"checkpoint {folder} cannot be restored: {problem}. {remedy}")

    def _find_damage(self, step: int, items: Collection[str] | None = None, *, shared: bool) -> str | None:
        """Return a clause about a damaged file of a checkpoint, None if there is none (see `find_damage`).

        If no checkpoint of the run has checksums, the run is from a version that wrote none: a warning says that its
        files are not verified, and the result is None. A checkpoint that lacks them beside others that have them is
        damaged, because the list of checksums is there before a checkpoint counts as complete.
        """
        if not any((self._folder(other) / CHECKSUMS_FILE).exists() for other in self._manager.all_steps()):
            _warn_of_unverified(self.directory)
            return None
        share = (jax.process_index(), jax.process_count()) if shared else (0, 1)
        problem = find_damage(self._folder(step), items, share=share)
        if share[1] == 1:
            return problem
        with jax.set_mesh(None):
            found = multihost_utils.process_allgather(np.bool_(problem is not None))
        if problem is None and found.any():
            return f"process {int(np.argmax(found))} of the run names a damaged file"
        return problem

    @contextlib.contextmanager
    def _writing(self):
        """Convert an error of writing to a CheckpointError; orbax raises a ValueError for one in the background."""
        try:
            yield
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{self.directory}: {disk_problem(error)}") from None

    def _restore(self, step: int, **items):
        problem = None
        with without_logging():
            try:
                return self._manager.restore(step, args=ocp.args.Composite(**items))
            except Exception as error:
                # Orbax raises a plain Exception for a missing array; of the others, these are not faults of gato_jax.
                if type(error) is not Exception and not isinstance(error, (OSError, ValueError, KeyError)):
                    raise
                problem = first_line(error)
            # Arrays beside the one that failed may have failed too, and asyncio logs each error that nobody has read
            # when its future is freed: free them here, where the log is off, and not at some later time.
            gc.collect()
        raise CheckpointError(
            f"checkpoint {self._folder(step)} cannot be restored: {problem}; "
            "remove that folder to continue from the checkpoint before"
        )


@functools.cache
def _warn_of_unverified(directory: pathlib.Path):
    """Warn once in a process of checkpoints without checksums."""
    _log.warning(
        "the checkpoints in %s are from a version of gato_jax that wrote no checksums, so damage to their files may go "
        "unnoticed; checkpoints that the run writes from now on have them", directory,
    )  # fmt: skip


def require_place(workdir: pathlib.Path):
    """Raise CheckpointError if the folder of a run is where no checkpoints can be: in a bucket other than gs://."""
    if is_bucket(workdir) and not str(workdir).startswith("gs://"):
        raise CheckpointError(
            f"--workdir is {workdir}, expected a folder or an address gs://BUCKET/FOLDER, where orbax can write "
            "checkpoints. Train in one of them, or mount the bucket as a folder."
        )


def set_aside_damaged(workdir: pathlib.Path) -> int | None:
    """Rename the damaged checkpoints of a run that are newer than the newest undamaged one, if there is a checkpoint.

    Returns and errors are those of `CheckpointStore.set_aside_damaged`.
    """
    if not (workdir / "checkpoints").is_dir():
        return None
    with contextlib.closing(CheckpointStore(workdir)) as store:
        return store.set_aside_damaged()


def _arrays(state) -> dict[str, Any]:
    """Return {item of the checkpoint: its arrays} of a TrainState; the step is the name of its folder.

    The items are `params` and, if the run keeps one, `average`, as pure dicts, and `optimizer`, as a list of leaves.
    """
    items = {"params": nnx.to_pure_dict(state.params), "optimizer": jax.tree.leaves(state.optimizer)}
    return items if state.average is None else {**items, "average": nnx.to_pure_dict(state.average)}


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
