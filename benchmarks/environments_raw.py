"""The packages' own environments that benchmarks.environments measures, one task of each suite."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Raw(NamedTuple):
    """An environment of a package.

    Attributes:
      reset: Function that starts an episode.
      step: Function that takes an action and returns True at the end of the episode.
    """

    reset: Callable[[], Any]
    step: Callable[[np.ndarray], bool]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A task to measure.

    Attributes:
      make: Function that builds the package's own environment; None where there is none with the same observation.
      note: Difference between the two, or reason why there is only one.
    """

    make: Callable[[], Raw] | None = None
    note: str = ""


def _of_gymnasium(environment: Any, *, discrete: bool = True) -> Raw:
    def step(action: np.ndarray) -> bool:
        _, _, terminated, truncated, _ = environment.step(int(action) if discrete else action)
        return terminated or truncated

    return Raw(environment.reset, step)


def _atari() -> Raw:
    import ale_py
    import gymnasium
    from gymnasium.wrappers import AtariPreprocessing

    gymnasium.register_envs(ale_py)
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    game = gymnasium.make("ALE/Gopher-v5", frameskip=1, disable_env_checker=True)
    return _of_gymnasium(AtariPreprocessing(game, noop_max=30, frame_skip=4, screen_size=64, grayscale_obs=False))


def _babyai() -> Raw:
    import gymnasium
    import minigrid

    gymnasium.register_envs(minigrid)
    return _of_gymnasium(gymnasium.make("BabyAI-GoToLocal-v0", disable_env_checker=True))


def _cartpole() -> Raw:
    import gymnasium

    return _of_gymnasium(gymnasium.make("CartPole-v1", disable_env_checker=True))


def _dm_control(domain: str, task: str, *, pixels: bool = False) -> Raw:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from dm_control import suite
        from dm_control.suite.wrappers import pixels as wrapper

    environment: Any = suite.load(domain, task, task_kwargs={"random": 0})
    if pixels:
        environment = wrapper.Wrapper(environment, render_kwargs={"height": 64, "width": 64, "camera_id": 0})
    return Raw(environment.reset, lambda action: environment.step(action).last())


def _meta_world() -> Raw:
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE

    make: Any = ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE["push-v3-goal-observable"]
    environment = make(seed=0)
    return _of_gymnasium(environment, discrete=False)


def _registered(identifier: str, module: str, **options) -> Raw:
    """Return an environment that a module registers with Gymnasium."""
    import importlib

    import gymnasium

    with contextlib.redirect_stderr(io.StringIO()):
        gymnasium.register_envs(importlib.import_module(module))
        environment = gymnasium.make(identifier, disable_env_checker=True, **options)
    discrete = isinstance(environment.action_space, gymnasium.spaces.Discrete)
    return _of_gymnasium(environment, discrete=discrete)


def _manipulation() -> Raw:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from dm_control import manipulation

    environment: Any = manipulation.load("stack_2_bricks_features", seed=0)
    return Raw(environment.reset, lambda action: environment.step(action).last())


def _procgen() -> Raw:
    from procgen.env import ProcgenGym3Env

    environment: Any = ProcgenGym3Env(num=1, env_name="coinrun", num_threads=0, distribution_mode="hard", rand_seed=0)

    def step(action: np.ndarray) -> bool:
        environment.act(action.reshape(1).astype(np.int32))
        environment.observe()
        return False  # the package begins the next episode by itself

    return Raw(lambda: None, step)


_OURS = "our own simulation"
CASES = {
    "adroit/hammer": Case(make=lambda: _registered("AdroitHandHammer-v1", "gymnasium_robotics")),
    "atari/gopher": Case(make=_atari),
    "babyai/GoToLocal-v0": Case(make=_babyai),
    "dm_control/cheetah/run": Case(make=lambda: _dm_control("cheetah", "run")),
    "dm_control/humanoid/walk": Case(make=lambda: _dm_control("humanoid", "walk")),
    "dm_control_pixels/cheetah/run": Case(make=lambda: _dm_control("cheetah", "run", pixels=True)),
    "dm_control_random_small/walker/walk": Case(note="the package has no such bodies"),
    "fetch/pick_and_place": Case(note="the package has no such images"),
    "fetch_state/reach": Case(make=lambda: _registered("FetchReach-v4", "gymnasium_robotics")),
    "gymnasium/CartPole-v1": Case(make=_cartpole),
    "kitchen/kettle": Case(
        make=lambda: _registered("FrankaKitchen-v1", "gymnasium_robotics", tasks_to_complete=["kettle"])
    ),
    "manipulation/stack_2_bricks_features": Case(make=_manipulation),
    "meta_world/push-v3": Case(make=_meta_world),
    "modular_rl/humanoid_2d_9_full": Case(note=_OURS),
    "procgen/coinrun": Case(make=_procgen),
    "pusht/push": Case(make=lambda: _registered("gym_pusht/PushT-v0", "gym_pusht", obs_type="state")),
    "rgb_stacking/skill_generalisation": Case(note=_OURS),
    "sokoban/easy": Case(note=_OURS),
}
