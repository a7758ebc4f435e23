"""Images of a MuJoCo scene by OpenGL without a display, the same as those of the simulator's own renderer.

All renderers of a process draw in one context of OpenGL, since most of the time before a first image is the compilation
of its shaders, which they share. It stays open until the process ends, and cannot be used in a fork of the process.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import weakref
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from gato_jax.environments.rendering.choice import RendererError

_MAX_GEOMS = 10_000  # of a scene, as in mujoco.Renderer


class _Context(NamedTuple):
    """The context of OpenGL of a process.

    Attributes:
      platform: `egl` or `osmesa`.
      process: Id of the process.
      handle: MuJoCo's object of the context.
    """

    platform: str
    process: int
    handle: Any


class OpenGLRenderer:
    """A renderer of one scene from one of the model's cameras, for one thread.

    Args:
      model: MuJoCo model of the scene. Textures, meshes and height fields are read now, the rest for each image.
      camera: Index of the camera in the model.
      height: Height of the image in pixels.
      width: Width of the image in pixels.
      platform: `egl` or `osmesa`. A process can use only one of them.
      fast: True to leave out shadows, reflections and antialiasing.

    Raises:
      RendererError: The process uses the other platform already, or was forked from one that uses OpenGL.
    """

    def __init__(self, model, camera: int, *, height: int, width: int, platform: str, fast: bool = False):
        import mujoco

        mj: Any = mujoco  # it has no stubs
        self._mj, self._model, self._context = mj, model, _require_context(platform)
        self._context.handle.make_current()
        with _quality(model, height, width, fast):
            self._mujoco_context = mj.MjrContext(model, mj.mjtFontScale.mjFONTSCALE_50.value)
        _renderers.add(self)
        self._scene = mj.MjvScene(model, _MAX_GEOMS)
        for flag in (mj.mjtRndFlag.mjRND_SHADOW, mj.mjtRndFlag.mjRND_REFLECTION) if fast else ():
            self._scene.flags[flag] = 0
        self._options = mj.MjvOption()
        self._options.flags[mj.mjtVisFlag.mjVIS_RANGEFINDER] = 0  # as in dm_control
        self._camera = mj.MjvCamera()
        self._camera.type, self._camera.fixedcamid = mj.mjtCamera.mjCAMERA_FIXED, camera
        self._rectangle = mj.MjrRect(0, 0, width, height)
        self._image = np.empty((height, width, 3), np.uint8)

    def render(self, data) -> np.ndarray:
        """Return an image of the scene, (height, width, 3) uint8.

        Args:
          data: MuJoCo data with the state of the scene; derived positions must be up to date, as after `mj_forward`.
        """
        mj, context = self._mj, self._mujoco_context
        _require_own_process(self._context)
        self._context.handle.make_current()
        mj.mjr_setBuffer(mj.mjtFramebuffer.mjFB_OFFSCREEN.value, context)
        every = mj.mjtCatBit.mjCAT_ALL.value
        mj.mjv_updateScene(self._model, data, self._options, None, self._camera, every, self._scene)
        mj.mjr_render(self._rectangle, self._scene, context)
        mj.mjr_readPixels(self._image, None, self._rectangle, context)
        return self._image[::-1].copy()  # OpenGL's first row is the lowest

    def close(self) -> None:
        """Free what the renderer holds of OpenGL; it cannot render any more."""
        if self in _renderers and self._context.process == os.getpid():
            _renderers.discard(self)
            self._context.handle.make_current()
            self._mujoco_context.free()

    def __del__(self):
        self.close()


_renderers: weakref.WeakSet[OpenGLRenderer] = weakref.WeakSet()  # those that are not closed
_opened: list[_Context] = []  # none or one


def _require_context(platform: str) -> _Context:
    """Return the context of this process, opened if there is none."""
    if not _opened:
        chosen = os.environ.get("PYOPENGL_PLATFORM", platform)
        if chosen != platform:
            raise RendererError(
                f"cannot render by {platform}: PYOPENGL_PLATFORM is {chosen!r}, expected {platform!r} or nothing. "
                "Unset it, and let no other module of the process use OpenGL before."
            )
        handle = importlib.import_module(f"mujoco.{platform}").GLContext(1, 1)  # images go to buffers of their own
        _opened.append(_Context(platform, os.getpid(), handle))
        atexit.register(_close_all)  # runs before the end of EGL, which was registered first
    _require_own_process(_opened[0])
    if _opened[0].platform != platform:
        raise RendererError(
            f"cannot render by {platform}: this process renders by {_opened[0].platform} already. Use one per process."
        )
    return _opened[0]


def _require_own_process(context: _Context) -> None:
    if context.process != os.getpid():
        raise RendererError(
            f"cannot render by {context.platform}: this process was forked from one that uses OpenGL, which breaks it. "
            "Start it by multiprocessing's method spawn."
        )


def _close_all() -> None:
    for renderer in list(_renderers):
        renderer.close()
    if _opened[0].process == os.getpid():
        _opened[0].handle.free()


@contextlib.contextmanager
def _quality(model, height: int, width: int, fast: bool) -> Iterator[None]:
    """Set the sizes of the buffers that a new context of MuJoCo gets, in the model, during the block."""
    limits, quality = model.vis.global_, model.vis.quality
    before = limits.offwidth, limits.offheight, quality.shadowsize, quality.offsamples
    limits.offwidth, limits.offheight = width, height
    if fast:
        quality.shadowsize = quality.offsamples = 0
    try:
        yield
    finally:
        limits.offwidth, limits.offheight, quality.shadowsize, quality.offsamples = before
