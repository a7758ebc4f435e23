"""The renderer is the one that is asked for, or the first that works, found once and for all worker processes."""

import os
import typing

import pytest
from absl import flags

from gato_jax.environments.rendering import RENDERERS, RendererError, choice, chosen_renderer, set_renderer
from gato_jax.verbs import renderers as verb_flags
from tests.integration.conftest import gato


@pytest.fixture(autouse=True)
def no_choice(monkeypatch):
    for variable in (choice.VARIABLE, choice._WORKING, "MUJOCO_GL"):
        monkeypatch.delenv(variable, raising=False)


def working(monkeypatch, *platforms: str) -> list[str]:
    """Let only these platforms work; return the list to which those that are tried are added."""
    tried = []

    def probe(platform):
        tried.append(platform)
        return platform in platforms, f"{platform} by a made driver"

    monkeypatch.setattr(choice, "_run_probe", probe)
    return tried


@pytest.fixture
def broken(monkeypatch, tmp_path):
    """A function that lets the program that tries OpenGL be this text."""

    def write(program: str):
        path = tmp_path / "gl_probe.py"
        path.write_text(program)
        monkeypatch.setattr(choice, "_PROBE", path)
        choice._run_probe.cache_clear()

    yield write
    choice._run_probe.cache_clear()


@pytest.mark.parametrize(("platforms", "found"), [(("egl", "osmesa"), "egl"), (("osmesa",), "osmesa"), ((), "raycast")])
def test_the_first_that_works_is_found_and_logged_once(monkeypatch, caplog, platforms, found):
    caplog.set_level("INFO", logger=choice.__name__)
    tried = working(monkeypatch, *platforms)
    assert chosen_renderer() == chosen_renderer() == found
    assert found in caplog.text and len(caplog.records) == 1
    assert tried.count("egl") == 1
    assert os.environ[choice.VARIABLE] == found  # worker processes inherit it, and need not try
    if platforms:
        assert found in os.environ[choice._WORKING]


def test_mujoco_gl_is_preferred(monkeypatch):
    working(monkeypatch, "egl", "osmesa")
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    assert chosen_renderer() == "osmesa"


def test_an_unknown_renderer_names_those_there_are():
    with pytest.raises(RendererError, match="'glfw', expected one of egl, egl_fast, osmesa, osmesa_fast, raycast"):
        set_renderer("glfw")


def test_the_variable_is_checked(monkeypatch):
    monkeypatch.setenv(choice.VARIABLE, "glfw")
    with pytest.raises(RendererError, match="GATO_RENDERER is 'glfw'"):
        chosen_renderer()


def test_a_driver_that_crashes_does_not_crash_this_process(broken):
    broken("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(RendererError, match=r"crashes \(SIGSEGV\).*apt-get install libegl1 libgl1-mesa-dri"):
        set_renderer("egl_fast")
    assert choice.VARIABLE not in os.environ
    assert chosen_renderer() == "raycast"


def test_where_there_is_no_opengl_a_verb_ends_with_one_line(broken, tmp_path):
    broken("raise ImportError('no library here')")
    said = gato("collect", "--tasks=dm_control/cartpole/balance", f"--output={tmp_path / 'data'}", "--renderer=osmesa")
    assert said.status == 2 and not said.out
    assert said.err == (
        "gato collect: the renderer is osmesa, expected one that works here: OpenGL by osmesa fails (ImportError: no "
        "library here). Install it (apt-get install libosmesa6), or choose raycast.\n"
    )


def test_the_flag_takes_every_renderer():
    assert tuple(verb_flags._NAMES) == RENDERERS
    flag = flags.FlagValues()
    verb_flags.define_renderer(flag)
    assert typing.cast(flags.EnumFlag, flag["renderer"]).parser.enum_values == list(RENDERERS)


def test_dm_control_is_imported_without_opengl(monkeypatch):
    with choice.import_without_gl():
        assert os.environ["MUJOCO_GL"] == "off"
    assert "MUJOCO_GL" not in os.environ
    monkeypatch.setenv("MUJOCO_GL", "egl")
    with choice.import_without_gl():
        assert os.environ["MUJOCO_GL"] == "egl"
