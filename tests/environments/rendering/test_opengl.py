"""OpenGL without a display: the images of dm_control's own renderer, also with several renderers in one process."""

import os
import subprocess
import sys

import mujoco
import numpy as np
import pytest

from gato_jax.environments.rendering import RendererError, choice, make_renderer, opengl
from gato_jax.environments.suites import dm_control
from tests.conftest import opengl as find_platform
from tests.warm_python import run_warm

SCENE = """
<mujoco>
  <worldbody>
    <light pos="0 0 3"/>
    <camera name="side" pos="0 -3 1.5" xyaxes="1 0 0 0 0.4 1"/>
    <geom type="plane" size="5 5 .1" rgba=".8 .8 .8 1"/>
    <geom type="{shape}" size=".5 .5 .5" pos="0 0 1" rgba="{colour} 1"/>
    <site name="goal" pos="0 -1 1" size=".1" rgba="0 0 1 1"/>
  </worldbody>
</mujoco>
"""

COMPARE = """
import sys
import numpy as np
from dm_control import suite
from gato_jax.environments.rendering import make_renderer

for name in sys.argv[1:]:
    domain, task = name.split("/")
    physics = suite.load(domain, task, task_kwargs={"random": 1}).physics
    physics.reset()
    theirs = physics.render(64, 64, camera_id=0)
    renderer = make_renderer(physics.model.ptr, 0, height=64, width=64)
    np.testing.assert_array_equal(renderer.render(physics.data.ptr), theirs)
    renderer.close()
    physics.free()
"""

STATES_ONLY = """
import sys
import numpy as np
from gato_jax.environments import load

environment = load("dm_control/quadruped/escape")  # its terrain is drawn anew by each reset
terrains = []
for seed in (1, 2, 1):
    environment.seed(seed)
    timestep = environment.reset()
    environment.step({"action": np.zeros(12, np.float32)})
    terrains.append(environment.suite_environment.physics.model.hfield_data.copy())
assert (terrains[0] == terrains[2]).all() and (terrains[0] != terrains[1]).any()
assert not [name for name in sys.modules if name.split(".")[0] == "OpenGL"]
assert not {"mujoco.egl", "mujoco.osmesa"} & set(sys.modules)
"""


def scene(shape: str, colour: str):
    model = mujoco.MjModel.from_xml_string(SCENE.format(shape=shape, colour=colour))
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return model, data


@pytest.fixture
def platform(monkeypatch) -> str:
    platform = find_platform()
    assert platform is not None
    monkeypatch.setenv(choice.VARIABLE, platform)
    return platform


def run(program: str, *words: str, **environment: str):
    done = subprocess.run(
        [sys.executable, "-c", program, *words], env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0 and not done.stdout and not done.stderr, done.stderr


@pytest.mark.needs_gl
def test_images_are_those_of_dm_control(platform):
    run(COMPARE, "cartpole/balance", "reacher/easy", MUJOCO_GL=platform)


@pytest.mark.slow
@pytest.mark.needs_gl
def test_images_of_all_tasks_are_those_of_dm_control(platform):
    run(COMPARE, *dm_control.BENCHMARKING, MUJOCO_GL=platform)


def test_tasks_with_states_load_no_opengl():
    run(STATES_ONLY)


def test_the_process_that_tests_fork_from_holds_no_opengl():
    said = run_warm(["-c", "import sys; print({'OpenGL', 'mujoco.egl', 'mujoco.osmesa'} & set(sys.modules))"])
    assert said.stdout == "set()\n", said.stderr


@pytest.mark.needs_gl
def test_renderers_of_one_process_do_not_disturb_each_other(platform, monkeypatch):
    (model, data), other = scene("sphere", "1 0 0"), scene("box", "0 1 0")
    sizes = model.vis.global_.offwidth, model.vis.quality.shadowsize
    first = make_renderer(model, "side", height=48, width=64)
    alone = first.render(data)
    second = make_renderer(other[0], 0, height=80, width=32)
    monkeypatch.setenv(choice.VARIABLE, f"{platform}_fast")
    fast = make_renderer(model, "side", height=48, width=64)
    assert alone.shape == (48, 64, 3) and alone.dtype == np.uint8
    assert second.render(other[1]).shape == (80, 32, 3)
    without_shadows = fast.render(data)
    np.testing.assert_array_equal(first.render(data), alone)
    second.close()
    np.testing.assert_array_equal(first.render(data), alone)
    assert without_shadows.mean() > alone.mean() + 1  # the shadow below the ball is gone
    np.testing.assert_array_equal(fast.render(data), without_shadows)
    assert sizes == (model.vis.global_.offwidth, model.vis.quality.shadowsize)
    first.close()
    fast.close()


@pytest.mark.needs_gl
def test_opengl_and_ray_casting_see_the_same_scene(platform, monkeypatch):
    model, data = scene("sphere", "1 0 0")
    images = []
    for name in (platform, "raycast"):
        monkeypatch.setenv(choice.VARIABLE, name)
        images.append(make_renderer(model, "side", height=64, width=64).render(data).astype(int))
    for channel, others in ((0, (1, 2)), (2, (0, 1))):  # the red ball, and the blue site before it
        drawn, cast = (np.all([one[..., channel] > one[..., other] + 40 for other in others], axis=0) for one in images)
        assert drawn.sum() > 8 and (drawn != cast).sum() < 0.2 * drawn.sum()


@pytest.mark.needs_gl
def test_a_forked_process_and_a_second_platform_are_refused(platform, monkeypatch):
    model, data = scene("sphere", "1 0 0")
    renderer = make_renderer(model, "side", height=16, width=16)
    other = {"egl": "osmesa", "osmesa": "egl"}[platform]
    with pytest.raises(RendererError, match=f"this process renders by {platform} already"):
        opengl.OpenGLRenderer(model, 0, height=16, width=16, platform=other)
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: -1)
        with pytest.raises(RendererError, match="forked"):
            renderer.render(data)
    renderer.close()


def test_an_unknown_camera_names_those_there_are():
    with pytest.raises(RendererError, match="camera is 'front', expected one of side"):
        make_renderer(scene("sphere", "1 0 0")[0], "front", height=16, width=16)
