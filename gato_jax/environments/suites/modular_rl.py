"""Modular RL: 38 planar bodies, cheetahs, walkers, hoppers and humanoids, that learn to move forwards.

Bodies, rewards and ends are those of https://github.com/huangwl18/modular-rl, see `worlds.modular_bodies`. The
observation `limbs` has a row of 19 numbers for the torso and for each limb: position relative to the torso along x,
height and sideways position (x, y, z, metres), velocity (3, metres per second, clipped to 10), angular velocity (3,
radians per second), rotation as an exponential map (3, radians), kind of the limb (4, one-hot), and of its hinge the
angle in its range and the range's two ends, each from 0 to 1. The action is the torque of each hinge, relative to its
gear.

The reward is the speed along x, minus a cost of the action; all but the cheetahs get 1 for each step, and end when they
fall or lean. The seed determines the first pose and velocity. An episode has at most 1,000 steps.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from gato_jax.environments.base import Environment, Outcome
from gato_jax.environments.rendering.raycast import RayCaster
from gato_jax.environments.suite import Suite
from gato_jax.environments.worlds.modular_bodies import Body, bodies, build
from gato_jax.episodes import Continuous, Embodiment, TaskSpec

MAX_STEPS = 1000
FRAME_SKIP = 4
LIMB_FEATURES = 19
_MAX_LEAN = 1.0  # radians
_MAX_VELOCITY = 10.0  # metres per second, in the observation
_KINDS = 4
_TORSO = 1  # index of the torso among MuJoCo's bodies, after the world


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rules:
    """Reward, end and start of the episodes of one body.

    Attributes:
      alive_bonus: Reward of each step, beside the speed.
      control_cost: Cost of the sum of the squared actions.
      heights: Heights of the torso between which an episode goes on, in metres; None if it never ends early.
      max_state: Largest absolute angle or velocity with which an episode goes on.
      start_noise: Largest deviation of the first pose, uniform, in metres and radians.
      normal_velocities: True if the first velocities are normal with the deviation `start_noise`, instead of uniform.
    """

    alive_bonus: float = 1.0
    control_cost: float = 1e-3
    heights: tuple[float, float] | None
    max_state: float = np.inf
    start_noise: float = 0.005
    normal_velocities: bool = False


def rules(task: str) -> Rules:
    """Return the rules of a body, such as `cheetah_7_full`."""
    if task.startswith("cheetah"):
        return Rules(alive_bonus=0.0, control_cost=0.1, heights=None, start_noise=0.1, normal_velocities=True)
    if task.startswith("hopper"):
        lowest = {"hopper_3": 0.45, "hopper_4": 0.6, "hopper_5": 0.95}[task]
        return Rules(heights=(lowest, np.inf), max_state=100.0)
    if task.startswith("humanoid"):
        return Rules(heights=(0.4, 2.1))
    stump = {"2": 0.26, "3": 0.26, "4": 0.136}.get(task.split("_")[1], 0.0)  # metres that the legs are too short
    return Rules(heights=(0.8 - stump, 2.0 - stump))


def spec(task: str) -> TaskSpec:
    """Return the TaskSpec of a body, such as `cheetah_7_full`."""
    body = bodies()[task]
    return TaskSpec(
        suite="modular_rl",
        task=task,
        observation={"limbs": Continuous(shape=(1 + len(body.limbs), LIMB_FEATURES))},
        action={"action": Continuous(shape=(len(body.limbs),), low=-1.0, high=1.0)},
        metric="return",
        control_rate_hz=round(1.0 / (body.timestep * FRAME_SKIP), 3),
        max_steps=MAX_STEPS,
        embodiment=Embodiment(robot=f"{task} (simulated)"),
    )


class ModularRL(Environment):
    """An environment of one body, which is named without the suite, such as `cheetah_7_full`.

    Attributes:
      mujoco_model: MuJoCo's model of the body on its floor.
      data: MuJoCo's state.
    """

    def __init__(self, task: str):
        import mujoco

        super().__init__(spec(task))
        body = bodies()[task]
        self.mujoco_model = build(body)
        self.data = mujoco.MjData(self.mujoco_model)  # pyright: ignore[reportAttributeAccessIssue]  it has no stubs
        self._rules = rules(task)
        self._kinds = _one_hot_kinds(body)
        self._seconds = body.timestep * FRAME_SKIP
        self._ray_caster: RayCaster | None = None
        self._origin = 0.0

    @property
    def measures(self) -> dict[str, float]:
        """The distance that the body has moved forwards since the start, in metres."""
        return {"distance": float(self.data.qpos[0] - self._origin)}

    def _start(self, seed: int) -> dict[str, np.ndarray]:
        import mujoco

        generator, noise = np.random.default_rng(seed), self._rules.start_noise
        mujoco.mj_resetData(self.mujoco_model, self.data)  # pyright: ignore[reportAttributeAccessIssue]
        self.data.qpos[:] += generator.uniform(-noise, noise, self.mujoco_model.nq)
        if self._rules.normal_velocities:
            self.data.qvel[:] = generator.normal(0.0, noise, self.mujoco_model.nv)
        else:
            self.data.qvel[:] = generator.uniform(-noise, noise, self.mujoco_model.nv)
        self._origin = float(self.data.qpos[0])
        return self._observe()

    def _advance(self, action: dict[str, np.ndarray]) -> Outcome:
        import mujoco

        before = self.data.qpos[0]
        self.data.ctrl[:] = action["action"]
        mujoco.mj_step(self.mujoco_model, self.data, FRAME_SKIP)  # pyright: ignore[reportAttributeAccessIssue]
        cost = self._rules.control_cost * float(np.sum(np.square(self.data.ctrl)))
        reward = float(self.data.qpos[0] - before) / self._seconds + self._rules.alive_bonus - cost
        return Outcome(observation=self._observe(), reward=reward, terminated=self._has_fallen())

    def _has_fallen(self) -> bool:
        if self._rules.heights is None:
            return False
        low, high = self._rules.heights
        height, lean = self.data.qpos[1:3]
        state = np.abs(np.concatenate([self.data.qpos[2:], self.data.qvel]))
        return not (low < height < high and abs(lean) < _MAX_LEAN and np.all(state < self._rules.max_state))

    def _observe(self) -> dict[str, np.ndarray]:
        self._update_positions()
        data = self.data
        positions = data.xpos[_TORSO:].copy()
        positions[:, 0] -= data.xpos[_TORSO, 0]
        spins, velocities = data.cvel[_TORSO:, :3], data.cvel[_TORSO:, 3:]
        # MuJoCo gives velocities at the centre of mass of the whole body.
        velocities = velocities + np.cross(spins, data.xpos[_TORSO:] - data.subtree_com[_TORSO])
        velocities = np.clip(velocities, -_MAX_VELOCITY, _MAX_VELOCITY)
        rows = [positions, velocities, spins, _exponential_maps(data.xquat[_TORSO:]), self._kinds, self._hinges()]
        return {"limbs": np.concatenate(rows, axis=1)}

    def _hinges(self) -> np.ndarray:
        """Return angle in its range and both ends of the range, (1 + limbs, 3), for each hinge; zeros for the torso."""
        ends = self.mujoco_model.jnt_range[3:]
        angles = (self.data.qpos[3:] - ends[:, 0]) / (ends[:, 1] - ends[:, 0])
        rows = np.column_stack([angles, (np.pi + ends) / (2 * np.pi)])
        return np.concatenate([np.zeros((1, 3)), rows])

    def _update_positions(self) -> None:
        """Bring positions, velocities and cameras up to date, as a step leaves those before its last integration."""
        import mujoco

        for update in ("mj_kinematics", "mj_comPos", "mj_camlight", "mj_comVel"):
            getattr(mujoco, update)(self.mujoco_model, self.data)

    def render(self) -> np.ndarray:
        if self._ray_caster is None:
            camera = self.mujoco_model.camera("track").id
            self._ray_caster = RayCaster(self.mujoco_model, camera, height=96, width=96, supersampling=2)
        return self._ray_caster.render(self.data)


def _one_hot_kinds(body: Body) -> np.ndarray:
    """Return the kind of the torso and of each limb, (1 + limbs, 4); zeros for a torso without a kind."""
    kinds = np.zeros((1 + len(body.limbs), _KINDS))
    for row, kind in enumerate([body.torso_kind, *(limb.kind for limb in body.limbs)]):
        if kind is not None:
            kinds[row, kind] = 1.0
    return kinds


def _exponential_maps(quaternions: np.ndarray) -> np.ndarray:
    """Return rotations as axis times angle in [0, pi], (bodies, 3), of unit quaternions (bodies, 4)."""
    signs = np.where(quaternions[:, :1] < 0, -1.0, 1.0)  # q and -q are the same rotation
    sines = np.linalg.norm(quaternions[:, 1:], axis=1, keepdims=True)
    angles = 2 * np.arctan2(sines, np.abs(quaternions[:, :1]))
    return signs * quaternions[:, 1:] / np.maximum(sines, 1e-12) * angles


SUITE = Suite(
    name="modular_rl",
    tasks=tuple(bodies()),
    packages={"gato_jax": "gato_jax", "mujoco": "mujoco"},
    licence="Apache-2.0; bodies from modular-rl (MIT)",
    spec=spec,
    load=ModularRL,
)
