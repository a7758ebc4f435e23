"""The registry of tasks: their names, `suite/task`, their availability and their environments."""

from __future__ import annotations

import difflib
import importlib.metadata
from typing import Literal

from gato_jax.environments import atari, babyai, dm_control, fetch, meta_world
from gato_jax.environments.base import Environment, MissingPackageError, Suite
from gato_jax.episodes import TaskSpec

_SUITES: dict[str, Suite] = {
    module.SUITE.name: module.SUITE for module in (atari, babyai, dm_control, fetch, meta_world)
}

Status = Literal["runnable", "substitute", "unavailable"]


class UnknownTaskError(ValueError):
    """A name that is not in the registry; the message names the most similar tasks."""


def task_names() -> list[str]:
    """Return the names of all registered tasks, available here or not, in alphabetical order of suite and task."""
    return [f"{name}/{task}" for name, suite in sorted(_SUITES.items()) for task in sorted(suite.tasks)]


def task_spec(name: str) -> TaskSpec:
    """Return the TaskSpec of a task. The suites that must load the task for it, Atari and DM Control, cache the result.

    Raises:
      UnknownTaskError: No task has this name.
      MissingPackageError: The spec comes from a package that is not installed.
    """
    suite, task = _find(name)
    if task in suite.unavailable or suite.spec_needs_package:
        require_runnable(name)
    return suite.spec(task)


def load(name: str) -> Environment:
    """Return a new environment of a task.

    Raises:
      UnknownTaskError: No task has this name.
      MissingPackageError: A package of the suite is not installed, or the task does not run here.
    """
    suite, task = _find(name)
    require_runnable(name)
    environment = suite.load(task)
    environment.source, environment.licence = ", ".join(package_versions(name)), suite.licence
    return environment


def status(name: str) -> tuple[Status, str]:
    """Return whether a task runs here, and the reason if it does not (an empty string if it does)."""
    suite, task = _find(name)
    if missing := suite.missing():
        return "unavailable", f"pip install {' '.join(missing)}"
    if task in suite.unavailable:
        return "unavailable", suite.unavailable[task]
    return "runnable", ""


def package_versions(name: str) -> list[str]:
    """Return the pip packages that a task comes from, each with its installed version, such as `minigrid 3.1.0`."""
    suite, _ = _find(name)
    return [f"{package} {importlib.metadata.version(package)}" for package in suite.packages.values()]


def unknown_task(name: str, known: list[str]) -> str:
    """Return the error message for a task name that is not among the known names."""
    nearest = difflib.get_close_matches(name, known, n=3, cutoff=0.0)
    return f"unknown task {name!r}; nearest: {', '.join(nearest)}"


def require_runnable(name: str) -> None:
    """Raise MissingPackageError, with the remedy, if the task does not run here.

    Raises:
      UnknownTaskError: No task has this name.
      MissingPackageError: The suite's package is not installed, or the task needs what is not there.
    """
    state, reason = status(name)
    if state == "unavailable":
        raise MissingPackageError(f"{name} does not run here: {reason}")


def _find(name: str) -> tuple[Suite, str]:
    suite, _, task = name.partition("/")
    if suite not in _SUITES or task not in _SUITES[suite].tasks:
        raise UnknownTaskError(unknown_task(name, task_names()))
    return _SUITES[suite], task
