"""Meta-World: 50 manipulation tasks of a simulated Sawyer arm; the seed determines the goal and the objects.

The observation `state` is Meta-World's own vector of 39 numbers: hand position (3, metres), gripper opening (0 to 1),
positions and quaternions of up to two objects (14), the same 18 numbers of the previous step, and the goal position
(3). Meta-World hides the goal in its multi-task mode; here it is visible, as in the single-task mode (MT1). The action
is the displacement of the hand and the effort of the gripper, all in [-1, 1]. An episode ends at success or after 500
steps.
"""

from __future__ import annotations

import numpy as np

from gato_jax.environments.base import Environment, Outcome
from gato_jax.environments.rendering.raycast import RayCaster, Sphere, look_at
from gato_jax.environments.suite import Suite
from gato_jax.episodes import Continuous, Embodiment, Gripper, TaskSpec

MAX_STEPS = 500
CONTROL_RATE_HZ = 80.0  # the time step is 2.5 ms and the frame skip 5

TASKS = tuple(
    """
assembly-v3 basketball-v3 bin-picking-v3 box-close-v3 button-press-topdown-v3 button-press-topdown-wall-v3
button-press-v3 button-press-wall-v3 coffee-button-v3 coffee-pull-v3 coffee-push-v3 dial-turn-v3 disassemble-v3
door-close-v3 door-lock-v3 door-open-v3 door-unlock-v3 drawer-close-v3 drawer-open-v3 faucet-close-v3
faucet-open-v3 hammer-v3 hand-insert-v3 handle-press-side-v3 handle-press-v3 handle-pull-side-v3 handle-pull-v3
lever-pull-v3 peg-insert-side-v3 peg-unplug-side-v3 pick-out-of-hole-v3 pick-place-v3 pick-place-wall-v3
plate-slide-back-side-v3 plate-slide-back-v3 plate-slide-side-v3 plate-slide-v3 push-back-v3 push-v3
push-wall-v3 reach-v3 reach-wall-v3 shelf-place-v3 soccer-v3 stick-pull-v3 stick-push-v3 sweep-into-v3 sweep-v3
window-close-v3 window-open-v3
""".split()
)


def spec(task: str) -> TaskSpec:
    """Return the TaskSpec of a task, such as `reach-v3`; all tasks have the same one, except for the name."""
    return TaskSpec(
        suite="meta_world",
        task=task,
        observation={"state": Continuous(shape=(39,))},
        action={"action": Continuous(shape=(4,), low=-1.0, high=1.0)},
        metric="success",
        control_rate_hz=CONTROL_RATE_HZ,
        max_steps=MAX_STEPS,
        embodiment=Embodiment(
            robot="Sawyer (simulated)", gripper=Gripper(kind="continuous", action="action", elements=(3,))
        ),
    )


class MetaWorld(Environment):
    """An environment of one task, which is named without the suite, such as `reach-v3`.

    Attributes:
      simulator: Meta-World's own environment.
      state: The newest 39 numbers of Meta-World's own observation, for experts: agents from pixels do not observe them.
    """

    fixed_views = True

    def __init__(self, task: str):
        from metaworld.env_dict import ALL_V3_ENVIRONMENTS

        super().__init__(spec(task))
        self.simulator = ALL_V3_ENVIRONMENTS[task]()
        # Building the class directly takes a third of a second; gym.make with the wrappers of MT1 takes one to three.
        # The fields below are what MT1 sets: the goal is visible, and each reset draws goal and objects from the seeded
        # generator.
        self.simulator._partially_observable = False
        # The space that clips observations was cached while the goal was hidden; it would clip every goal to 0, 0, 0.
        self.simulator.__dict__.pop("sawyer_observation_space", None)
        self.simulator._freeze_rand_vec = False
        self.simulator._set_task_called = True
        self.simulator.seeded_rand_vec = True
        self.state = np.zeros(39)
        self._ray_caster: RayCaster | None = None

    def _start(self, seed: int) -> dict[str, np.ndarray]:
        import mujoco

        # reset() moves the arm before it clears the state of the last episode, so the state is cleared first.
        mujoco.mj_resetData(self.simulator.model, self.simulator.data)  # pyright: ignore[reportAttributeAccessIssue]  it has no stubs
        self.simulator.seed(seed)
        self.state, _ = self.simulator.reset()
        return self._observe(self.state)

    def _advance(self, action: dict[str, np.ndarray]) -> Outcome:
        self.state, reward, _, truncated, info = self.simulator.step(action["action"])
        success = bool(info["success"] > 0.5)
        return Outcome(
            observation=self._observe(self.state),
            reward=float(reward),
            terminated=success,
            truncated=bool(truncated),
            success=success,
        )

    def _observe(self, state: np.ndarray) -> dict[str, np.ndarray]:
        return {"state": state}

    @property
    def mujoco_model(self):
        return self.simulator.model

    def render(self) -> np.ndarray:
        if self._ray_caster is None:
            view = look_at(eye=(0.75, 0.15, 0.75), target=(0.0, 0.68, 0.12), field_of_view=42.0)
            self._ray_caster = RayCaster(self.simulator.model, view, height=96, width=96, supersampling=2)
        goal = Sphere(centre=np.asarray(self.simulator._target_pos), radius=0.02, colour=(0.85, 0.15, 0.1, 0.7))
        return self._ray_caster.render(self.simulator.data, spheres=[goal])


SUITE = Suite(
    name="meta_world", tasks=TASKS, packages={"metaworld": "metaworld"}, licence="MIT", spec=spec, load=MetaWorld
)
