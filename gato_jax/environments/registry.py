"""Every task by its name, `suite/task`: what there is, what runs here, and how to load it."""

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
    """A name that no task has; the message names the nearest ones."""


def task_names() -> list[str]:
    """Every registered task, whether it runs here or not, suites and tasks in alphabetical order."""
    return [f"{name}/{task}" for name, suite in sorted(_SUITES.items()) for task in sorted(suite.tasks)]


def task_spec(name: str) -> TaskSpec:
    """The task's TaskSpec. Only Atari and DM Control must load a task to know it, and they remember it.

    Raises:
      UnknownTaskError: no task has this name.
      MissingPackageError: the spec comes from a package that is not installed.
    """
    suite, task = _find(name)
    if task in suite.unavailable or suite.spec_needs_package:
        _refuse_unavailable(name)
    return suite.spec(task)


def load(name: str) -> Environment:
    """A new instance of the task.

    Raises:
      UnknownTaskError: no task has this name.
      MissingPackageError: the suite's package is not installed.
    """
    suite, task = _find(name)
    _refuse_unavailable(name)
    environment = suite.load(task)
    environment.source, environment.licence = ", ".join(package_versions(name)), suite.licence
    return environment


def status(name: str) -> tuple[Status, str]:
    """Whether the task runs here, and the reason where it does not (empty where it does)."""
    suite, task = _find(name)
    if missing := suite.missing():
        return "unavailable", f"pip install {' '.join(missing)}"
    if task in suite.unavailable:
        return "unavailable", suite.unavailable[task]
    return "runnable", ""


def package_versions(name: str) -> list[str]:
    """The pip packages that the task comes from, each with its version."""
    suite, _ = _find(name)
    return [f"{package} {importlib.metadata.version(package)}" for package in suite.packages.values()]


def unknown_task(name: str, known: list[str]) -> str:
    """The message for a name that is not among the known ones."""
    nearest = difflib.get_close_matches(name, known, n=3, cutoff=0.0)
    return f"unknown task {name!r}; nearest: {', '.join(nearest)}"


def _refuse_unavailable(name: str) -> None:
    state, reason = status(name)
    if state == "unavailable":
        raise MissingPackageError(f"{name} does not run here: {reason}")


def _find(name: str) -> tuple[Suite, str]:
    suite, _, task = name.partition("/")
    if suite not in _SUITES or task not in _SUITES[suite].tasks:
        raise UnknownTaskError(unknown_task(name, task_names()))
    return _SUITES[suite], task
