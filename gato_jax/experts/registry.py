"""The registry of experts: the class of the expert of each task."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from gato_jax.environments import UnknownTaskError, is_task, require_runnable, task_names
from gato_jax.environments.registry import unknown_task
from gato_jax.experts import distillation
from gato_jax.experts.base import Expert

_SUITES = (
    "atari", "babyai", "dm_control", "fetch", "fetch_state", "manipulation", "meta_world", "miniworld", "modular_rl",
    "procgen", "pusht", "rgb_stacking", "sokoban", "vizdoom",
)  # fmt: skip

# The experts that need no training: of the tasks whose expert is a network, they were its teachers.
_TEACHERS: dict[str, type[Expert]] = {
    name: kind
    for suite in _SUITES
    for name, kind in importlib.import_module(f"gato_jax.experts.{suite}").EXPERTS.items()
}
_EXPERTS: dict[str, type[Expert]] = {**_TEACHERS, **distillation.EXPERTS}


class NoExpertError(ValueError):
    """A registered task without an expert; the message names up to eight tasks that have one, of its suite if any."""


def expert_names() -> list[str]:
    """Return the names `suite/task` of the tasks that have an expert, runnable here or not, in alphabetical order."""
    return sorted(_EXPERTS)


def expert(name: str) -> Expert:
    """Return a new expert for the task `suite/task`.

    Raises:
      UnknownTaskError: No task has this name.
      NoExpertError: The task has no expert.
      MissingPackageError: The packages of the task are not installed; some experts come with them.
    """
    kind = expert_class(name)
    require_runnable(name)
    return kind(name.partition("/")[2])


def teacher(name: str) -> Expert:
    """Return a new expert for the task `suite/task` that plans or follows a script, even if the task has a network.

    Raises:
      UnknownTaskError: No task has this name.
      NoExpertError: The task has no expert that a network could imitate.
      MissingPackageError: The packages of the task are not installed.
    """
    kind = _class_of(name, _TEACHERS)
    require_runnable(name)
    return kind(name.partition("/")[2])


def teacher_description(name: str) -> str:
    """Return the description of the teacher of the task `suite/task`; the errors are those of `teacher`."""
    return _class_of(name, _TEACHERS).agent


def description(name: str) -> str:
    """Return the description of the expert of the task `suite/task`, without noise, e.g. `MPPI planner`.

    Raises:
      UnknownTaskError: No task has this name.
      NoExpertError: The task has no expert.
    """
    return expert_class(name).agent


def expert_class(name: str) -> type[Expert]:
    """Return the class of the expert of the task `suite/task`; its constructor takes the name without the suite.

    Raises:
      UnknownTaskError: No task has this name.
      NoExpertError: The task has no expert.
    """
    return _class_of(name, _EXPERTS)


def _class_of(name: str, experts: Mapping[str, type[Expert]]) -> type[Expert]:
    if name in experts:
        return experts[name]
    if not is_task(name):
        raise UnknownTaskError(unknown_task(name, task_names()))
    suite = name.partition("/")[0]
    siblings = [task for task in sorted(experts) if task.startswith(f"{suite}/")] or sorted(experts)
    some = ", ".join(siblings[:8]) + (", ..." if siblings[8:] else "")
    raise NoExpertError(f"no expert for {name!r}; tasks with one: {some}; `gato tasks` lists all")
