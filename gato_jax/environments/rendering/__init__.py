"""Renderers of MuJoCo scenes: ray casting, which needs no OpenGL, and OpenGL without a display."""

from gato_jax.environments.rendering.choice import (
    RENDERERS,
    RendererError,
    chosen_renderer,
    describe_renderer,
    import_without_gl,
    set_renderer,
)
from gato_jax.environments.rendering.renderer import Renderer, make_renderer

__all__ = [
    "RENDERERS",
    "Renderer",
    "RendererError",
    "chosen_renderer",
    "describe_renderer",
    "import_without_gl",
    "make_renderer",
    "set_renderer",
]
