import builtins

import pytest

from gato_jax.environments import MissingPackageError, UnknownTaskError, load, status, task_names, task_spec
from gato_jax.environments.suite import Suite


def test_an_unknown_task_names_the_nearest():
    with pytest.raises(UnknownTaskError, match=r"unknown task 'meta_world/reech-v3'; nearest: meta_world/reach-v3, "):
        load("meta_world/reech-v3")


def test_the_names_are_the_packages_own():
    import ale_py
    import gymnasium
    import minigrid
    from dm_control import suite
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS
    from procgen.env import ENV_NAMES

    gymnasium.register_envs(minigrid)
    gymnasium.register_envs(ale_py)
    expected = {
        *(f"meta_world/{task}" for task in ALL_V3_ENVIRONMENTS),
        *(f"babyai/{name.removeprefix('BabyAI-')}" for name in gymnasium.registry if name.startswith("BabyAI-")),
        *(f"meta_world_pixels/{task}" for task in ALL_V3_ENVIRONMENTS),
        *(f"dm_control/{domain}/{task}" for domain, task in suite.ALL_TASKS),
        *(f"dm_control_pixels/{domain}/{task}" for domain, task in suite.BENCHMARKING),
        *(f"procgen/{game}" for game in ENV_NAMES),
        *(f"procgen_easy/{game}" for game in ENV_NAMES),
        *(f"atari/{game.kwargs['game']}" for name, game in gymnasium.registry.items() if name.startswith("ALE/")),
        "fetch/pick_and_place",
    }
    listed = {name.partition("/")[0] for name in expected}
    assert {name for name in task_names() if name.partition("/")[0] in listed} == expected


def test_spec_of_every_task_that_needs_no_simulator(monkeypatch):
    simulators = (
        "metaworld",
        "minigrid",
        "mujoco",
        "gymnasium",
        "gymnasium_robotics",
        "procgen",
        "miniworld",
        "vizdoom",
    )

    def refuse(name, *args, **kwargs):
        assert name.partition(".")[0] not in simulators, name
        return original(name, *args, **kwargs)

    original = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", refuse)
    for name in task_names():
        if name.startswith(("meta_world/", "babyai/", "fetch/", "modular_rl/", "procgen/", "procgen_easy/")):
            assert task_spec(name).name == name


def test_everything_runs_where_everything_is_installed():
    assert [name for name in task_names() if status(name) != ("runnable", "")] == []


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(Suite, "missing", lambda self: ["metaworld"])
    assert status("meta_world/reach-v3") == ("unavailable", "pip install metaworld")
    with pytest.raises(MissingPackageError, match="pip install metaworld"):
        load("meta_world/reach-v3")


def test_the_remedy_of_a_package_that_plain_pip_would_break(monkeypatch):
    monkeypatch.setattr(Suite, "missing", lambda self: ["procgen-mirror"])
    assert status("procgen/maze")[1].startswith("make install, as plain pip would install an old numpy")
