"""DM Control from pixels: the 28 benchmarking tasks of the suite, each observed as one 64x64 image of its camera 0.

Dynamics, rewards and seeds are those of `dm_control`; the observation is `image` alone, without its state. The renderer
is that of the process (`rendering`): EGL and OSMesa draw the same images as the suite's own `physics.render`.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from gato_jax.environments.rendering import describe_renderer, make_renderer
from gato_jax.environments.suite import Suite
from gato_jax.environments.suites import dm_control
from gato_jax.episodes import Image, TaskSpec

SIDE = 64
CAMERA = 0

TASKS = tuple(
    """
acrobot/swingup acrobot/swingup_sparse ball_in_cup/catch cartpole/balance cartpole/balance_sparse cartpole/swingup
cartpole/swingup_sparse cheetah/run finger/spin finger/turn_easy finger/turn_hard fish/upright fish/swim hopper/stand
hopper/hop humanoid/stand humanoid/walk humanoid/run manipulator/bring_ball pendulum/swingup point_mass/easy
reacher/easy reacher/hard swimmer/swimmer6 swimmer/swimmer15 walker/stand walker/walk walker/run
""".split()
)


def spec(task: str) -> TaskSpec:
    """Return the TaskSpec of a task `domain/task`, such as `cartpole/swingup`, which loads the task."""
    image = Image(height=SIDE, width=SIDE)
    return dataclasses.replace(dm_control.spec(task), suite="dm_control_pixels", observation={"image": image})


class DMControlPixels(dm_control.DMControl):
    """An environment of one task, which is named `domain/task`, such as `cartpole/swingup`."""

    def __init__(self, task: str):
        super().__init__(task)
        self.task_spec, self.renderer = spec(task), describe_renderer()
        model = self.suite_environment.physics.model.ptr
        self._observer = make_renderer(model, CAMERA, height=SIDE, width=SIDE)

    def _observe(self, observation) -> dict[str, np.ndarray]:
        return {"image": self._observer.render(self.suite_environment.physics.data.ptr)}

    def close(self):
        self._observer.close()
        super().close()


SUITE = Suite(
    name="dm_control_pixels",
    tasks=TASKS,
    packages=dm_control.SUITE.packages,
    licence=dm_control.SUITE.licence,
    spec=spec,
    load=DMControlPixels,
    specs_in_table=True,
    scores_of="dm_control",
    rendered=True,
)
