"""Franka kitchen: a robot arm that opens, turns and moves things in a kitchen, from gymnasium-robotics.

The tasks are the seven things to do, one at a time, and the two groups of four that D4RL's data sets have: `complete`
(microwave, kettle, light switch, slide cabinet) and `mixed` (microwave, kettle, bottom burner, light switch), in any
order. The observation is the state of 59 numbers, with the package's noise; goals are not observed, as they are
constant. The action is the velocities of the nine joints, each in [-1, 1]. A thing that is done earns 1, once. An
episode ends when all are done, which is a success, or after 280 steps. All episodes begin alike: seeds differ in the
noise alone.
"""

from __future__ import annotations

from typing import Any

from gato_jax.environments.rendering.raycast import look_at
from gato_jax.environments.suite import Suite
from gato_jax.environments.suites.robotics_base import RoboticsEnvironment
from gato_jax.episodes import Continuous, Embodiment, Gripper, TaskSpec

MAX_STEPS = 280
CONTROL_RATE_HZ = 12.5
_THINGS = ("bottom burner", "top burner", "light switch", "slide cabinet", "hinge cabinet", "microwave", "kettle")
_GROUPS = {
    **{thing.replace(" ", "_"): [thing] for thing in _THINGS},
    "complete": ["microwave", "kettle", "light switch", "slide cabinet"],
    "mixed": ["microwave", "kettle", "bottom burner", "light switch"],
}


def spec(task: str) -> TaskSpec:
    """Return the TaskSpec of a task, such as `microwave` or `complete`."""
    return TaskSpec(
        suite="kitchen",
        task=task,
        observation={"observation": Continuous(shape=(59,))},
        action={"action": Continuous(shape=(9,), low=-1.0, high=1.0)},
        metric="return",
        control_rate_hz=CONTROL_RATE_HZ,
        max_steps=MAX_STEPS,
        embodiment=Embodiment(
            robot="Franka (simulated)", gripper=Gripper(kind="pose", action="action", elements=(7, 8))
        ),
    )


class Kitchen(RoboticsEnvironment):
    """An environment of one task."""

    def __init__(self, task: str):
        view = look_at(eye=(0.9, -1.4, 2.9), target=(-0.15, 0.55, 1.95), field_of_view=50.0)
        super().__init__(spec(task), "franka_kitchen:KitchenEnv", view, tasks_to_complete=list(_GROUPS[task]))

    def _is_success(self, info: dict[str, Any]) -> bool:
        return not info["tasks_to_complete"]


SUITE = Suite(
    name="kitchen",
    tasks=tuple(_GROUPS),
    packages={"gymnasium_robotics": "gymnasium-robotics"},
    licence="MIT (gymnasium-robotics), Apache-2.0 (models of the kitchen)",
    spec=spec,
    load=Kitchen,
)
