"""Tables of reference scores on disk: the committed one, and the one that an evaluation measured in its workdir."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping

from gato_jax.evaluation.references import References, ReferencesError, installed_version
from gato_jax.runtime.atomic_writes import atomic_file

COMMITTED = pathlib.Path(__file__).with_name("reference_scores.jsonl")
MEASURED = "reference_scores.jsonl"  # file in a workdir


class MissingReferencesError(ReferencesError):
    """A task without reference scores for its installed version; the message names the command that measures them."""


def find_references(task: str, workdir: pathlib.Path | None = None) -> References:
    """Return the reference scores of the installed version of a task.

    Args:
      task: name of the task, `suite/task`.
      workdir: folder whose own table is read if the committed one has no scores of this version; None for no folder.

    Raises:
      MissingReferencesError: no table has scores of the task, or only those of another version.
    """
    installed = installed_version(task)
    other_versions = []
    for path in (COMMITTED, *([workdir / MEASURED] if workdir else [])):
        entry = read_table(path).get(task)
        if entry is not None and entry.version == installed:
            return entry
        other_versions += [entry.version] if entry is not None else []
    found = f"they are of {other_versions[-1]}, installed is {installed}" if other_versions else "no table has them"
    raise MissingReferencesError(
        f"no reference scores of {task}: {found}. Run `gato evaluate --measure_references` to measure them."
    )


def read_table(path: pathlib.Path = COMMITTED) -> dict[str, References]:
    """Read a table, JSON Lines, as {task: entry}; it is empty if the file does not exist, and a later line wins.

    Raises:
      ReferencesError: a line is not a valid entry; the message names the file and the line.
    """
    table = {}
    lines = path.read_text().splitlines() if path.exists() else []
    for number, line in enumerate(lines, start=1):
        try:
            entry = References.from_json(json.loads(line))
        except ValueError as error:
            reason = str(error).rstrip(".")
            raise ReferencesError(
                f"{path}, line {number}: {reason}. Delete the line and measure the task again."
            ) from None
        table[entry.task] = entry
    return table


def write_table(table: Mapping[str, References], path: pathlib.Path):
    """Write a table as JSON Lines, one entry a line, sorted by task, in place of the file that is there.

    A process that is killed leaves the old file or the new one.
    """
    with atomic_file(path) as written:
        written.write_text("".join(json.dumps(table[task].to_json()) + "\n" for task in sorted(table)))
