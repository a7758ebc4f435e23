"""The bodies of Modular RL are those of its authors, and its episodes move, fall and end as theirs."""

import mujoco
import numpy as np
import pytest

from gato_jax.environments import load, task_names, task_spec
from gato_jax.environments.worlds.modular_bodies import bodies, build

NAMES = [name.partition("/")[2] for name in task_names() if name.startswith("modular_rl/")]

# Total masses in kg of the authors' models, as MuJoCo compiles their XML files.
MASSES = {
    "cheetah_2_back": 11.793, "cheetah_2_front": 11.633, "cheetah_3_back": 14.195, "cheetah_3_balanced": 13.969,
    "cheetah_3_front": 13.45, "cheetah_4_allback": 15.852, "cheetah_4_allfront": 14.789, "cheetah_4_back": 16.371,
    "cheetah_4_front": 15.786, "cheetah_5_back": 18.028, "cheetah_5_balanced": 18.188, "cheetah_5_front": 17.124,
    "cheetah_6_back": 19.845, "cheetah_6_front": 19.526, "cheetah_7_full": 21.184,
    "hopper_3": 13.039, "hopper_4": 15.82, "hopper_5": 18.601,
    "humanoid_2d_7_left_arm": 39.225, "humanoid_2d_7_left_leg": 32.841, "humanoid_2d_7_lower_arms": 39.657,
    "humanoid_2d_7_right_arm": 39.225, "humanoid_2d_7_right_leg": 32.841, "humanoid_2d_8_left_knee": 37.593,
    "humanoid_2d_8_right_knee": 37.593, "humanoid_2d_9_full": 42.116,
    "walker_2_main": 16.138, "walker_3_main": 21.602, "walker_4_main": 24.4, "walker_5_main": 27.198,
    "walker_6_main": 30.365, "walker_7_main": 33.531, "walker_2_flipped": 16.138, "walker_3_flipped": 21.602,
    "walker_4_flipped": 24.4, "walker_5_flipped": 27.198, "walker_6_flipped": 30.365, "walker_7_flipped": 33.531,
}  # fmt: skip


def test_every_body_has_the_limbs_of_its_name_and_the_mass_of_the_original():
    assert sorted(MASSES) == NAMES == sorted(bodies())
    for name, body in bodies().items():
        model = build(body)
        limbs = int(next(part for part in name.split("_") if part.isdigit() and part != "2d"))
        assert model.nbody - 1 == limbs == task_spec(f"modular_rl/{name}").observation["limbs"].shape[0]
        assert model.nu == model.njnt - 3 == limbs - 1
        assert model.body_mass.sum() == pytest.approx(MASSES[name], abs=1e-3)


def _limbs(environment, quantity):
    """Return a quantity of the torso and the limbs by MuJoCo's own functions, as it is after a full evaluation."""
    mujoco.mj_forward(environment.mujoco_model, environment.data)
    return np.stack([quantity(environment, body) for body in range(1, environment.mujoco_model.nbody)])


def _velocity(environment, body):
    velocity = np.zeros(6)
    kind = mujoco.mjtObj.mjOBJ_XBODY
    mujoco.mj_objectVelocity(environment.mujoco_model, environment.data, kind, body, velocity, 0)
    return np.concatenate([np.clip(velocity[3:], -10, 10), velocity[:3]])


def _rotation(environment, body):
    rotation = np.zeros(3)
    mujoco.mju_quat2Vel(rotation, environment.data.xquat[body], 1.0)
    return rotation


@pytest.mark.parametrize("task", ["cheetah_7_full", "humanoid_2d_9_full"])
def test_the_rows_are_the_states_of_the_limbs(task):
    environment = load(f"modular_rl/{task}")
    generator = np.random.default_rng(0)
    environment.reset()
    for _ in range(12):
        action = generator.uniform(-1, 1, environment.mujoco_model.nu)
        rows = environment.step({"action": action}).observation["limbs"]
    np.testing.assert_allclose(rows[:, 3:9], _limbs(environment, _velocity), atol=1e-4)
    np.testing.assert_allclose(rows[:, 9:12], _limbs(environment, _rotation), atol=1e-5)
    assert rows[0, 0] == 0 and rows[0, 2] == pytest.approx(environment.data.body("torso").xpos[2], abs=1e-5)
    hinges = environment.data.qpos[3:], environment.mujoco_model.jnt_range[3:]
    for angle, ends, row in zip(*hinges, rows[1:], strict=True):
        assert row[16] == pytest.approx(np.interp(angle, ends, [0, 1]), abs=0.2)
        np.testing.assert_allclose(np.rad2deg(ends), row[17:] * 360 - 180, atol=1e-3)


def test_the_reward_is_speed_and_bonus_less_the_cost_of_the_action():
    environment = load("modular_rl/walker_7_main")
    environment.reset()
    before = environment.data.qpos[0]
    timestep = environment.step({"action": np.full(6, 0.5)})
    assert timestep.reward == pytest.approx((environment.data.qpos[0] - before) / 0.008 + 1.0 - 1e-3 * 6 * 0.25)
    assert environment.measures == {"distance": environment.data.qpos[0] - before}
    environment.reset()
    assert environment.measures == {"distance": 0.0}


@pytest.mark.parametrize("task", ["hopper_5", "walker_7_main", "walker_2_flipped", "humanoid_2d_7_left_leg"])
def test_a_limp_body_falls_and_its_episode_ends(task):
    environment = load(f"modular_rl/{task}")
    timestep, steps = environment.reset(), 0
    while not timestep.last():
        timestep, steps = environment.step({"action": np.zeros(environment.mujoco_model.nu)}), steps + 1
    assert timestep.discount == 0.0 and 5 < steps < 500


def test_a_limp_cheetah_goes_on():
    environment = load("modular_rl/cheetah_2_front")
    environment.reset()
    assert not any(environment.step({"action": np.ones(1)}).last() for _ in range(200))
