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


def spec(task: str) -> TaskSpec:
    """Return the TaskSpec of a task `domain/task`, such as `cartpole/swingup`, which loads the task."""
    return _from_pixels(dm_control.spec(task))


def _from_pixels(spec: TaskSpec) -> TaskSpec:
    image = Image(height=SIDE, width=SIDE)
    return dataclasses.replace(spec, suite="dm_control_pixels", observation={"image": image})


class DMControlPixels(dm_control.DMControl):
    """An environment of one task, which is named `domain/task`, such as `cartpole/swingup`."""

    def __init__(self, task: str):
        super().__init__(task)
        self.task_spec, self.renderer = _from_pixels(self.task_spec), describe_renderer()
        model = self.suite_environment.physics.model.ptr
        self._observer = make_renderer(model, CAMERA, height=SIDE, width=SIDE)

    def _observe(self, observation) -> dict[str, np.ndarray]:
        return {"image": self._observer.render(self.suite_environment.physics.data.ptr)}

    def close(self):
        self._observer.close()
        super().close()


SUITE = Suite(
    name="dm_control_pixels",
    tasks=dm_control.BENCHMARKING,
    packages=dm_control.SUITE.packages,
    licence=dm_control.SUITE.licence,
    spec=spec,
    load=DMControlPixels,
    specs_in_table=True,
    scores_of="dm_control",
    rendered=True,
)
