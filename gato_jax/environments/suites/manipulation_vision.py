"""DM Control's manipulation tasks from pixels: the 12 tasks with `vision` of dm_control.manipulation.

They are tasks of `manipulation` whose bricks and targets are seen, not told: the observation is the image of the
package's camera `front_close`, 84x84, and the state of arm and hand. The image is drawn by the renderer of the process.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from gato_jax.environments.rendering import describe_renderer, make_renderer
from gato_jax.environments.rendering.renderer import Renderer
from gato_jax.environments.suite import Suite
from gato_jax.environments.suites import manipulation
from gato_jax.episodes import Image, TaskSpec

SIDE = 84
CAMERA = "front_close"
_BLACK = np.zeros((SIDE, SIDE, 3), np.uint8)
_WITHOUT_VISION = "stack_3_bricks_random_order_features"
TASKS = tuple(task.replace("_features", "_vision") for task in manipulation.TASKS if task != _WITHOUT_VISION)


def spec(task: str) -> TaskSpec:
    """Return the TaskSpec of a task, such as `reach_site_vision`, by loading it."""
    return _with_vision(manipulation.spec(task))


def _with_vision(state: TaskSpec) -> TaskSpec:
    observation = {CAMERA: Image(height=SIDE, width=SIDE), **state.observation}
    return dataclasses.replace(state, suite="manipulation_vision", observation=observation)


class ManipulationVision(manipulation.Manipulation):
    """An environment of one task."""

    def __init__(self, task: str):
        super().__init__(task)
        self.task_spec, self.renderer = _with_vision(self.task_spec), describe_renderer()
        self._observer: Renderer | None = None

    def _start(self, seed: int) -> dict[str, np.ndarray]:
        self._close_observer()  # the model is compiled anew
        return super()._start(seed)

    def _observe(self, observation) -> dict[str, np.ndarray]:
        return {CAMERA: self._image() if self.observed else _BLACK, **super()._observe(observation)}

    def _image(self) -> np.ndarray:
        physics = self.composer_environment.physics
        if self._observer is None:
            self._observer = make_renderer(physics.model.ptr, CAMERA, height=SIDE, width=SIDE)
        return self._observer.render(physics.data.ptr)

    def close(self) -> None:
        self._close_observer()
        super().close()

    def _close_observer(self):
        if self._observer is not None:
            self._observer.close()
        self._observer = None


SUITE = Suite(
    name="manipulation_vision",
    tasks=TASKS,
    packages=manipulation.SUITE.packages,
    licence=manipulation.SUITE.licence,
    spec=spec,
    load=ManipulationVision,
    specs_in_table=True,
    rendered=True,
)
