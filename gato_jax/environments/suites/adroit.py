"""Adroit: four tasks of a hand with 24 joints, from gymnasium-robotics: open a door, hammer, turn a pen, move a ball.

Observation, action in [-1, 1] and the dense reward are those of the package's ids without `Sparse`, as in D4RL. An
episode has 200 steps. The score is the return, which published scores are computed from; the success of a step is that
the goal is met at it.
"""

from __future__ import annotations

from gato_jax.environments.rendering.raycast import Sphere, look_at
from gato_jax.environments.suite import Suite
from gato_jax.environments.suites.robotics_base import GOAL_COLOUR, RoboticsEnvironment
from gato_jax.episodes import Continuous, Embodiment, TaskSpec

MAX_STEPS = 200
CONTROL_RATE_HZ = 100.0
_ORIGINS = {
    "door": "adroit_hand.adroit_door:AdroitHandDoorEnv",
    "hammer": "adroit_hand.adroit_hammer:AdroitHandHammerEnv",
    "pen": "adroit_hand.adroit_pen:AdroitHandPenEnv",
    "relocate": "adroit_hand.adroit_relocate:AdroitHandRelocateEnv",
}
_SIZES = {"door": (39, 28), "hammer": (46, 26), "pen": (45, 24), "relocate": (39, 30)}  # observation, action


def spec(task: str) -> TaskSpec:
    """Return the TaskSpec of `door`, `hammer`, `pen` or `relocate`."""
    observation, action = _SIZES[task]
    return TaskSpec(
        suite="adroit",
        task=task,
        observation={"observation": Continuous(shape=(observation,))},
        action={"action": Continuous(shape=(action,), low=-1.0, high=1.0)},
        metric="return",
        control_rate_hz=CONTROL_RATE_HZ,
        max_steps=MAX_STEPS,
        embodiment=Embodiment(robot="Adroit hand (simulated)"),
    )


class Adroit(RoboticsEnvironment):
    """An environment of one task."""

    def __init__(self, task: str):
        view = look_at(eye=(0.7, -0.9, 0.75), target=(0.0, 0.0, 0.2), field_of_view=45.0)
        super().__init__(spec(task), _ORIGINS[task], view, reward_type="dense")

    def _markers(self) -> list[Sphere]:
        if self.task_spec.task != "relocate":  # the other goals are geoms
            return []
        return [Sphere(centre=self.simulator.data.site("target").xpos.copy(), radius=0.03, colour=GOAL_COLOUR)]


SUITE = Suite(
    name="adroit",
    tasks=tuple(_ORIGINS),
    packages={"gymnasium_robotics": "gymnasium-robotics"},
    licence="MIT",
    spec=spec,
    load=Adroit,
)
