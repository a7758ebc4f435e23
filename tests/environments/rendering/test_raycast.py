import mujoco
import numpy as np

from gato_jax.environments.rendering.raycast import RayCaster, Sphere, look_at

SCENE = """
<mujoco><worldbody>
  <geom name="floor" type="plane" size="5 5 .1"/>
  <geom name="ball" type="sphere" size=".5" pos="0 0 .5" rgba="1 0 0 1"/>
  <geom name="ghost" type="box" size=".2 .2 .2" pos="1.5 0 .5" rgba="0 0 1 0"/>
</worldbody></mujoco>
"""


def _render(spheres=(), eye=(4.0, 0.0, 0.5), **settings):
    model = mujoco.MjModel.from_xml_string(SCENE)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    view = look_at(eye=eye, target=(0.0, 0.0, 0.5), field_of_view=40.0)
    return RayCaster(model, view, height=32, width=48, **settings).render(data, spheres)


def test_what_is_in_the_middle_is_seen_and_what_is_transparent_is_not():
    frame = _render()
    assert frame.shape == (32, 48, 3) and frame.dtype == np.uint8
    red, green, blue = frame[16, 24].astype(int)
    assert red > 100 and green < 20 and blue < 20


def test_up_is_up_and_the_image_is_symmetric():
    frame = _render().astype(int)
    assert frame[0].mean() > frame[-1].mean()  # the sky is brighter than the floor
    reds = (frame[..., 0] - frame[..., 1]) > 60
    np.testing.assert_array_equal(reds, reds[:, ::-1])


def test_supersampling_keeps_the_image():
    assert np.abs(_render().astype(int) - _render(supersampling=3).astype(int)).mean() < 8


def test_a_sphere_is_drawn_before_and_hidden_behind():
    before, behind = (
        _render([Sphere(centre=np.array([x, 0.0, 0.5]), radius=0.2, colour=(0.0, 1.0, 0.0, 1.0))]) for x in (2.0, -2.0)
    )
    assert before[16, 24, 1] > 100 and before[16, 24, 0] < 20
    np.testing.assert_array_equal(behind, _render())
