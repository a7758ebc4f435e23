"""Gymnasium: any registered environment as a task, `gymnasium/ID`, or `gymnasium/MODULE:ID` if a module registers it.

The TaskSpec follows from the spaces of the environment, see `gymnasium_api.spaces`; a space without parts has the key
`observation` or `action`. Episodes are cut off after the registered `max_episode_steps`, if any. The score is the
return; `info["is_success"]` or `info["success"]` is the success.

Gymnasium's contract is that an episode follows from the seed. An environment that draws random numbers elsewhere than
from its own `np_random` breaks it.
"""

from __future__ import annotations

import contextlib
import ctypes.util
import functools
import importlib
import importlib.metadata
import io
import os
import sys
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
import PIL.ImageDraw

from gato_jax.environments.base import Environment, MissingPackageError, Outcome
from gato_jax.environments.suite import FurtherTasks, Suite
from gato_jax.episodes import Image, TaskSpec

if TYPE_CHECKING:
    import gymnasium
    from gymnasium.envs.registration import EnvSpec

# Simulators of environments that come with Gymnasium, {start of the entry point: {module: pip package}}.
_SIMULATORS = {"gymnasium.envs.mujoco": {"mujoco": "mujoco"}}
_HEADLESS = {"MUJOCO_GL": "egl", "SDL_VIDEODRIVER": "dummy"}
_MUJOCO_RENDERER = "gymnasium.envs.mujoco.mujoco_rendering"
_PLACEHOLDER_SIDE = 96


@functools.cache
def spec(task: str) -> TaskSpec:
    """Return the TaskSpec of an id, which needs the environment itself; the result is cached.

    Raises:
      SpaceError: A space of the environment has no modality.
      MissingPackageError: The environment cannot be made here.
    """
    with contextlib.closing(Gymnasium(task)) as environment:
        return environment.task_spec


class Gymnasium(Environment):
    """An environment of one registered id, which is named without the suite, such as `CartPole-v1`.

    Attributes:
      simulator: The environment as Gymnasium makes it, with its wrappers.
    """

    def __init__(self, task: str):
        from gato_jax.environments.gymnasium_api.spaces import SpaceCodec

        self.simulator = _make(task)
        try:
            name = f"gymnasium/{task}"
            self._observation = SpaceCodec(self.simulator.observation_space, "observation", name)
            self._action = SpaceCodec(self.simulator.action_space, "action", name)
            registered = self.simulator.spec
            super().__init__(
                TaskSpec(
                    suite="gymnasium",
                    task=task,
                    observation=self._observation.modalities,
                    action=self._action.modalities,
                    max_steps=registered.max_episode_steps if registered else None,
                )
            )
        except ValueError:
            self.simulator.close()
            raise
        self.licence = _licence(task)
        self._image: np.ndarray | None = None

    def _start(self, seed: int) -> dict[str, Any]:
        observation, _ = self.simulator.reset(seed=seed)
        return self._encode(observation)

    def _advance(self, action: dict[str, np.ndarray]) -> Outcome:
        observation, reward, terminated, truncated, info = self.simulator.step(self._action.decode(action))
        return Outcome(
            observation=self._encode(observation),
            reward=float(np.asarray(reward).item()),
            terminated=bool(terminated),
            truncated=bool(truncated),
            success=_success(info),
        )

    def _encode(self, observation: Any) -> dict[str, Any]:
        encoded = self._observation.encode(observation)
        images = (value for key, value in encoded.items() if isinstance(self.task_spec.observation[key], Image))
        self._image = next(images, None)
        return encoded

    def render(self) -> np.ndarray:
        """Return the environment's own frame; without `rgb_array`, the observed image, or else a frame that says so.

        Raises:
          MissingPackageError: A package for drawing is missing.
        """
        if self.simulator.render_mode == "rgb_array":
            with _named_errors(self.task_spec.name), _without_display(self.task_spec.name):
                return np.asarray(self.simulator.render(), np.uint8)
        if self._image is not None:
            return np.repeat(self._image, 3, axis=2) if self._image.shape[2] == 1 else self._image
        picture = PIL.Image.new("RGB", (_PLACEHOLDER_SIDE, _PLACEHOLDER_SIDE), "white")
        PIL.ImageDraw.Draw(picture).text((8, 32), "no rgb_array\nrendering", fill="black")
        return np.asarray(picture)

    def close(self) -> None:
        self.simulator.close()


def registered_names(task: str) -> list[str]:
    """Return the names of all ids that Gymnasium knows, once the module that `task` names, if any, is imported.

    The names have the same `MODULE:` in front as `task` has.

    Raises:
      MissingPackageError: The module cannot be imported.
    """
    prefix = "".join(task.rpartition(":")[:2])
    return [f"{prefix}{name}" for name in _import_registry(task)]


def packages_of(task: str) -> dict[str, str]:
    """Return {module: pip package} of an id: Gymnasium, the simulator, and the environment's own package if any."""
    origin = _origin(task)
    packages = {"gymnasium": "gymnasium"}
    for start, simulator in _SIMULATORS.items():
        packages |= simulator if origin.startswith(start) else {}
    module = origin.partition(".")[0]
    if module not in packages and (distributions := _distributions().get(module)):
        packages[module] = distributions[0]
    return packages


def _licence(task: str) -> str:
    """Return the licences that the packages of an id state, joined by AND.

    It is empty if one of them states none, or the environment is in no package.
    """
    packages = packages_of(task)
    licences = [_stated_licence(package) for package in packages.values()]
    is_complete = _origin(task).partition(".")[0] in packages and all(licences)
    return " AND ".join(dict.fromkeys(licences)) if is_complete else ""


def _origin(task: str) -> str:
    """Return the full name of the module that makes the environment of an id."""
    point = _import_registry(task)[task.rpartition(":")[2]].entry_point
    return point.partition(":")[0] if isinstance(point, str) else getattr(point, "__module__", "")


def _stated_licence(package: str) -> str:
    """Return the first licence that the metadata of a package states, empty if it states none."""
    metadata = importlib.metadata.metadata(package)
    classifiers = [line for line in metadata.get_all("Classifier") or () if line.startswith("License ::")]
    stated = [
        *(metadata.get_all("License-Expression") or ()),
        *(metadata.get_all("License") or ()),
        *(line.rpartition(" :: ")[2] for line in classifiers),
    ]
    return next((line for text in stated if (line := text.strip().partition("\n")[0])), "")


_distributions = functools.cache(importlib.metadata.packages_distributions)  # each search takes a second


def _import_registry(task: str) -> dict[str, EnvSpec]:
    """Return Gymnasium's registry, after importing the module that a name `MODULE:ID` names."""
    import gymnasium

    module, _, _ = task.rpartition(":")
    if module:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise MissingPackageError(
                f"gymnasium/{task} does not run here: module {module!r} cannot be imported ({error}). Install it, or "
                "put its folder on PYTHONPATH."
            ) from None
    return gymnasium.registry


def _make(task: str) -> gymnasium.Env:
    """Return a new environment that renders to arrays if it can, without Gymnasium's checks of each step."""
    import gymnasium
    from gymnasium.envs.registration import load_env_creator

    registered = _import_registry(task)[task.rpartition(":")[2]]
    with _named_errors(f"gymnasium/{task}"):
        point = registered.entry_point
        creator = load_env_creator(point) if isinstance(point, str) else point
        modes = (getattr(creator, "metadata", None) or {}).get("render_modes") or ()
        if "rgb_array" not in modes:  # its constructor may take no mode
            return gymnasium.make(registered, disable_env_checker=True)
        return gymnasium.make(registered, disable_env_checker=True, render_mode="rgb_array")


@contextlib.contextmanager
def _named_errors(name: str) -> Iterator[None]:
    """Raise Gymnasium's errors of missing packages and retired ids as MissingPackageError; print nothing otherwise."""
    import gymnasium

    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):  # pygame prints on import
            warnings.filterwarnings("ignore", message=".*out of date.*")  # the id names its version
            yield
    except (gymnasium.error.Error, ImportError) as error:
        raise MissingPackageError(f"{name} does not run here: {str(error).partition(chr(10))[0]}") from error


@contextlib.contextmanager
def _without_display(name: str) -> Iterator[None]:
    """Let MuJoCo and SDL draw without a window where there is no display: they print, or even end the process."""
    if "DISPLAY" in os.environ:
        yield
        return
    if _MUJOCO_RENDERER in sys.modules and ctypes.util.find_library("EGL") is None:
        raise MissingPackageError(f"{name} cannot be rendered: there is neither a display nor EGL. Install libegl1.")
    chosen = {key: value for key, value in _HEADLESS.items() if key not in os.environ}
    os.environ.update(chosen)
    try:
        yield
    finally:
        for key in chosen:
            del os.environ[key]


def _success(info: dict[str, Any]) -> bool | None:
    """Return the success that an environment states in `info`; None if it states none."""
    stated = info.get("is_success", info.get("success"))
    return bool(stated) if isinstance(stated, bool | np.bool_ | int | float | np.number) else None


SUITE = Suite(
    name="gymnasium",
    tasks=(),
    packages={"gymnasium": "gymnasium"},
    licence="",  # that of the package of each environment
    spec=spec,
    load=Gymnasium,
    further=FurtherTasks(
        names=registered_names,
        packages_of=packages_of,
        description="gymnasium/ID for any registered Gymnasium id, gymnasium/MODULE:ID for one that a module registers",
    ),
)
