"""The file of an agent's scores, results.json, to which each evaluation adds its tasks.

`tasks` holds the scores of one checkpoint at one temperature, which `agent` names. `aggregate`, `domains`, `human` and
`unscaled` are computed from these alone, see `aggregates`. The scores of other checkpoints and temperatures are kept
under `earlier`, a list of {"agent", "tasks"}. `failed` lists the episodes that were not played to their end, {task:
[{"seed", "reason"}]}. `baselines` holds the same contents for actors that are not the agent, by their names. `schema`
counts the changes of this format.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from gato_jax.evaluation.actor_results import EpisodeFailure
from gato_jax.evaluation.aggregates import aggregate, aggregate_domains, aggregate_human, unscaled_tasks
from gato_jax.evaluation.episode_scores import PlayedBy
from gato_jax.runtime.atomic_writes import atomic_file

SCHEMA = 2
_COMPUTED = ("schema", "agent", "tasks", "aggregate", "domains", "human", "unscaled", "failed", "earlier")


class ResultsFileError(ValueError):
    """A file that scores cannot be added to; the message names the file, the reason and the remedy."""


def read_results_file(path: pathlib.Path) -> dict[str, Any]:
    """Return the content of a file of scores; {} if there is none, or if the path is no regular file, as a pipe.

    Raises:
      ResultsFileError: the file is not JSON or holds no object.
    """
    if not path.is_file():
        return {}
    try:
        fields = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ResultsFileError(
            f"{path} is not JSON ({error}). Delete the file, or name another one with --json."
        ) from None
    if not isinstance(fields, dict) or not isinstance(fields.get("tasks", {}), dict):
        raise ResultsFileError(
            f"{path} is {fields!r:.40}, expected an object. Delete it, or name another file with --json."
        )
    return fields


def merge_results(
    held: Mapping[str, Any],
    agent: PlayedBy,
    tasks: Mapping[str, Any],
    failures: Mapping[str, Sequence[EpisodeFailure]] | None = None,
) -> dict[str, Any]:
    """Return the content of a file after an evaluation.

    Args:
      held: the content before, which is not changed. Fields of other origin, such as `held_out`, are kept.
      agent: the agent that was evaluated.
      tasks: {task: entry}, each of which replaces an entry of the same task and agent. The tasks are sorted by name.
      failures: {task: its episodes that failed, maybe none}, in place of those of the same task and agent.
    """
    groups = [{"agent": held.get("agent"), "tasks": held["tasks"]}] if held.get("tasks") else []
    groups += held.get("earlier", [])
    mine, key = dict(tasks), agent.to_json()
    for group in groups:
        if group["agent"] == key:
            mine = {**group["tasks"], **mine}
    mine = dict(sorted(mine.items()))
    failed = dict(held.get("failed", {})) if held.get("agent") == key else {}
    for task, listed in (failures or {}).items():
        failed[task] = [{"seed": one.seed, "reason": one.reason} for one in sorted(listed, key=lambda one: one.seed)]
    earlier = [group for group in groups if group["agent"] != key]
    merged = {
        **{name: value for name, value in held.items() if name not in _COMPUTED},
        "schema": SCHEMA,
        "agent": key,
        "tasks": mine,
        "aggregate": aggregate(mine),
        "domains": aggregate_domains(mine),
        "human": aggregate_human(mine),
        "unscaled": unscaled_tasks(mine),
        "failed": {task: listed for task, listed in sorted(failed.items()) if listed},
    }
    return merged | ({"earlier": earlier} if earlier else {})


def merge_baseline(
    held: Mapping[str, Any],
    agent: PlayedBy,
    tasks: Mapping[str, Any],
    failures: Mapping[str, Sequence[EpisodeFailure]] | None = None,
    *,
    name: str,
) -> dict[str, Any]:
    """Return the content of a file after an evaluation of a baseline, whose scores stand beside those of the agent.

    Args:
      held: the content before, which is not changed.
      agent: the actor that was evaluated. The scores of an actor of the same name but another digest are replaced.
      tasks: as in `merge_results`.
      failures: as in `merge_results`.
      name: name of the baseline.
    """
    known = held.get("baselines", {}).get(name, {})
    merged = merge_results(known if known.get("agent") == agent.to_json() else {}, agent, tasks, failures)
    return {**held, "baselines": {**held.get("baselines", {}), name: merged}}


def merge_held_out(held: Mapping[str, Any], entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a file after a measurement on held-out recordings.

    Args:
      held: the content before, which is not changed.
      entries: {dataset: entry}, each of which replaces an entry of the same name.
    """
    return {**held, "schema": SCHEMA, "held_out": {**held.get("held_out", {}), **entries}}


def write_results_file(path: pathlib.Path, fields: Mapping[str, Any]):
    """Write the file atomically; a path that is no regular file, such as a pipe, is written to."""
    text = json.dumps(fields, indent=2)
    if path.exists() and not path.is_file():
        path.write_text(text)
        return
    with atomic_file(path) as written:
        written.write_text(text)
