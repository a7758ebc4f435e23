"""Meta-World from pixels: its 50 tasks, each observed as one 64x64 image.

The view is the one on which the field compares agents: the camera `corner2` moved to (0.75, 0.075, 0.7), which is
`corner4` in Meta-World 3.1, turned by 180 degrees, since Meta-World's corner cameras hang upside down. The gripper
reaches into the image from the right. Goals are visible as small spheres, as in all images of Meta-World.

Dynamics, rewards and seeds are those of `meta_world`; the observation is `image` alone, without the state.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from gato_jax.environments.rendering import describe_renderer, make_renderer
from gato_jax.environments.suite import Suite
from gato_jax.environments.suites import meta_world
from gato_jax.episodes import Image, TaskSpec

SIDE = 64
CAMERA = "corner4"
TASKS = meta_world.TASKS


def spec(task: str) -> TaskSpec:
    """Return the TaskSpec of a task, such as `reach-v3`; all tasks have the same one, except for the name."""
    image = Image(height=SIDE, width=SIDE)
    return dataclasses.replace(meta_world.spec(task), suite="meta_world_pixels", observation={"image": image})


class MetaWorldPixels(meta_world.MetaWorld):
    """An environment of one task, which is named without the suite, such as `reach-v3`."""

    fixed_views = False

    def __init__(self, task: str):
        super().__init__(task)
        self.task_spec, self.renderer = spec(task), describe_renderer()
        self._observer = make_renderer(self.simulator.model, CAMERA, height=SIDE, width=SIDE)

    def _observe(self, state: np.ndarray) -> dict[str, np.ndarray]:
        return {"image": self._observer.render(self.simulator.data)[::-1, ::-1]}  # the camera hangs upside down

    def close(self):
        self._observer.close()
        super().close()


SUITE = Suite(
    name="meta_world_pixels",
    tasks=TASKS,
    packages=meta_world.SUITE.packages,
    licence=meta_world.SUITE.licence,
    spec=spec,
    load=MetaWorldPixels,
    scores_of="meta_world",
    rendered=True,
)
