"""Which task has which expert."""

from __future__ import annotations

from gato_jax.environments import UnknownTaskError, task_names
from gato_jax.environments.registry import unknown_task
from gato_jax.experts import atari, babyai, dm_control, fetch, meta_world
from gato_jax.experts.base import Expert

_EXPERTS = {
    name: make for suite in (atari, babyai, dm_control, fetch, meta_world) for name, make in suite.EXPERTS.items()
}


class NoExpertError(ValueError):
    """A task without an expert; the message names tasks that have one."""


def expert_names() -> list[str]:
    """The tasks that have an expert, in alphabetical order."""
    return sorted(_EXPERTS)


def expert(name: str) -> Expert:
    """A new expert for the task.

    Raises:
      UnknownTaskError: no task has this name.
      NoExpertError: the task has no expert.
    """
    return _make(name)(name.partition("/")[2])


def description(name: str) -> str:
    """What the task's expert is, as the provenance of its episodes says it."""
    return _make(name).agent


def _make(name: str):
    if name in _EXPERTS:
        return _EXPERTS[name]
    if name not in task_names():
        raise UnknownTaskError(unknown_task(name, task_names()))
    suite = name.partition("/")[0]
    siblings = [task for task in expert_names() if task.startswith(f"{suite}/")] or expert_names()
    some = ", ".join(siblings[:8]) + (", ..." if siblings[8:] else "")
    raise NoExpertError(f"no expert for {name!r}; tasks with one: {some}")
