"""RGB stacking in simulation: a robot arm puts the red of three odd-shaped objects on the blue one.

The task is that of Lee et al. 2021 (arXiv 2110.06192) as in section 4.3 of the Gato paper: 400 steps at 20 Hz, of which
only the last is rewarded, with 1 if the red object then lies on the blue one and nothing else touches it
(worlds.stacking.criteria). The green object is in the way. Objects, scene and criteria are those of DeepMind's
release, github.com/google-deepmind/rgb_stacking, which has no domain randomisation; `randomise` adds it.

Observations are two images of 128x128 from the front of the basket and, in the units of the release, 22 numbers: the
angles of the arm's joints (7, radians), the gripper's encoder (1, 0 open to 255 closed) and the poses of the point
between the fingertips and of the wrist (7 each: metres, quaternion w, x, y, z). With 128 patches, 5 actions and a
separator these are 156 tokens per step, as in Table 1's row of the real robot. No object's pose is observed. The action
is the gripper's velocity (3, metres per second), its rotation about the vertical (1, radians per second), and whether
it closes (1) or opens (0).

`skill_generalisation` draws three of the 103 training objects for each episode; it stands for the paper's task RGB
Stacking simulator, whose data are of training objects only. `skill_mastery` draws one of the five test triplets; agents
of that protocol are trained on it. `test_triplet1` to `test_triplet5` have fixed objects: the paper scores both
protocols on them, Skill Generalisation (no agent has seen them) and Skill Mastery (trained on them); they stand for its
test triplets on the real robot and for none of its 604 tasks. `held_out` draws three of the 36 objects that Lee et al.
held out for validation.
"""

# mujoco has no stubs:
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gato_jax.environments.base import Environment, Outcome
from gato_jax.environments.rendering import Renderer, describe_renderer
from gato_jax.environments.suite import Suite
from gato_jax.environments.worlds.stacking import objects, scene
from gato_jax.environments.worlds.stacking.arm import CONTROL_INTERVAL, MAX_ROTATION, MAX_SPEED, Arm
from gato_jax.environments.worlds.stacking.criteria import Criteria
from gato_jax.environments.worlds.stacking.images import StillBackgroundRayCaster, make_observer
from gato_jax.environments.worlds.stacking.start import start_episode
from gato_jax.episodes import Camera, Continuous, Discrete, Embodiment, Gripper, Image, TaskSpec

SIDE = 128
PORTRAIT_SIDE = 192
MAX_STEPS = 400
_SUBSTEPS = round(CONTROL_INTERVAL / scene.TIME_STEP)

OBJECT_SETS = {"skill_generalisation": "train", "held_out": "heldout"}
"""Name of the set that a task draws its objects from; `skill_mastery` draws a triplet, others have fixed objects."""

MASTERY = "skill_mastery"


def spec(task: str) -> TaskSpec:
    """Return the TaskSpec of a task, such as `test_triplet1`; all tasks have the same one, except for the name."""
    velocity = (MAX_SPEED,) * 3 + (MAX_ROTATION,)
    focal, centre = SIDE / (2 * np.tan(np.deg2rad(scene.CAMERA_FIELD_OF_VIEW) / 2)), (SIDE - 1) / 2
    intrinsics = (float(focal),) * 2 + (centre,) * 2
    return TaskSpec(
        suite="rgb_stacking",
        task=task,
        observation={
            **{key: Image(height=SIDE, width=SIDE) for key in scene.CAMERAS},
            "gripper": Continuous(shape=(1,), low=0.0, high=255.0),
            "joints": Continuous(shape=(7,)),
            "pinch_pose": Continuous(shape=(7,)),
            "wrist_pose": Continuous(shape=(7,)),
        },
        action={
            "close": Discrete(n=2),
            "velocity": Continuous(shape=(4,), low=tuple(-limit for limit in velocity), high=velocity),
        },
        metric="success",
        control_rate_hz=1 / CONTROL_INTERVAL,
        max_steps=MAX_STEPS,
        embodiment=Embodiment(
            robot="Sawyer with Robotiq 2F-85 (simulated)",
            gripper=Gripper(kind="binary", action="close"),
            cameras=tuple(Camera(key=key, intrinsics=intrinsics) for key in scene.CAMERAS),
        ),
    )


class RGBStacking(Environment):
    """An environment of one task, which is named without the suite, such as `test_triplet1`.

    The attributes and the methods about objects are for experts, as agents do not observe them.

    Attributes:
      mujoco_model: MuJoCo's MjModel of the scene; the bodies `red`, `green` and `blue` are the objects.
      data: Its MjData.
      arm: The arm and its gripper.
      criteria: Conditions of the task: success, grasp, shaped reward.
      triplet: Names of the red, the green and the blue object of this episode.
    """

    def __init__(self, task: str):
        import mujoco

        super().__init__(spec(task))
        self._task, self.renderer = task, describe_renderer()
        self.mujoco_model = scene.build()
        self.data = mujoco.MjData(self.mujoco_model)
        self.arm = Arm(self.mujoco_model, self.data)
        self.criteria = Criteria(self.mujoco_model, self.data, self.arm)
        self.triplet = objects.TEST_TRIPLETS["test_triplet1"]
        self._observers = {
            key: make_observer(self.mujoco_model, camera, height=SIDE, width=SIDE)
            for key, camera in scene.CAMERAS.items()
        }
        self._portrait: StillBackgroundRayCaster | None = None

    def object_pose(self, colour: str) -> np.ndarray:
        """Return the position (metres) and the quaternion w, x, y, z of an object, (7,)."""
        body = self.data.body(colour)
        return np.concatenate([body.xpos, body.xquat])

    def object_vertices(self, colour: str) -> np.ndarray:
        """Return the vertices of an object in the frame of its body, (vertices, 3) metres; all objects are convex."""
        return objects.shape(self.triplet[objects.COLOURS.index(colour)]).vertices

    @property
    def variation(self) -> Mapping[str, str]:
        return dict(zip(objects.COLOURS, self.triplet, strict=True))

    def _start(self, seed: int) -> dict[str, np.ndarray]:
        random = np.random.default_rng(seed)
        self.triplet = self._draw(random)
        scene.put_triplet(self.mujoco_model, self.data, self.triplet)
        start_episode(self.mujoco_model, self.data, self.arm, random)
        return self._observe()

    def _draw(self, random: np.random.Generator) -> tuple[str, str, str]:
        if self._task in objects.TEST_TRIPLETS:
            return objects.TEST_TRIPLETS[self._task]
        if self._task == MASTERY:
            return objects.TEST_TRIPLETS[str(random.choice(sorted(objects.TEST_TRIPLETS)))]
        red, green, blue = random.choice(objects.object_set(OBJECT_SETS[self._task]), 3, replace=False).tolist()
        return red, green, blue

    def _advance(self, action: dict[str, np.ndarray]) -> Outcome:
        import mujoco

        self.arm.command(action["velocity"].astype(np.float64), close=bool(action["close"]))
        mujoco.mj_step(self.mujoco_model, self.data, nstep=_SUBSTEPS)
        mujoco.mj_forward(self.mujoco_model, self.data)  # a step ends with positions that are not propagated
        success = self.criteria.stacked()
        last = self._steps + 1 == self.max_steps
        return Outcome(observation=self._observe(), reward=float(success and last), success=success)

    def _observe(self) -> dict[str, np.ndarray]:
        return {
            **{key: self._image(observer) for key, observer in self._observers.items()},
            "gripper": np.array([self.arm.gripper]),
            "joints": self.arm.angles,
            "pinch_pose": self.arm.pinch_pose,
            "wrist_pose": self.arm.wrist_pose,
        }

    def _image(self, observer: Renderer) -> np.ndarray:
        return observer.render(self.data) if self.observed else np.zeros((SIDE, SIDE, 3), np.uint8)

    def render(self) -> np.ndarray:
        if self._portrait is None:
            camera = self.mujoco_model.camera(scene.PORTRAIT).id
            self._portrait = StillBackgroundRayCaster(
                self.mujoco_model, camera, height=PORTRAIT_SIDE, width=PORTRAIT_SIDE
            )
        return self._portrait.render(self.data)

    def close(self):
        for observer in self._observers.values():
            observer.close()
        super().close()


SUITE = Suite(
    name="rgb_stacking",
    tasks=(*OBJECT_SETS, MASTERY, *objects.TEST_TRIPLETS),
    packages={
        "dm_robotics.moma": "dm-robotics-moma",
        "dm_robotics.manipulation": "dm-robotics-manipulation",
        "mujoco": "mujoco",
    },
    # The packages are Apache-2.0; the meshes of the arm (Rethink Robotics), and those of gripper and force sensor
    # (ROS-Industrial) which dm-robotics-moma contains, are BSD-3-Clause. The objects' meshes are Apache-2.0.
    licence="Apache-2.0 AND BSD-3-Clause",
    spec=spec,
    load=RGBStacking,
    rendered=True,
)
