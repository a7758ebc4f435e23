"""The interface of renderers, and the function that makes one of the kind that the process has chosen."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np

from gato_jax.environments.rendering.choice import RendererError, chosen_renderer, platform_of
from gato_jax.environments.rendering.opengl import OpenGLRenderer
from gato_jax.environments.rendering.raycast import RayCaster


@runtime_checkable  # tests check the types of results
class Renderer(Protocol):
    """A renderer of one MuJoCo model from one camera at one size."""

    def render(self, data) -> np.ndarray:
        """Return an image of the state in MuJoCo's data, (height, width, 3) uint8, whose positions are up to date."""
        ...

    def close(self) -> None:
        """Free what the renderer holds; it cannot render any more."""
        ...


def make_renderer(model, camera: int | str, *, height: int, width: int) -> Renderer:
    """Return a renderer of the kind that this process has chosen, see `choice`.

    Args:
      model: MuJoCo model of the scene.
      camera: Index or name of one of the model's cameras.
      height: Height of the image in pixels.
      width: Width of the image in pixels.

    Raises:
      RendererError: The model has no such camera, or the chosen renderer does not work here.
    """
    name, index = chosen_renderer(), _camera_index(model, camera)
    platform = platform_of(name)
    if platform is None:
        return RayCaster(model, index, height=height, width=width, sites=True)
    fast = name.endswith("_fast")
    return OpenGLRenderer(model, index, height=height, width=width, platform=platform, fast=fast)


def _camera_index(model, camera: int | str) -> int:
    import mujoco

    mj: Any = mujoco  # it has no stubs
    index = mj.mj_name2id(model, mj.mjtObj.mjOBJ_CAMERA.value, camera) if isinstance(camera, str) else camera
    if not 0 <= index < model.ncam:
        names = [model.camera(number).name or str(number) for number in range(model.ncam)]
        raise RendererError(f"cannot render: camera is {camera!r}, expected one of {', '.join(names)}. Name one.")
    return index
