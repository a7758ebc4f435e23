"""The registry of tasks: their names, `suite/task`, their availability and their environments."""

from __future__ import annotations

import difflib
import functools
import importlib.metadata
from collections.abc import Mapping
from typing import Literal

from gato_jax.environments.base import Environment, MissingPackageError
from gato_jax.environments.spec_table import read_spec
from gato_jax.environments.suite import Suite
from gato_jax.environments.suites import (
    adroit,
    atari,
    babyai,
    dm_control,
    dm_control_pixels,
    dm_control_random,
    fetch,
    fetch_state,
    gymnasium,
    kitchen,
    manipulation,
    manipulation_vision,
    meta_world,
    meta_world_pixels,
    miniworld,
    modular_rl,
    procgen,
    pusht,
    rgb_stacking,
    sokoban,
    vizdoom,
)
from gato_jax.episodes import TaskSpec
from gato_jax.episodes.differences import require_same

_SUITES: dict[str, Suite] = {
    suite.name: suite
    for suite in (
        adroit.SUITE,
        *atari.SUITES,
        babyai.SUITE,
        dm_control.SUITE,
        dm_control_pixels.SUITE,
        dm_control_random.LARGE_SUITE,
        dm_control_random.SMALL_SUITE,
        fetch.SUITE,
        fetch_state.SUITE,
        gymnasium.SUITE,
        kitchen.SUITE,
        manipulation.SUITE,
        manipulation_vision.SUITE,
        meta_world.SUITE,
        meta_world_pixels.SUITE,
        miniworld.SUITE,
        modular_rl.SUITE,
        procgen.SUITE,
        procgen.EASY_SUITE,
        pusht.SUITE,
        pusht.PIXELS_SUITE,
        rgb_stacking.SUITE,
        sokoban.SUITE,
        vizdoom.SUITE,
    )
}

Status = Literal["runnable", "substitute", "unavailable"]


class SpecMismatchError(ValueError):
    """A task whose TaskSpec in the installed packages differs from the committed one; the message shows both."""


class UnknownTaskError(ValueError):
    """A name that is not in the registry; the message names the three most similar tasks."""


def suites() -> Mapping[str, Suite]:
    """Return {name: suite} of all suites, installed or not, sorted by name."""
    return dict(sorted(_SUITES.items()))


def task_names() -> list[str]:
    """Return the names `suite/task` of all listed tasks, available here or not, sorted by suite, then by task.

    Names that are not listed are those of `Suite.further`.
    """
    return [f"{name}/{task}" for name, suite in suites().items() for task in sorted(suite.tasks)]


def is_task(name: str) -> bool:
    """Return True if a task, listed or not, has this name.

    Raises:
      MissingPackageError: The name names a module that cannot be imported.
    """
    try:
        _find(name)
    except UnknownTaskError:
        return False
    return True


def task_spec(name: str) -> TaskSpec:
    """Return the TaskSpec of a task `suite/task`.

    That of a listed task is known without loading a simulator or needing its package.

    Raises:
      UnknownTaskError: No task has this name.
    """
    suite, task = _find(name)
    return read_spec(name) if suite.specs_in_table else suite.spec(task)


def load(name: str) -> Environment:
    """Return a new environment of a task `suite/task`.

    Raises:
      UnknownTaskError: No task has this name.
      MissingPackageError: A package of the suite is not installed, or the task does not run here.
      SpecMismatchError: The installed packages have another version of the task than the committed spec.
    """
    suite, task = _find(name)
    require_runnable(name)
    environment = suite.load(task)
    if suite.specs_in_table and environment.task_spec != task_spec(name):
        require_same(
            task_spec(name).to_json(),
            environment.task_spec.to_json(),
            problem=f"{name}: the TaskSpec of {', '.join(package_versions(name))} differs from the expected one",
            holder="the installed packages",
            remedy="Install the versions that requirements/ lists.",
            error=SpecMismatchError,
        )
    environment.source = ", ".join(package_versions(name))
    environment.licence = environment.licence or suite.licence
    return environment


def status(name: str) -> tuple[Status, str]:
    """Return ("runnable", "") for a task that runs here, else "unavailable" and the reason or remedy.

    The remedy of a missing package is the command, e.g. `pip install minigrid`. Only the presence of packages and
    libraries is checked; the task is not loaded.

    Raises:
      UnknownTaskError: No task has this name.
    """
    suite, _ = _find(name)
    if missing := suite.missing():
        return "unavailable", suite.remedy or f"pip install {' '.join(missing)}"
    if suite.obstacle is not None and (reason := suite.obstacle()):
        return "unavailable", reason
    return "runnable", ""


def is_rendered(name: str) -> bool:
    """Return True if the observations of a task hold images that the renderer of the process draws.

    Raises:
      UnknownTaskError: No task has this name.
    """
    return _find(name)[0].rendered


def scores_of(name: str) -> str | None:
    """Return the task of another suite whose reference scores hold for a task; None if there is none.

    Raises:
      UnknownTaskError: No task has this name.
    """
    suite, task = _find(name)
    if suite.scores_of is None or task not in _SUITES[suite.scores_of].tasks:
        return None
    return f"{suite.scores_of}/{task}"


def package_versions(name: str) -> list[str]:
    """Return the pip packages that a task comes from, each with its installed version, such as `minigrid 3.1.0`.

    Raises:
      UnknownTaskError: No task has this name.
      PackageNotFoundError: A package is not installed.
    """
    suite, task = _find(name)
    return [f"{package} {_installed_version(package)}" for package in suite.packages_of(task).values()]


def unknown_task(name: str, known: list[str]) -> str:
    """Return the error message for a task name that is not among the known names: `unknown task 'a'; nearest: b, c, d`.

    Up to three names are proposed, however unlike they are.
    """
    nearest = difflib.get_close_matches(name, known, n=3, cutoff=0.0)
    return f"unknown task {name!r}; nearest: {', '.join(nearest)}"


def require_runnable(name: str) -> None:
    """Raise MissingPackageError, with the remedy or reason, if the task does not run here; see `status`.

    Raises:
      UnknownTaskError: No task has this name.
      MissingPackageError: A package of the suite is not installed, or the task cannot run here.
    """
    state, reason = status(name)
    if state == "unavailable":
        raise MissingPackageError(f"{name} does not run here: {reason}")


_installed_version = functools.cache(importlib.metadata.version)  # each search takes milliseconds


def _find(name: str) -> tuple[Suite, str]:
    suite, _, task = name.partition("/")
    if suite not in _SUITES:
        raise UnknownTaskError(unknown_task(name, task_names()))
    found = _SUITES[suite]
    if task in found.tasks or (found.further is not None and found.missing()):  # `status` names what is missing
        return found, task
    known = list(found.further.names(task)) if found.further else []
    if task not in known:
        names = [f"{suite}/{other}" for other in known] or task_names()
        raise UnknownTaskError(unknown_task(name, names))
    return found, task
