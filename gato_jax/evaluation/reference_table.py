"""Tables of reference scores on disk: the committed one, and the one that an evaluation measured in its workdir."""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
from collections.abc import Iterable, Mapping

from gato_jax.environments import scores_of
from gato_jax.evaluation.references import References, ReferencesError, installed_version
from gato_jax.runtime.atomic_writes import atomic_file

COMMITTED = pathlib.Path(__file__).with_name("reference_scores.jsonl")
MEASURED = "reference_scores.jsonl"  # file in a workdir


class MissingReferencesError(ReferencesError):
    """A task without reference scores for its installed version; the message names the command that measures them."""


def find_references(task: str, workdir: pathlib.Path | None = None) -> References:
    """Return the reference scores of the installed version of a task.

    A task without scores of its own has those of the task that `environments.scores_of` names, and says so.

    Args:
      task: name of the task, `suite/task`.
      workdir: folder whose own table is read as well; None for no folder. Of two scores, the one of more episodes
        counts, and the committed one of as many.

    Raises:
      MissingReferencesError: no table has scores of the task, or only those of another version.
    """
    installed = installed_version(task)
    paths = (COMMITTED, *([workdir / MEASURED] if workdir else []))
    entries = [entry for path in paths for entry in _read_entries(path) if entry.task == task]
    if of_installed := [entry for entry in entries if entry.version == installed]:
        return functools.reduce(References.combined_with, of_installed)
    if (same := scores_of(task)) is not None:
        return _taken_over(find_references(same, workdir), task)
    found = f"they are of {entries[-1].version}, installed is {installed}" if entries else "no table has them"
    raise MissingReferencesError(
        f"no reference scores of {task}: {found}. Run `gato evaluate --measure_references` to measure them."
    )


def look_up(table: Mapping[str, References], task: str) -> References | None:
    """Return the entry of a task in a table, or of the task that `environments.scores_of` names; None without either.

    Versions are not compared.
    """
    if task in table:
        return table[task]
    entry = table.get(scores_of(task) or "")
    return None if entry is None else _taken_over(entry, task)


def _taken_over(entry: References, task: str) -> References:
    return dataclasses.replace(entry, task=task, scores_of=entry.task)


def read_table(path: pathlib.Path = COMMITTED) -> dict[str, References]:
    """Read a table, JSON Lines, as {task: entry}; it is empty if the file does not exist, and a later line wins.

    Raises:
      ReferencesError: a line is not a valid entry; the message names the file and the line.
    """
    return {entry.task: entry for entry in _read_entries(path)}


def _read_entries(path: pathlib.Path) -> list[References]:
    entries = []
    lines = path.read_text().removesuffix("\n").split("\n") if path.exists() else []
    for number, line in enumerate(lines, start=1):
        try:
            entries.append(References.from_json(json.loads(line)))
        except ValueError as error:
            first, *problems = str(error).split("\n")
            reason = (problems or [first])[0].strip().rstrip(".")
            raise ReferencesError(
                f"{path}, line {number}: {reason}. Delete the line and measure the task again."
            ) from None
    return entries


def add_references(entry: References, path: pathlib.Path):
    """Add an entry to a table, at whose end it is, without losing what is there.

    An entry of the same task and version is combined with it, so that no score gives way to one of fewer episodes.
    Entries of other versions stay.
    """
    entries = _read_entries(path)
    same = [known for known in entries if (known.task, known.version) == (entry.task, entry.version)]
    others = [known for known in entries if known not in same]
    _write_entries([*others, functools.reduce(References.combined_with, same, entry)], path)


def write_table(table: Mapping[str, References], path: pathlib.Path):
    """Write a table as JSON Lines, one entry a line, sorted by task, in place of the file that is there.

    A process that is killed leaves the old file or the new one.
    """
    _write_entries([table[task] for task in sorted(table)], path)


def _write_entries(entries: Iterable[References], path: pathlib.Path):
    with atomic_file(path) as written:
        written.write_text("".join(json.dumps(entry.to_json()) + "\n" for entry in entries))
