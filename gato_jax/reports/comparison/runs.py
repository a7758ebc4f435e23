"""The runs that a page compares, read from their folders, with names that tell them apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from gato_jax.reports.configuration import read_configuration
from gato_jax.reports.errors import ReportError
from gato_jax.reports.reading import read_metrics, read_results
from gato_jax.reports.run import Results, TaskScore
from gato_jax.runtime.paths import as_path


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComparedRun:
    """One of the compared runs.

    Attributes:
      name: the end of its path that no other compared run shares.
      results: its scores; without tasks for a run that was not evaluated yet.
      metrics: {quantity: (steps, values)}, each of shape (N,).
      configuration: {key: value as text} of the config.
    """

    name: str
    results: Results
    metrics: Mapping[str, tuple[np.ndarray, np.ndarray]]
    configuration: Mapping[str, str]

    @property
    def tasks(self) -> dict[str, TaskScore]:
        """The scores by the name of the task."""
        return {task.task: task for task in self.results.tasks}


def read_compared_runs(workdirs: Sequence[Path]) -> tuple[ComparedRun, ...]:
    """Read the runs to compare.

    Args:
      workdirs: folders of two or more different runs, each with training curves. Scores may be absent.

    Raises:
      ReportError: there are fewer than two runs, or one twice; a folder is missing; or a file is missing or malformed.
    """
    paths = [as_path(workdir) for workdir in workdirs]
    for path in paths:
        if not path.is_dir():
            raise ReportError(f"Cannot compare the runs: {path} is not a folder. Name the folder of a run.")
    resolved = [path.resolve() for path in paths]
    if len(paths) < 2 or len(set(resolved)) < len(paths):
        named = ", ".join(map(str, paths))
        raise ReportError(f"Cannot compare the runs {named}: expected two or more different folders. Name others.")
    return tuple(_read_run(name, path) for name, path in zip(distinct_names(resolved), paths, strict=True))


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """Return the shortest ends of different paths that differ from one another, such as ["a/run", "b/run"]."""
    parts = [path.parts for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(one[-length:]) for one in parts]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def _read_run(name: str, path: Path) -> ComparedRun:
    evaluated = (path / "results.json").exists()
    return ComparedRun(
        name=name,
        results=read_results(path) if evaluated else Results(tasks=()),
        metrics=read_metrics(path / "metrics.jsonl"),
        configuration=read_configuration(path),
    )
