"""Planners for DM Control: its tasks from states and from pixels, and those with random bodies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gato_jax.environments.suites import dm_control
from gato_jax.environments.suites.dm_control import DMControl
from gato_jax.experts.dm_control import classic, grasping, locomotion, swimming
from gato_jax.experts.planning import Plan, Planner, last_compiled_spec

PLANS: dict[str, Plan] = {**classic.PLANS, **grasping.PLANS, **locomotion.PLANS, **swimming.PLANS}

# Domains with plans that take ten minutes and more for an episode, which is too slow for a recording.
SLOW_DOMAINS = ("dog", "humanoid_CMU")


class DMControlPlanner(Planner[DMControl]):
    """The planner of a task, which is named `domain/task` and has a plan in PLANS."""

    def plan_of(self, task: str) -> Plan:
        return PLANS[task]

    def model_and_data(self, environment: DMControl) -> tuple[Any, Any]:
        physics = environment.suite_environment.physics
        return physics.model.ptr, physics.data.ptr

    def describe_model(self, environment: DMControl) -> Any:
        task = environment.task_spec.task
        model = dm_control.load_suite_environment(task, seed=0).physics.model.ptr
        return last_compiled_spec(model, assets=_assets(task))


def _assets(task: str) -> Mapping[str, bytes]:
    """Return the contents of the files of meshes that the model of a task names."""
    if not task.startswith("dog/"):
        return {}
    from dm_control.suite import dog

    _, assets = dog.get_model_and_assets(100, remove_ball=False)
    return assets


EXPERTS = {
    f"{suite}/{task}": DMControlPlanner
    for suite, tasks in (
        ("dm_control", dm_control.TASKS),
        ("dm_control_pixels", dm_control.BENCHMARKING),
        ("dm_control_random_small", dm_control.BENCHMARKING),
        ("dm_control_random_large", dm_control.BENCHMARKING),
    )
    for task in tasks
    if task in PLANS and task.partition("/")[0] not in SLOW_DOMAINS
}
