"""DM Control: the 51 tasks of the DeepMind Control Suite, observed as state vectors.

Observations have the suite's own keys (`position`, `velocity`, `to_target`, ...), each as a vector. Actions lie in
[-1, 1], the suite's own limits. An episode has 1,000 steps with rewards in [0, 1]. The seed determines the first pose
and the target.
"""

from __future__ import annotations

import warnings

import numpy as np

from gato_jax.environments.base import Environment, Outcome
from gato_jax.environments.rendering import import_without_gl
from gato_jax.environments.rendering.raycast import RayCaster
from gato_jax.environments.suite import Suite
from gato_jax.episodes import Continuous, Embodiment, Gripper, TaskSpec

TASKS = tuple(
    """
acrobot/swingup acrobot/swingup_sparse ball_in_cup/catch cartpole/balance cartpole/balance_sparse
cartpole/swingup cartpole/swingup_sparse cartpole/two_poles cartpole/three_poles cheetah/run dog/stand dog/walk
dog/trot dog/run dog/fetch finger/spin finger/turn_easy finger/turn_hard fish/upright fish/swim hopper/stand
hopper/hop humanoid/stand humanoid/walk humanoid/run humanoid/run_pure_state humanoid_CMU/stand
humanoid_CMU/walk humanoid_CMU/run lqr/lqr_2_1 lqr/lqr_6_2 manipulator/bring_ball manipulator/bring_peg
manipulator/insert_ball manipulator/insert_peg pendulum/swingup point_mass/easy point_mass/hard quadruped/walk
quadruped/run quadruped/escape quadruped/fetch reacher/easy reacher/hard stacker/stack_2 stacker/stack_4
swimmer/swimmer6 swimmer/swimmer15 walker/stand walker/walk walker/run
""".split()
)

# The tasks that the suite tags as those for benchmarks.
BENCHMARKING = tuple(
    """
acrobot/swingup acrobot/swingup_sparse ball_in_cup/catch cartpole/balance cartpole/balance_sparse cartpole/swingup
cartpole/swingup_sparse cheetah/run finger/spin finger/turn_easy finger/turn_hard fish/swim fish/upright hopper/hop
hopper/stand humanoid/run humanoid/stand humanoid/walk manipulator/bring_ball pendulum/swingup point_mass/easy
reacher/easy reacher/hard swimmer/swimmer15 swimmer/swimmer6 walker/run walker/stand walker/walk
""".split()
)

MAX_STEPS = 1000


def load_suite_environment(task: str, seed: int):
    """Return a new environment of the suite's own for a task `domain/task`, whose random numbers have this seed."""
    with import_without_gl(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # without a display, mujoco warns that no window can be opened
        from dm_control import suite

    domain, name = task.split("/")
    environment = suite.load(domain, name, task_kwargs={"random": seed})
    if task == "quadruped/escape":
        # Each reset uploads the terrain to OpenGL if the physics has a context, which it would open to be asked.
        physics = environment.physics
        physics.__class__ = type("PhysicsWithoutContexts", (type(physics),), {"contexts": None})
    return environment


def spec(task: str) -> TaskSpec:
    """Return the TaskSpec of a task `domain/task`, such as `cartpole/swingup`, by loading it."""
    return _spec_of(task, load_suite_environment(task, seed=0))


def _spec_of(task: str, environment) -> TaskSpec:
    """Return the TaskSpec of a loaded task, as only its instance knows the shapes."""
    limits = environment.action_spec()
    model = environment.physics.model
    actuators = [model.id2name(number, "actuator") for number in range(model.nu)]
    grasp = tuple(number for number, name in enumerate(actuators) if name == "grasp")  # in manipulator and stacker
    return TaskSpec(
        suite="dm_control",
        task=task,
        observation={
            key: Continuous(shape=(int(np.prod(array.shape)),)) for key, array in environment.observation_spec().items()
        },
        # lqr has no limits of its own; it gets [-1, 1], which every other task has.
        action={"action": Continuous(shape=limits.shape, low=-1.0, high=1.0)},
        metric="return",
        control_rate_hz=round(1.0 / environment.control_timestep(), 3),
        max_steps=MAX_STEPS,  # lqr has no time limit of its own
        embodiment=Embodiment(
            robot=f"{task.partition('/')[0]} (simulated)",
            gripper=Gripper(kind="continuous", action="action", elements=grasp) if grasp else None,
        ),
    )


class DMControl(Environment):
    """An environment of one task, which is named `domain/task`, such as `cartpole/swingup`.

    Attributes:
      suite_environment: The suite's own environment; with the domain lqr, each reset replaces it.
    """

    def __init__(self, task: str):
        self._task = task
        self.suite_environment = load_suite_environment(task, seed=0)
        super().__init__(_spec_of(task, self.suite_environment))
        self._ray_caster: RayCaster | None = None

    def _start(self, seed: int) -> dict[str, np.ndarray]:
        if self._task.startswith("lqr/"):  # its model is drawn at random when it is built
            self.suite_environment, self._ray_caster = load_suite_environment(self._task, seed), None
        else:
            self.suite_environment.task.random.seed(seed)
        return self._observe(self.suite_environment.reset().observation)

    def _advance(self, action: dict[str, np.ndarray]) -> Outcome:
        step = self.suite_environment.step(action["action"].astype(np.float64))
        return Outcome(
            observation=self._observe(step.observation),
            reward=float(step.reward),
            terminated=bool(step.last() and step.discount == 0),
            truncated=bool(step.last()),
        )

    @property
    def mujoco_model(self):
        if self._task.startswith("lqr/"):
            return None
        return self.suite_environment.physics.model.ptr

    def render(self) -> np.ndarray:
        physics = self.suite_environment.physics
        if self._ray_caster is None:
            self._ray_caster = RayCaster(physics.model.ptr, view=0, height=96, width=96, supersampling=2)
        return self._ray_caster.render(physics.data.ptr)

    def _observe(self, observation) -> dict[str, np.ndarray]:
        return {key: np.ravel(value) for key, value in observation.items()}


SUITE = Suite(
    name="dm_control",
    tasks=TASKS,
    packages={"dm_control": "dm-control"},
    licence="Apache-2.0",
    spec=spec,
    load=DMControl,
    specs_in_table=True,
)
