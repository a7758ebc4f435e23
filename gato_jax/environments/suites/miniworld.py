"""MiniWorld: 21 levels of three-dimensional rooms and mazes, seen by the agent's own eyes, drawn by OpenGL.

They stand in for levels of DM Lab, see `paper.dm_lab_substitutes`. The observation is the 60x80 image of MiniWorld. The
actions are turn left, turn right and forward, and in some levels back, pick up, drop, toggle and done. In most levels
the return is 1 - 0.2 * steps / limit for reaching a red box, and 0 otherwise. `Sign-v0` draws from the seed the colour
on the sign and whether a box or a key is to be touched, which it also observes as `goal`. `RoomObjects` and
`ThreeRooms` are left out, as they have no reward.

Images are drawn without a window, by EGL. They depend on the implementation of OpenGL.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import io
from typing import Any

import numpy as np

from gato_jax.environments.base import Environment, MissingPackageError, Outcome
from gato_jax.environments.rendering.process_owner import ProcessOwner
from gato_jax.environments.suite import Suite
from gato_jax.episodes import Discrete, Image, TaskSpec

HEIGHT, WIDTH = 60, 80
_FRAME_HEIGHT, _FRAME_WIDTH = 180, 240
_BLACK = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
_LIBRARIES = {"libEGL.so.1": "libegl1 libgl1-mesa-dri", "libGLU.so.1": "libglu1-mesa"}  # {library: Debian packages}
_SIGN_STREAM = 0x7369676E  # separates the sign's random numbers from the level's, which have the same seed

LEVELS = {  # {level: (number of actions, steps after which an episode is cut off)}, MiniWorld's own
    "CollectHealth-v0": (8, 1000),
    "FourRooms-v0": (3, 250),
    "Hallway-v0": (3, 250),
    "Maze-v0": (3, 1536),
    "MazeS2-v0": (3, 96),
    "MazeS3-v0": (3, 216),
    "MazeS3Fast-v0": (3, 300),
    "OneRoom-v0": (3, 180),
    "OneRoomS6-v0": (3, 100),
    "OneRoomS6Fast-v0": (3, 50),
    "PickupObjects-v0": (5, 400),
    "PutNext-v0": (8, 250),
    "Sidewalk-v0": (3, 150),
    "Sign-v0": (4, 20),
    "TMaze-v0": (3, 280),
    "TMazeLeft-v0": (3, 280),
    "TMazeRight-v0": (3, 280),
    "WallGap-v0": (3, 300),
    "YMaze-v0": (3, 280),
    "YMazeLeft-v0": (3, 280),
    "YMazeRight-v0": (3, 280),
}


def spec(task: str) -> TaskSpec:
    """Return the TaskSpec of a level, such as `FourRooms-v0`."""
    actions, max_steps = LEVELS[task]
    goal = {"goal": Discrete(n=2)} if task == "Sign-v0" else {}
    return TaskSpec(
        suite="miniworld",
        task=task,
        observation={"image": Image(height=HEIGHT, width=WIDTH), **goal},
        action={"action": Discrete(n=actions)},
        max_steps=max_steps,
    )


class MiniWorld(Environment):
    """An environment of one level, which is named without the suite, such as `FourRooms-v0`.

    Attributes:
      level: MiniWorld's own environment.
    """

    _drawn: MiniWorld | None = None  # the environment whose scene is in the display list, which all of them share

    def __init__(self, task: str):
        super().__init__(spec(task))
        envs = _import_levels()
        self._owner = ProcessOwner(self.task_spec.name)
        with contextlib.redirect_stdout(io.StringIO()):  # it prints how many samples the driver has
            self.level: Any = _with_black_images(getattr(envs, task.removesuffix("-v0")))(
                obs_height=HEIGHT,
                obs_width=WIDTH,
                window_height=_FRAME_HEIGHT,
                window_width=_FRAME_WIDTH,
                render_mode="rgb_array",
            )
        MiniWorld._drawn = self

    def _start(self, seed: int) -> dict[str, Any]:
        self._owner.require()
        self.level.shadow_window.switch_to()
        self.level.observed = self.observed
        if self.task_spec.task == "Sign-v0":
            generator = np.random.default_rng([seed, _SIGN_STREAM])
            self.level.set_color_index(int(generator.integers(3)))
            self.level._goal = int(generator.integers(2))
        observation, _ = self.level.reset(seed=seed)
        MiniWorld._drawn = self
        return _as_dict(observation)

    def _advance(self, action: dict[str, np.ndarray]) -> Outcome:
        self._owner.require()
        if self.observed:
            self._draw_own_scene()
        self.level.observed = self.observed
        observation, reward, terminated, truncated, _ = self.level.step(int(action["action"]))
        is_goal = self.task_spec.task != "CollectHealth-v0"  # which ends with the agent's death only
        return Outcome(
            observation=_as_dict(observation),
            reward=float(reward),
            terminated=terminated,
            truncated=truncated,
            success=terminated and reward > 0 if is_goal else None,
        )

    def _draw_own_scene(self):
        """Put the scene of this environment in MiniWorld's display list, if that of another one is there."""
        self._owner.require()
        if MiniWorld._drawn is not self:
            self.level.shadow_window.switch_to()
            self.level._render_static()
            MiniWorld._drawn = self

    @property
    def action_names(self) -> tuple[str, ...]:
        names = tuple(action.name for action in self.level.actions)[: LEVELS[self.task_spec.task][0]]
        return (*names[:3], "end_episode") if self.task_spec.task == "Sign-v0" else names

    def render(self) -> np.ndarray:
        self._draw_own_scene()
        return self.level.render()

    def close(self) -> None:
        """Free the images and the context of OpenGL; in a process that was forked from its own, do nothing."""
        if self._owner.is_here() and self.level.shadow_window.context is not None:
            self.level.shadow_window.switch_to()
            for frame_buffer in (self.level.obs_fb, self.level.vis_fb):
                _delete(frame_buffer)
            self.level.shadow_window.close()
            if MiniWorld._drawn is self:
                MiniWorld._drawn = None


@functools.cache
def missing_library() -> str:
    """Return the command that installs a library of OpenGL that is missing here, empty if all are there."""
    for library, packages in _LIBRARIES.items():
        try:
            ctypes.CDLL(library)
        except OSError:
            return f"there is no {library}; apt-get install {packages}"
    return ""


def _import_levels() -> Any:
    """Return the module of MiniWorld's levels, imported so that it draws without a display.

    Raises:
      MissingPackageError: OpenGL does not work here.
    """
    import pyglet

    pyglet.options["headless"] = True
    try:
        from miniworld import envs
    except Exception as error:  # pyglet raises what the driver makes it raise
        raise MissingPackageError(
            f"miniworld does not run here: OpenGL by EGL does not work ({error}). "
            f"apt-get install {' '.join(_LIBRARIES.values())}"
        ) from error
    return envs


def _with_black_images(level: type) -> Any:
    """Return a class of the same level that draws no observations, only frames, while its `observed` is False."""

    class Level(level):
        observed = True

        def render_obs(self, frame_buffer: Any = None) -> np.ndarray:
            return _BLACK if frame_buffer is None and not self.observed else super().render_obs(frame_buffer)

    return Level


def _as_dict(observation: Any) -> dict[str, Any]:
    if isinstance(observation, dict):
        return {"image": observation["obs"], "goal": observation["goal"]}
    return {"image": observation}


def _delete(frame_buffer: Any) -> None:
    """Delete a frame buffer of MiniWorld with its images; the context that it was made in is current."""
    from pyglet import gl

    for handle in (frame_buffer.multi_fbo, frame_buffer.final_fbo):
        gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, handle)
        for point, delete in (
            (gl.GL_COLOR_ATTACHMENT0, gl.glDeleteTextures),
            (gl.GL_DEPTH_ATTACHMENT, gl.glDeleteRenderbuffers),
        ):
            name = gl.GLint()
            gl.glGetFramebufferAttachmentParameteriv(
                gl.GL_FRAMEBUFFER, point, gl.GL_FRAMEBUFFER_ATTACHMENT_OBJECT_NAME, ctypes.byref(name)
            )
            delete(1, ctypes.byref(gl.GLuint(name.value)))
        gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, 0)
        gl.glDeleteFramebuffers(1, ctypes.byref(handle))


SUITE = Suite(
    name="miniworld",
    tasks=tuple(LEVELS),
    packages={"miniworld": "miniworld"},
    licence="Apache-2.0",
    spec=spec,
    load=MiniWorld,
    obstacle=missing_library,
)
