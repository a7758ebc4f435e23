"""The run that a folder holds: what decides it, which settings may change when it goes on, and the history of these.

Seed, batch size, context, data and model decide a run; with others it is another run. Steps, optimizer and all settings
that only say how the run is computed, logged, saved and evaluated may change from one start to the next. Such a change
is said in the log, and the checkpoints from then on keep it in the run's history.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import logging
import pathlib
from typing import Any

from gato_jax.batching import Mixture
from gato_jax.checkpoints import CheckpointError, CheckpointStore, model_from_json, model_to_json, require_place
from gato_jax.episodes.differences import differences, require_same
from gato_jax.tokenization import Contract
from gato_jax.training.config import TrainConfig

# The parts of a run's description that decide it; `mixture` has fingerprints of the data and settings of sampling.
_IDENTITY = ("seed", "batch_size", "context", "mixture", "memory_steps")
# The fields of the config that may change besides `steps` and `optimizer`.
_SETTINGS = (
    "mesh", "compute", "patch_budget", "target_budget", "log_every", "checkpoints", "evaluators", "max_skipped_steps",
    "wandb", "distributed", "loader_threads",
)  # fmt: skip

_log = logging.getLogger(__name__)


def describe_run(config: TrainConfig, mixture: Mixture) -> dict[str, Any]:
    """Return the description of a run that begins, in JSON, as its checkpoints hold it.

    `seed`, `batch_size`, `context`, `mixture` and `memory_steps` decide the run. `steps`, `optimizer` and `settings`
    may change. `history` is a list of {"step", "date", "changes": {setting: [old, new]}}, one for each start of the run
    that changed something. `init_from` is None, or {"source", "step", "params"} of the agent that it began with.
    """
    run: dict[str, Any] = {name: getattr(config, name) for name in ("seed", "batch_size", "context", "steps")}
    rows = {name: value for name, value in mixture.to_json().items() if name not in run}
    run |= {"mixture": rows, "memory_steps": mixture.memory_steps}
    run |= {"optimizer": config.optimizer, "settings": {name: getattr(config, name) for name in _SETTINGS}}
    run |= {"init_from": None, "history": []}
    return json.loads(json.dumps(run, default=dataclasses.asdict))


def continue_run(config: TrainConfig, mixture: Mixture, workdir: pathlib.Path) -> dict[str, Any]:
    """Return the description of the run, as `describe_run` does, with the history of the folder's newest checkpoint.

    Settings that differ from the checkpoint's are logged and added to the history.

    Raises:
      CheckpointError, ContractError: The folder holds a checkpoint of another run (see `require_same_run`).
    """
    run, found = describe_run(config, mixture), newest_description(workdir)
    if found is None:
        return run
    require_same_run(config, mixture, workdir)
    held = found["run"]
    run |= {"init_from": held.get("init_from"), "history": list(held.get("history", []))}
    may_change = [name for name in ("steps", "optimizer", "settings") if name in held]
    changes = {
        path.removeprefix("settings."): [old, new]
        for path, (new, old) in differences(*({name: one[name] for name in may_change} for one in (run, held))).items()
    }
    if changes:
        _log.info("%s goes on from step %d with other settings:", workdir, found["step"])
        for path, (old, new) in changes.items():
            _log.info("  %s: %s, was %s", path, new, old)
        date = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        run["history"].append({"step": found["step"], "date": date, "changes": changes})
    return run


def require_same_run(config: TrainConfig, mixture: Mixture, workdir: pathlib.Path):
    """Check that the newest checkpoint in a folder, if there is one, is of this run, and has not passed its last step.

    Raises:
      CheckpointError, ContractError: It is not; the message shows each difference.
    """
    if (found := newest_description(workdir)) is None:
        return
    run, held = describe_run(config, mixture), found["run"]
    wanted, known = ({name: one[name] for name in _IDENTITY} for one in (run, held))
    averages = [one["optimizer"]["ema_decay"] for one in (run, held)]
    if averages.count(None) == 1:  # an average has to be kept from the first step on
        wanted["optimizer.ema_decay"], known["optimizer.ema_decay"] = averages
    begun = (held.get("init_from") or {}).get("source")
    if config.init_from not in (None, begun):
        wanted["init_from"], known["init_from"] = config.init_from, begun
    require_same(
        wanted, known, problem=f"{workdir} holds another run's checkpoint", holder="its checkpoint",
        remedy=_remedy(workdir), error=CheckpointError,
    )  # fmt: skip
    Contract.from_json(found["contract"], str(workdir)).require_equal(mixture.contract, "this config")
    if config.steps < found["step"]:
        raise CheckpointError(
            f"{workdir} has been trained to step {found['step']}: steps is {config.steps}, expected at least that. "
            "Set more steps, or name another --workdir."
        )


def require_same_model(config: TrainConfig, workdir: pathlib.Path):
    """Check that the newest checkpoint in a folder, if there is one, is of the same model and tokenization.

    Raises:
      CheckpointError: The model is another; the message shows each difference.
      ContractError: The tokenization is another; the message shows each difference.
    """
    if (found := newest_description(workdir)) is None:
        return
    trained = model_from_json(found["model"])
    Contract(config.model.tokenization, {}).require_equal(Contract(trained.tokenization, {}), f"{workdir}'s checkpoint")
    require_same(
        model_to_json(config.model), model_to_json(trained), problem=f"{workdir} holds another model's checkpoint",
        holder="its checkpoint", remedy="name another --workdir, or set these as in its checkpoint",
        error=CheckpointError,
    )  # fmt: skip


def newest_description(workdir: pathlib.Path) -> dict[str, Any] | None:
    """Return `model`, `contract` and `run`, as JSON, and `step` of a folder's newest checkpoint; None without one."""
    require_place(workdir)
    if not (workdir / "checkpoints").is_dir():
        return None
    with contextlib.closing(CheckpointStore(workdir, read_only=True)) as store:
        step = store.latest_step()
        return None if step is None else {**store.about(step), "step": step}


def _remedy(workdir: pathlib.Path) -> str:
    return f"name another --workdir; there, config.init_from = {str(workdir)!r} begins with the params of this run"
