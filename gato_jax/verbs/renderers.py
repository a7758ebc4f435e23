"""The flag of the verbs that play tasks, for the renderer of image observations."""

from __future__ import annotations

from absl import flags
from etils import epy

with epy.lazy_imports():
    from gato_jax.environments import rendering

_NAMES = ["egl", "egl_fast", "osmesa", "osmesa_fast", "raycast"]  # rendering.RENDERERS, whose import takes long

# Flags that this module defines for a verb are then listed in the help of the verb with its own flags.
flags.disclaim_key_flags()


def define_renderer(flag: flags.FlagValues):
    """Define --renderer."""
    flags.DEFINE_enum(
        "renderer", None, _NAMES,
        "Renderer of the images that MuJoCo tasks observe: OpenGL by EGL or OSMesa, also without shadows, reflections "
        "and antialiasing, several times faster (_fast), or ray casting without OpenGL. Default: the first of egl, "
        "osmesa and raycast that works here.", flag_values=flag,
    )  # fmt: skip


def choose_renderer(flag: flags.FlagValues):
    """Choose the renderer of the flag for this process and its workers; without the flag, leave the choice open.

    Raises:
      RendererError: The renderer does not work here.
    """
    if flag.renderer is not None:
        rendering.set_renderer(flag.renderer)
