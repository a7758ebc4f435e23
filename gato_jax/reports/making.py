"""Facts about the training of a run, gathered from all files that state some, for the head of its report.

A fact that no file of the run states is None: earlier versions wrote fewer of them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gato_jax.reports.provenance.lineage import read_start
from gato_jax.reports.run import Making, Results, Session

Metrics = Mapping[str, tuple[np.ndarray, np.ndarray]]


class _Checkpoint(NamedTuple):
    """Facts in a checkpoint of a run: its step, the number of parameters (None if unknown), and settings of the run."""

    step: int
    parameters: int | None
    run: Mapping[str, Any]


def complete_making(results: Results, metrics: Metrics, sessions: Sequence[Session], workdir: Path) -> Making:
    """Return the facts that results.json states, and those that it leaves open from the other files of the run.

    Steps and tokens are those of the agent that was scored, where its step is known, and of the newest checkpoint
    otherwise.

    Args:
      results: the contents of results.json.
      metrics: {quantity: (steps, values)} of metrics.jsonl.
      sessions: the processes that trained the run, in order.
      workdir: the folder of the run, whose newest checkpoint is read.

    Raises:
      ReportError: finetune_start.json is damaged.
    """
    stated, checkpoint = results.making, _newest_checkpoint(workdir)
    run = checkpoint.run if checkpoint else {}
    scored = [task.step for task in results.tasks if task.step is not None]
    last_line = int(metrics["loss"][0][-1])
    steps = max(scored) if scored else stated.steps or (checkpoint.step if checkpoint else last_line)
    latest = sessions[-1] if sessions else Session(started="")
    found = Making(
        parameters=checkpoint.parameters if checkpoint else None,
        steps=steps,
        tokens=_tokens(metrics, steps),
        planned_steps=run.get("steps"),
        seed=run.get("seed"),
        batch_size=run.get("batch_size"),
        context=run.get("context"),
        begun_as=read_start(workdir / "finetune_start.json"),
        started=sessions[0].started if sessions else None,
        commit=", ".join(dict.fromkeys(session.commit for session in sessions if session.commit)) or None,
        machine=latest.machine,
        devices=latest.devices,
        command=sessions[0].command if sessions else None,
        versions=latest.versions,
    )
    counted = ("steps", "tokens")  # of the agent that was scored, which may have been trained further
    kept = {name: value for name, value in vars(stated).items() if value is not None and name not in counted}
    tokens = found.tokens if found.tokens is not None else stated.tokens if steps == stated.steps else None
    versions = {**found.versions, **stated.versions}
    return dataclasses.replace(found, **{**kept, "tokens": tokens, "versions": versions})


def _tokens(metrics: Metrics, step: int) -> int | None:
    """Return the number of tokens trained on by a step, that of the last line of the metrics up to it."""
    if "tokens" not in metrics:
        return None
    steps, tokens = metrics["tokens"]
    known = tokens[steps <= step]
    return int(known[-1]) if len(known) else None


def _newest_checkpoint(workdir: Path) -> _Checkpoint | None:
    """Return facts of the newest checkpoint; None if there is none whose description can be read.

    The description is read as plain JSON, without the arrays, which an earlier version may have written in another
    way: the facts on a run can be told even where this version cannot restore its agent.
    """
    folder = workdir / "checkpoints"
    steps = [int(path.name) for path in folder.iterdir() if path.name.isdecimal()] if folder.is_dir() else []
    for step in sorted(steps, reverse=True):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # another one may be whole
            about = json.loads((folder / str(step) / "about" / "metadata").read_text())
            return _Checkpoint(step, _count_parameters(about["model"]), dict(about["run"]))
    return None


def _count_parameters(fields: Mapping[str, Any]) -> int | None:
    """Return the number of parameters of a model from the JSON of its config; None if this version cannot build it."""
    from gato_jax.checkpoints.store import CheckpointError, model_from_json
    from gato_jax.model import count_parameters, param_shapes

    try:
        model = model_from_json(dict(fields))
    except CheckpointError:
        return None
    return count_parameters(param_shapes(model))
