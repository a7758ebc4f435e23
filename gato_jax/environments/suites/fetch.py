"""Fetch pick and place: a simulated robot seen by two fixed cameras, with the state and action of bridge_dataset.

Physics, block and target are those of gymnasium-robotics' FetchPickAndPlace, at 25 Hz. The observation is that of a
robot recording: two ray-cast 64x64 images, in which the target is a green ball; an instruction; and the state of 7
numbers: gripper position (3, metres, in the simulation's frame), roll, pitch and yaw (3, radians, relative to pointing
straight down) and opening (0 closed to 1 open). The action is a displacement (3, metres), a rotation (3, radians) and
the gripper (0 closes, 1 opens). Fetch's controller keeps the gripper pointing down: it ignores the rotation.

An episode ends when the block is within 5 cm of the target, with reward 1, or after 50 steps. Starts are redrawn until
block and target are 10 cm apart and the target is at most 25 cm above the table, where both cameras see it.
"""

from __future__ import annotations

import contextlib
import io

import numpy as np

from gato_jax.environments.base import Environment, Outcome
from gato_jax.environments.rendering.raycast import Pose, RayCaster, Sphere, look_at
from gato_jax.environments.suite import Suite
from gato_jax.episodes import Camera, Continuous, Embodiment, Gripper, Image, TaskSpec, Text

SIDE = 64
MAX_STEPS = 50
CONTROL_RATE_HZ = 25.0
MAX_DISPLACEMENT = 0.05  # metres per step, the controller's own limit
FULL_OPENING = 0.1  # metres between the fingers
MIN_START_DISTANCE, MAX_GOAL_HEIGHT = 0.1, 0.67  # metres; the table top is at 0.42 minus half a block
_POINTING_DOWN = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])  # the controller's orientation

INSTRUCTIONS = (
    "pick up the red block and move it to the green target",
    "move the red block to the green ball",
    "grasp the red cube and bring it to the green marker",
    "put the red block where the green ball is",
)
VIEWS = {
    "image_0": look_at(eye=(1.90, 0.30, 0.95), target=(1.34, 0.75, 0.53), field_of_view=42.0),
    "image_1": look_at(eye=(1.90, 1.20, 0.95), target=(1.34, 0.75, 0.53), field_of_view=42.0),
}
_RED, _WOOD, _TARGET = (0.85, 0.10, 0.08), (0.80, 0.66, 0.48), (0.10, 0.70, 0.20, 0.9)


def _camera(key: str, pose: Pose) -> Camera:
    """Return the camera of an observation key, at a pose.

    Its intrinsics are for images of 64x64 pixels. Its extrinsics map to the simulation's frame, in the convention of
    robot recordings: x right, y down, z forward.
    """
    focal, centre = SIDE / (2 * np.tan(np.deg2rad(pose.field_of_view) / 2)), (SIDE - 1) / 2
    extrinsics = np.eye(4)
    extrinsics[:3, :3] = pose.rotation * [1.0, -1.0, -1.0]
    extrinsics[:3, 3] = pose.position
    return Camera(key=key, intrinsics=(focal, focal, centre, centre), extrinsics=tuple(extrinsics.ravel().tolist()))


def spec(task: str) -> TaskSpec:
    """Return the TaskSpec with the name `task`, which includes the poses of the cameras."""
    limits = (MAX_DISPLACEMENT,) * 3 + (0.25,) * 3
    return TaskSpec(
        suite="fetch",
        task=task,
        observation={
            "image_0": Image(height=SIDE, width=SIDE),
            "image_1": Image(height=SIDE, width=SIDE),
            "instruction": Text(),
            "state": Continuous(shape=(7,)),
        },
        action={"action": Continuous(shape=(7,), low=(*(-limit for limit in limits), 0.0), high=(*limits, 1.0))},
        metric="success",
        control_rate_hz=CONTROL_RATE_HZ,
        max_steps=MAX_STEPS,
        instructions=INSTRUCTIONS,
        embodiment=Embodiment(
            robot="Fetch (simulated)",
            gripper=Gripper(kind="continuous", action="action", elements=(6,)),
            cameras=tuple(_camera(key, pose) for key, pose in VIEWS.items()),
        ),
    )


class FetchPickAndPlace(Environment):
    """An environment of Fetch pick and place.

    The properties hold positions in the simulation's frame. They are for experts, as agents do not observe them.

    Attributes:
      simulator: gymnasium-robotics' own environment.
    """

    fixed_views = True

    def __init__(self, task: str):
        with contextlib.redirect_stderr(io.StringIO()):  # the import prints a note about other tasks
            from gymnasium_robotics.envs.fetch.pick_and_place import MujocoFetchPickAndPlaceEnv

        super().__init__(spec(task))
        self.simulator = MujocoFetchPickAndPlaceEnv()
        model = self.simulator.model
        model.geom_rgba[model.geom_bodyid == model.body("robot0:mocap").id, 3] = 0.0  # the controller's handle
        for part in (
            "base_link",
            "laser_link",
            "estop_link",
        ):  # hidden by the table; they take 3/4 of the time of a frame
            model.geom(f"robot0:{part}").matid, model.geom(f"robot0:{part}").rgba[3] = -1, 0.0
        model.mat_rgba[model.geom("object0").matid[0], :3] = _RED
        table = int(model.body("table0").geomadr[0])
        model.mat_rgba[model.geom_matid[table], :3] = _WOOD
        self._ray_casters = {key: RayCaster(model, pose, height=SIDE, width=SIDE) for key, pose in VIEWS.items()}
        self._portrait: RayCaster | None = None
        self._instruction = ""

    @property
    def gripper(self) -> np.ndarray:
        """Position of the point between the fingers, (3,) metres."""
        return self.simulator.data.site("robot0:grip").xpos.copy()

    @property
    def opening(self) -> float:
        """Distance between the fingers, in metres: 0 closed to 0.1 open."""
        return float(sum(self.simulator.data.joint(f"robot0:{side}_gripper_finger_joint").qpos[0] for side in "lr"))

    @property
    def block(self) -> np.ndarray:
        """Position of the block's centre, (3,) metres."""
        return self.simulator.data.site("object0").xpos.copy()

    @property
    def goal(self) -> np.ndarray:
        """Position of the target, (3,) metres."""
        return self.simulator.goal.copy()

    def _start(self, seed: int) -> dict:
        self.simulator.reset(seed=seed)
        while np.linalg.norm(self.block - self.goal) < MIN_START_DISTANCE or self.goal[2] > MAX_GOAL_HEIGHT:
            self.simulator.reset()  # draws again from the same generator
        self._instruction = INSTRUCTIONS[int(self.simulator.np_random.integers(len(INSTRUCTIONS)))]
        return self._observe()

    def _advance(self, action: dict[str, np.ndarray]) -> Outcome:
        displacement, gripper = action["action"][:3], action["action"][6]
        self.simulator.step(np.append(displacement / MAX_DISPLACEMENT, 2 * gripper - 1).astype(np.float64))
        success = bool(np.linalg.norm(self.block - self.goal) < self.simulator.distance_threshold)
        return Outcome(
            observation=self._observe(),
            reward=float(success),
            terminated=success,
            success=success,
        )

    def _observe(self) -> dict:
        from gymnasium_robotics.utils.rotations import mat2euler

        data = self.simulator.data
        angles = mat2euler(data.site("robot0:grip").xmat.reshape(3, 3) @ _POINTING_DOWN.T)
        images = {key: caster.render(data, self._markers()) for key, caster in self._ray_casters.items()}
        state = np.concatenate([self.gripper, angles, [np.clip(self.opening / FULL_OPENING, 0.0, 1.0)]])
        return {**images, "instruction": self._instruction, "state": state}

    def _markers(self) -> list[Sphere]:
        return [Sphere(centre=self.goal, radius=0.025, colour=_TARGET)]

    @property
    def mujoco_model(self):
        return self.simulator.model

    def render(self) -> np.ndarray:
        if self._portrait is None:
            self._portrait = RayCaster(self.simulator.model, VIEWS["image_0"], height=96, width=96, supersampling=2)
        return self._portrait.render(self.simulator.data, self._markers())


SUITE = Suite(
    name="fetch",
    tasks=("pick_and_place",),
    packages={"gymnasium_robotics": "gymnasium-robotics"},
    licence="MIT",
    spec=spec,
    load=FetchPickAndPlace,
)
