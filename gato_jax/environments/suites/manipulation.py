"""DM Control's manipulation tasks: a Jaco arm with three fingers and bricks, observed as state vectors.

The paper's Manipulation Playground has four tasks of the same arm (box, stack banana, insertion, slide), which were
not published. These are the 13 tasks with `features` that dm_control.manipulation has, in its spelling; the 12 with
`vision` are the suite `manipulation_vision`. Observations have the package's keys, each as a vector. The action is the
velocities of six joints and three fingers (radians per second). An episode has 250 steps of 40 ms with rewards in [0,
1].
"""

from __future__ import annotations

import contextlib
import warnings
from typing import Any

import numpy as np

from gato_jax.environments.base import Environment, Outcome
from gato_jax.environments.rendering import import_without_gl
from gato_jax.environments.rendering.raycast import RayCaster, look_at
from gato_jax.environments.suite import Suite
from gato_jax.episodes import Continuous, Embodiment, Gripper, TaskSpec

TASKS = tuple(
    """
lift_brick_features lift_large_box_features place_brick_features place_cradle_features reach_duplo_features
reach_site_features reassemble_3_bricks_fixed_order_features reassemble_5_bricks_random_order_features
stack_2_bricks_features stack_2_bricks_moveable_base_features stack_2_of_3_bricks_random_order_features
stack_3_bricks_features stack_3_bricks_random_order_features
""".split()
)
MAX_STEPS = 250
_MAX_RESETS = 100  # placing the bricks fails now and then
_FRAME_SIDE = 128
_VIEW = look_at(eye=(0.55, -0.85, 0.75), target=(0.0, 0.05, 0.15), field_of_view=45.0)


def _load(task: str) -> Any:
    """Return the package's own environment, without its camera, which would need OpenGL."""
    with import_without_gl(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # without a display, mujoco warns that no window can be opened
        from dm_control import composer, manipulation  # noqa: F401  it registers the tasks
        from dm_control.composer.observation.observable import MJCFCamera
        from dm_control.manipulation.shared import registry

    loaded = registry.get_constructor(task)()
    for observable in loaded.observables.values():
        observable.enabled = observable.enabled and not isinstance(observable, MJCFCamera)
    return composer.Environment(loaded, time_limit=MAX_STEPS * loaded.control_timestep, random_state=0)


def spec(task: str) -> TaskSpec:
    """Return the TaskSpec of a task, such as `reach_site_features`, by loading it."""
    return _spec_of(task, _load(task))


def _spec_of(task: str, environment: Any) -> TaskSpec:
    """Return the TaskSpec of a loaded task, as only its instance knows the shapes."""
    limits = environment.action_spec()
    return TaskSpec(
        suite="manipulation",
        task=task,
        observation={
            key: Continuous(shape=(int(np.prod(array.shape)),)) for key, array in environment.observation_spec().items()
        },
        action={"action": Continuous(shape=limits.shape, low=tuple(limits.minimum), high=tuple(limits.maximum))},
        metric="return",
        control_rate_hz=round(1.0 / environment.control_timestep(), 3),
        max_steps=MAX_STEPS,
        embodiment=Embodiment(
            robot="Jaco (simulated)", gripper=Gripper(kind="pose", action="action", elements=(6, 7, 8))
        ),
    )


class Manipulation(Environment):
    """An environment of one task.

    Attributes:
      composer_environment: The package's own environment.
    """

    def __init__(self, task: str):
        self.composer_environment = _load(task)
        super().__init__(_spec_of(task, self.composer_environment))
        # Tasks that reassemble a tower shuffle this array in place, so that an order follows from the one before it.
        order = getattr(self.composer_environment.task, "_initial_order", None)
        self._first_order = None if order is None else order.copy()
        self._ray_caster: RayCaster | None = None
        self._open = True

    def _start(self, seed: int) -> dict[str, np.ndarray]:
        from dm_control.composer import EpisodeInitializationError

        self.composer_environment.random_state.seed(seed)
        if self._first_order is not None:
            self.composer_environment.task._initial_order[:] = self._first_order
        self._ray_caster = None  # the model is compiled anew
        for _ in range(_MAX_RESETS - 1):
            with contextlib.suppress(EpisodeInitializationError):  # the next attempt goes on with the random state
                return self._observe(self.composer_environment.reset().observation)
        return self._observe(self.composer_environment.reset().observation)

    def _advance(self, action: dict[str, np.ndarray]) -> Outcome:
        step = self.composer_environment.step(action["action"].astype(np.float64))
        return Outcome(
            observation=self._observe(step.observation),
            reward=float(step.reward),
            terminated=bool(step.last() and step.discount == 0),
            truncated=bool(step.last()),
        )

    def render(self) -> np.ndarray:
        physics = self.composer_environment.physics
        if self._ray_caster is None:
            self._ray_caster = RayCaster(
                physics.model.ptr, _VIEW, height=_FRAME_SIDE, width=_FRAME_SIDE, supersampling=2
            )
        return self._ray_caster.render(physics.data.ptr)

    def close(self) -> None:
        if self._open:  # the package fails on a second call
            self.composer_environment.close()
        self._open = False

    def _observe(self, observation) -> dict[str, np.ndarray]:
        return {key: np.ravel(value) for key, value in observation.items()}


SUITE = Suite(
    name="manipulation",
    tasks=TASKS,
    packages={"dm_control": "dm-control"},
    licence="Apache-2.0",
    spec=spec,
    load=Manipulation,
    specs_in_table=True,
)
