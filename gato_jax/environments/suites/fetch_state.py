"""Fetch: the four tasks of gymnasium-robotics' Fetch arm, observed as state vectors.

The task of the suite `fetch` is one of these seen by cameras, in the form of a robot recording. Here the observation
is the package's own: `observation` (10 numbers for reach, which has no object, else 25), `achieved_goal` and
`desired_goal` (3, metres). The action is the displacement of the gripper (3) and the gripper's opening, each in [-1,
1]; in push and slide the gripper stays closed. The reward of a step is 0 if the goal is within 5 cm, and -1 otherwise.
An episode has 50 steps; it is a success if the goal is reached at the last one.
"""

from __future__ import annotations

from gato_jax.environments.rendering.raycast import Sphere, look_at
from gato_jax.environments.suite import Suite
from gato_jax.environments.suites.robotics_base import GOAL_COLOUR, RoboticsEnvironment
from gato_jax.episodes import Continuous, Embodiment, Gripper, TaskSpec

MAX_STEPS = 50
CONTROL_RATE_HZ = 25.0
_ORIGINS = {
    "reach": "fetch.reach:MujocoFetchReachEnv",
    "push": "fetch.push:MujocoFetchPushEnv",
    "slide": "fetch.slide:MujocoFetchSlideEnv",
    "pick_and_place": "fetch.pick_and_place:MujocoFetchPickAndPlaceEnv",
}


def spec(task: str) -> TaskSpec:
    """Return the TaskSpec of `reach`, `push`, `slide` or `pick_and_place`."""
    moves_fingers = task in ("reach", "pick_and_place")
    return TaskSpec(
        suite="fetch_state",
        task=task,
        observation={
            "observation": Continuous(shape=(10 if task == "reach" else 25,)),
            "achieved_goal": Continuous(shape=(3,)),
            "desired_goal": Continuous(shape=(3,)),
        },
        action={"action": Continuous(shape=(4,), low=-1.0, high=1.0)},
        metric="success",
        control_rate_hz=CONTROL_RATE_HZ,
        max_steps=MAX_STEPS,
        embodiment=Embodiment(
            robot="Fetch (simulated)",
            gripper=Gripper(kind="continuous", action="action", elements=(3,)) if moves_fingers else None,
        ),
    )


class FetchState(RoboticsEnvironment):
    """An environment of one task."""

    def __init__(self, task: str):
        view = look_at(eye=(2.3, 0.35, 1.15), target=(1.36, 0.75, 0.50), field_of_view=45.0)
        super().__init__(spec(task), _ORIGINS[task], view)
        model = self.simulator.model
        model.geom_rgba[model.geom_bodyid == model.body("robot0:mocap").id, 3] = 0.0  # the controller's handle

    def _markers(self) -> list[Sphere]:
        return [Sphere(centre=self.simulator.goal, radius=0.025, colour=GOAL_COLOUR)]


SUITE = Suite(
    name="fetch_state",
    tasks=tuple(_ORIGINS),
    packages={"gymnasium_robotics": "gymnasium-robotics"},
    licence="MIT",
    spec=spec,
    load=FetchState,
)
