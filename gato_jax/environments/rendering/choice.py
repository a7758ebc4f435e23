"""The renderer of this process and of the processes that it starts: asked for, inherited, or found.

`set_renderer` chooses it; so does the environment variable GATO_RENDERER. Otherwise the first call of `chosen_renderer`
finds the first of `egl`, `osmesa` and `raycast` that works here, and logs it once. The choice is kept in GATO_RENDERER,
which worker processes inherit.

A process of its own finds out whether OpenGL works (`gl_probe`), so that a broken driver cannot crash this one. A
finding is kept for the process; GATO_WORKING_GL passes it on to worker processes.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import logging
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Iterator

RENDERERS = ("egl", "egl_fast", "osmesa", "osmesa_fast", "raycast")
DEBIAN_PACKAGES = {"egl": "libegl1 libgl1-mesa-dri", "osmesa": "libosmesa6"}  # of each platform of OpenGL
VARIABLE = "GATO_RENDERER"

_WORKING = "GATO_WORKING_GL"  # environment variable: {platform: implementation} of those that work, as JSON
_PROBE = pathlib.Path(__file__).with_name("gl_probe.py")
_PROBE_SECONDS = 120.0

_log = logging.getLogger(__name__)


class RendererError(ValueError):
    """A renderer that is unknown or does not work here; the message has the remedy."""


def set_renderer(name: str) -> None:
    """Choose the renderer of this process and of those that it starts from now on; existing environments keep theirs.

    Args:
      name: `egl` or `osmesa` draws by OpenGL what the simulator's own renderer draws; `egl_fast` and `osmesa_fast`
        leave out shadows, reflections and antialiasing; `raycast` needs no OpenGL.

    Raises:
      RendererError: There is no such renderer, or it does not work here.
    """
    _require(name, "the renderer")
    os.environ[VARIABLE] = name


def chosen_renderer() -> str:
    """Return the name of the renderer of this process, one of RENDERERS.

    Raises:
      RendererError: The environment variable GATO_RENDERER asks for one that does not exist or does not work here.
    """
    name = os.environ.get(VARIABLE)
    if name:
        _require(name, VARIABLE)
        return name
    # Whoever sets MUJOCO_GL wants this platform, and dm_control, once imported with it, excludes the other one.
    platforms = sorted(DEBIAN_PACKAGES, key=lambda platform: platform != os.environ.get("MUJOCO_GL"))
    name = next((platform for platform in platforms if _probe(platform)[0]), "raycast")
    os.environ[VARIABLE] = name
    _log.info("renderer of image observations: %s, the first that works here (--renderer)", describe_renderer())
    return name


def describe_renderer() -> str:
    """Return the name of the renderer and, after a comma, the implementation of OpenGL that it uses, if any.

    Raises:
      RendererError: See `chosen_renderer`.
    """
    name = chosen_renderer()
    platform = platform_of(name)
    return name if platform is None else f"{name}, {_probe(platform)[1]}"


def platform_of(name: str) -> str | None:
    """Return the platform of OpenGL that a renderer uses, `egl` or `osmesa`; None for ray casting."""
    return None if name == "raycast" else name.removesuffix("_fast")


def works(name: str) -> bool:
    """Return True if the renderer works on this machine."""
    platform = platform_of(name)
    return platform is None or _probe(platform)[0]


@contextlib.contextmanager
def import_without_gl() -> Iterator[None]:
    """Let dm_control be imported in this block without loading OpenGL, unless the variable MUJOCO_GL is set.

    Otherwise its import opens the first platform that it finds, in this process, which excludes the other one. Its own
    `physics.render` does not work afterwards; set MUJOCO_GL for that.
    """
    if "MUJOCO_GL" in os.environ:
        yield
        return
    os.environ["MUJOCO_GL"] = "off"
    try:
        yield
    finally:
        del os.environ["MUJOCO_GL"]


def _require(name: str, asked_by: str) -> None:
    if name not in RENDERERS:
        raise RendererError(f"{asked_by} is {name!r}, expected one of {', '.join(RENDERERS)}. Choose one of them.")
    platform = platform_of(name)
    if platform is None:
        return
    working, text = _probe(platform)
    if not working:
        raise RendererError(
            f"{asked_by} is {name}, expected one that works here: {text}. "
            f"Install it (apt-get install {DEBIAN_PACKAGES[platform]}), or choose raycast."
        )


def _probe(platform: str) -> tuple[bool, str]:
    """Return True and the implementation of OpenGL of a platform, or False and why it does not work."""
    known = json.loads(os.environ.get(_WORKING, "{}"))
    if platform not in known:
        working, text = _run_probe(platform)
        if not working:
            return False, text
        known[platform] = text
        os.environ[_WORKING] = json.dumps(known)
    return True, known[platform]


@functools.cache
def _run_probe(platform: str) -> tuple[bool, str]:
    if importlib.util.find_spec("mujoco") is None:
        return False, "mujoco is not installed"
    command = [sys.executable, "-P", str(_PROBE), platform]  # -P: modules beside the program are not importable
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        return False, f"OpenGL by {platform} has drawn nothing in {_PROBE_SECONDS:.0f} s"
    if done.returncode == 0:
        return True, done.stdout.strip()
    if done.returncode < 0:
        return False, f"OpenGL by {platform} crashes ({signal.Signals(-done.returncode).name})"
    reason = (done.stderr.strip() or "no message").split("\n")[-1]
    return False, f"OpenGL by {platform} fails ({reason})"
