"""The committed table of TaskSpecs, so that a task's spec is known without its simulator.

`python -m experiments.task_specs` writes it from the simulators, and a test compares the two.
"""

from __future__ import annotations

import functools
import json
import pathlib
from collections.abc import Iterable, Mapping

from gato_jax.episodes import TaskSpec
from gato_jax.runtime.atomic_writes import atomic_file

PATH = pathlib.Path(__file__).with_name("task_specs.jsonl")


@functools.cache
def read_spec(name: str) -> TaskSpec:
    """Return the TaskSpec of the task `suite/task` from the table.

    Raises:
      KeyError: The table has no such task.
    """
    return TaskSpec.from_json(json.loads(_lines()[name]))


def write_specs(specs: Iterable[TaskSpec], path: pathlib.Path = PATH):
    """Write the table as JSON Lines, sorted by name, without the fields that are None."""
    lines = {spec.name: json.dumps(_without_none(spec.to_json())) for spec in specs}
    with atomic_file(path) as written:
        written.write_text("".join(f"{lines[name]}\n" for name in sorted(lines)))


@functools.cache
def _lines() -> Mapping[str, str]:
    """Return {name of the task: its line}; a spec is parsed when it is asked for, which keeps `gato tasks` fast."""
    lines = PATH.read_text().removesuffix("\n").split("\n")
    return {"/".join(json.loads(line)[key] for key in ("suite", "task")): line for line in lines}


def _without_none(fields):
    if isinstance(fields, dict):
        return {key: _without_none(value) for key, value in fields.items() if value is not None}
    return fields
