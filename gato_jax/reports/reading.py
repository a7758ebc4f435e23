"""Readers of the files in a run's folder; a missing or malformed file is a ReportError with its remedy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from gato_jax.episodes.dataclass_reader import DataclassReader
from gato_jax.episodes.errors import describe_error
from gato_jax.reports.annotations.records import Annotations
from gato_jax.reports.configuration import read_configuration
from gato_jax.reports.errors import ReportError
from gato_jax.reports.held_out.records import HeldOut
from gato_jax.reports.held_out.section import read_predictions
from gato_jax.reports.making import complete_making
from gato_jax.reports.run import (
    Caption,
    Dataset,
    Dialogue,
    FineTuning,
    Making,
    Results,
    Rollout,
    Run,
    Session,
    TaskScore,
)
from gato_jax.runtime.archives import ARCHIVE_ERRORS
from gato_jax.runtime.paths import as_path
from gato_jax.runtime.sessions import FILE as SESSIONS_FILE

_Record = TypeVar(
    "_Record", bound=Caption | Dataset | Dialogue | FineTuning | HeldOut | Making | Results | Session | TaskScore
)
_READER = DataclassReader(error=ReportError, ignore_unknown_keys=True)


def read_run(workdir: Path) -> Run:
    """Read all contents of a run's report from the folder of the run.

    Args:
      workdir: the folder of the run. Training curves and datasets must be there, and scores or the learning curve of
        fine-tuning; rollouts, captions and dialogue may be absent.

    Raises:
      ReportError: the folder or a required file is missing, or a file is malformed.
    """
    workdir = as_path(workdir)
    if not workdir.is_dir():
        raise ReportError(
            f"Cannot read the run: {workdir} is not a folder. Name the folder of a finished run (--workdir)."
        )
    finetuning = _read_finetuning(workdir / "finetune.json")
    evaluated = finetuning is None or (workdir / "results.json").exists()
    results = read_results(workdir) if evaluated else Results(tasks=())
    metrics = read_metrics(workdir / "metrics.jsonl")
    rollouts = [read_rollout(path) for path in sorted((workdir / "rollouts").glob("*.npz"))]
    scores = {task.task: task for task in results.tasks}
    return Run(
        results=results,
        making=complete_making(results, metrics, _read_sessions(workdir / SESSIONS_FILE), workdir),
        finetuning=finetuning,
        metrics=metrics,
        data=_read_list(workdir / "data.json", Dataset, remedy="Run `gato train`, which writes it."),
        rollouts=tuple(r for r in rollouts if r.task in scores and r.is_of(scores[r.task])),
        captions=_read_list(workdir / "captions.json", Caption),
        dialogue=_read_list(workdir / "dialogue.json", Dialogue),
        predictions=read_predictions(workdir / "predictions", results.held_out),
        configuration=read_configuration(workdir),
    )


def read_results(workdir: Path) -> Results:
    """Read the scores in `workdir`/results.json.

    Raises:
      ReportError: the file is missing or malformed, or has neither tasks nor measurements on held-out data.
    """
    path = as_path(workdir) / "results.json"
    remedy = f"Run `gato evaluate --workdir={workdir}`."
    fields = _read_json(path, remedy)
    if not isinstance(fields, dict) or not (fields.get("tasks") or fields.get("held_out")):
        raise ReportError(f"{path} holds no scores under 'tasks' or 'held_out'. {remedy}")
    built = {
        "tasks": _named(TaskScore, "task", fields.get("tasks", {}), f"{path}: tasks", remedy),
        "held_out": _named(HeldOut, "name", fields.get("held_out", {}), f"{path}: held_out", remedy),
        "making": _build(Making, fields.get("run", {}), f"{path}: run", remedy),
    }
    if isinstance(prompted := fields.get("prompted"), dict):
        built["prompted"] = _named(TaskScore, "task", prompted.get("tasks", {}), f"{path}: prompted", remedy)
        built["no_room"] = tuple(prompted.get("no_room", {}))
    baselines = fields.get("baselines", {})
    if isinstance(baselines, dict):
        built["baselines"] = {
            name: _named(
                TaskScore, "task", one.get("tasks", {}) if isinstance(one, dict) else one,
                f"{path}: baselines: {name}", remedy,
            )
            for name, one in baselines.items()
        }  # fmt: skip
    return _build(Results, fields | built, str(path), remedy)


def read_metrics(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Read metrics.jsonl as {quantity: (steps, values)}, float64 (N,) each, with ascending steps.

    Of two lines with one step the later one counts, as a run that was resumed from a checkpoint may log a step twice.
    Values that are not numbers are left out.

    Raises:
      ReportError: the file is missing, a line is not a JSON object with a step, or no line has a `loss`.
    """
    if not path.is_file():
        raise ReportError(f"{path} is missing. Run `gato train`, which writes it.")
    rows: dict[int, dict[str, Any]] = {}
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if line.strip():
            try:
                row = json.loads(line)
                rows[int(row["step"])] = row
            except (ValueError, TypeError, KeyError) as error:
                raise ReportError(
                    f"{path}, line {number} is not a JSON object with a step "
                    f"({describe_error(error)}). Delete the line."
                ) from None
    columns: dict[str, list[tuple[int, float]]] = {}
    for step, row in sorted(rows.items()):
        for key, value in row.items():
            if isinstance(value, (int, float)):
                columns.setdefault(key, []).append((step, value))
    if "loss" not in columns:
        raise ReportError(f"{path} logs no 'loss'. Run `gato train`, which writes it.")
    return {key: tuple(np.array(pairs, float).T) for key, pairs in columns.items()}


def _read_finetuning(path: Path) -> FineTuning | None:
    """Read the learning curve of fine-tuning; None if the run has none."""
    if not path.exists():
        return None
    remedy = "Run `gato finetune` again."
    return _build(FineTuning, _read_json(path, remedy), str(path), remedy)


def _read_sessions(path: Path) -> tuple[Session, ...]:
    """Read the sessions of a run, in the order of their starts; () for a run of an earlier version.

    Raises:
      ReportError: a line is no session. An incomplete last line, of a process that was killed, is left out.
    """
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    sessions = []
    for number, line in enumerate(lines, start=1):
        where = f"{path}, line {number}"
        try:
            fields = json.loads(line)
        except ValueError as error:
            raise ReportError(f"{where} is not JSON ({describe_error(error)}). Delete the line.") from None
        sessions.append(_build(Session, fields, where, "Delete the line."))
    return tuple(sessions)


def read_rollout(path: Path) -> Rollout:
    """Read a rollout from an .npz file whose name is the task with "__" in place of "/".

    Raises:
      ReportError: the file is damaged, lacks an array, or its arrays do not fit together.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            actions = arrays["actions"]
            return Rollout(
                task=path.stem.replace("__", "/"),
                frames=arrays["frames"],
                actions=actions[:, None] if actions.ndim == 1 else actions.reshape(len(actions), -1),
                action_names=tuple(map(str, np.atleast_1d(arrays["action_names"]))),
                rewards=arrays["rewards"].reshape(-1),
                seed=int(arrays["seed"]),
                score=float(arrays["score"]),
                step=int(arrays["step"]) if "step" in arrays else None,
                temperature=float(arrays["temperature"]) if "temperature" in arrays else None,
                annotations=_read_annotations(arrays),
            )
    except (ReportError, *ARCHIVE_ERRORS) as error:
        raise ReportError(
            f"{path} is not a rollout ({describe_error(error)}). Run `gato evaluate` again, or delete the file."
        ) from None


def _read_annotations(arrays: Mapping[str, np.ndarray]) -> Annotations | None:
    """Return the views of the agent in the file of a rollout; None if it has none."""
    if "probabilities" not in arrays:
        return None
    seen = "attention" in arrays
    return Annotations(
        **{name: arrays[name] for name in ("probabilities", "cells", "low", "high")},
        attention=arrays["attention"] if seen else None,
        attention_image=arrays["attention_image"] if seen else None,
        attention_step=int(arrays["attention_step"]) if seen else 0,
    )


def _read_list(path: Path, kind: type[_Record], remedy: str | None = None) -> tuple[_Record, ...]:
    """Read a JSON list of objects as records of a dataclass.

    Args:
      path: the file.
      kind: the dataclass.
      remedy: a sentence for error messages. None marks an optional file, which gives () where it is absent.

    Raises:
      ReportError: the file is not such a list, or is absent and `remedy` is given.
    """
    if not path.exists() and remedy is None:
        return ()
    records = _read_json(path, remedy or "Run `gato evaluate` again, or delete the file.")
    if not isinstance(records, list):
        raise ReportError(f"{path} holds {type(records).__name__}, expected a list. {remedy or 'Delete the file.'}")
    return tuple(
        _build(kind, record, f"{path}, record {i}", remedy or "Delete it.") for i, record in enumerate(records)
    )


def _read_json(path: Path, remedy: str) -> Any:
    """Read a JSON file; `remedy` is a sentence for the ReportError of a missing or malformed file."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise ReportError(f"{path} is missing. {remedy}") from None
    except (ValueError, OSError) as error:
        raise ReportError(f"{path} is not JSON ({describe_error(error)}). {remedy}") from None


def _named(kind: type[_Record], key: str, table: Any, where: str, remedy: str) -> tuple[_Record, ...]:
    """Return a record for each entry of a JSON object {name: fields}, with the name in the field `key`.

    An entry whose fields hold `key` themselves keeps that value in place of the name.

    Args:
      kind: class of the records.
      key: field of the records that takes the name.
      table: the object.
      where: file and entry that hold it, the beginning of error messages.
      remedy: sentence at the end of error messages.

    Raises:
      ReportError: `table` is no such object, or its fields are not those of a record.
    """
    if not isinstance(table, dict) or not all(isinstance(fields, dict) for fields in table.values()):
        raise ReportError(f"{where} is not an object of objects. {remedy}")
    return tuple(_build(kind, {key: name, **fields}, f"{where}: {name}", remedy) for name, fields in table.items())


def _build(kind: type[_Record], fields: Any, where: str, remedy: str) -> _Record:
    """Return a dataclass from JSON fields, and ignore unknown keys, which newer runs may have.

    `where` names the file and entry, and `remedy` is a sentence, for the ReportError of fields that do not fit.
    """
    try:
        return _READER.read(kind, fields, where)
    except ReportError as error:
        raise ReportError(f"{error} {remedy}") from None
