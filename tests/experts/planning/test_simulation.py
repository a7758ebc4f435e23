import mujoco
import numpy as np
import pytest

from gato_jax.environments import load
from gato_jax.experts.planning import Sensor, Simulator, last_compiled_spec

BODY = """
<mujoco><option timestep="0.005"/><worldbody>
  <geom type="plane" size="2 2 .1"/>
  <body name="arm" pos="0 0 .3">
    <joint name="hinge" axis="0 1 0"/><geom name="rod" type="capsule" fromto="0 0 0 .4 0 0" size=".03"/>
    <site name="tip" pos=".4 0 0"/>
  </body></worldbody>
  <actuator><motor joint="hinge" gear="3" ctrlrange="-1 1"/></actuator>
  <sensor><jointvel name="speed" joint="hinge"/></sensor>
</mujoco>"""
TIP, VELOCITY = Sensor("framepos", "site", "tip"), Sensor("framelinvel", "site", "tip")


@pytest.fixture
def live():
    model = mujoco.MjModel.from_xml_string(BODY)
    return model, mujoco.MjData(model)


def snapshot(model, data):
    state = np.zeros(mujoco.mj_stateSize(model, mujoco.mjtState.mjSTATE_INTEGRATION))
    mujoco.mj_getState(model, data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
    numbers = [getattr(model, name) for name in dir(model) if isinstance(getattr(model, name), np.ndarray)]
    return [state, data.sensordata.copy(), data.xpos.copy(), *(array.copy() for array in numbers)]


@pytest.mark.parametrize("threads", [1, 3])
def test_readings_are_those_of_the_live_model_after_each_action(live, threads):
    model, data = live
    simulator = Simulator(last_compiled_spec(model), [TIP, VELOCITY], threads=threads)
    model.geom_size[1] = [0.05, 0.2, 0]  # changed after compilation, as by a random body
    model.body_mass[1], model.opt.gravity[2] = 0.7, -5.0
    simulator.copy_parameters(model)
    data.qpos[0] = 0.5
    mujoco.mj_forward(model, data)
    before = snapshot(model, data)
    actions = np.random.default_rng(0).uniform(-0.3, 0.3, (5, 40, 1))
    readings = simulator.simulate(data, actions, substeps=4)
    for now, then in zip(snapshot(model, data), before, strict=True):
        np.testing.assert_array_equal(now, then)
    contacts = 0
    for step, action in enumerate(actions[2]):
        data.ctrl[:] = action
        mujoco.mj_step(model, data, 4)
        mujoco.mj_forward(model, data)
        contacts += data.ncon
        np.testing.assert_allclose(readings.qpos[2, step], data.qpos, rtol=1e-9)
        np.testing.assert_allclose(readings.velocity("hinge")[2, step], data.qvel[0], rtol=1e-9)
        np.testing.assert_allclose(readings[TIP][2, step], data.site("tip").xpos, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(readings["speed"][2, step], data.qvel, rtol=1e-7)
    assert contacts  # the rod has reached the floor
    np.testing.assert_allclose(simulator.read(data)[TIP], data.site("tip").xpos, rtol=1e-9)


def test_a_coarser_time_step_stays_near(live):
    model, data = live
    simulator = Simulator(last_compiled_spec(model), [TIP], threads=1)
    actions = np.zeros((1, 10, 1))
    simulator.copy_parameters(model)
    fine = simulator.simulate(data, actions, substeps=4)[TIP]
    simulator.copy_parameters(model, coarsening=2)
    coarse = simulator.simulate(data, actions, substeps=2)[TIP]
    assert 0 < np.abs(fine - coarse).max() < 0.01


def test_another_model_is_refused(live):
    model, _ = live
    simulator = Simulator(last_compiled_spec(model), [], threads=1)
    other = load("dm_control/cartpole/swingup").mujoco_model
    with pytest.raises(ValueError, match="nq of the live model is 2, expected 1"):
        simulator.copy_parameters(other)
