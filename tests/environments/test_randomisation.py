"""Randomised episodes follow from their seeds and list what was drawn, in models that MuJoCo itself would compile."""

import os

import dm_control.suite
import mujoco
import numpy as np
import pytest

from gato_jax.environments import load
from gato_jax.environments.randomisation import Randomisation, RandomisationError, randomise
from gato_jax.environments.randomisation.mujoco_edits import ModelEdits
from tests.environments.conformance import digest, play

TASKS = ["dm_control/walker/walk", "fetch/pick_and_place", "meta_world/push-v3", "modular_rl/walker_7_main"]
FACTORS = ("masses", "sizes", "friction", "damping", "gear")


@pytest.fixture(scope="module")
def plain():
    return {task: digest(play(load(task), 3, 6)) for task in TASKS}


@pytest.mark.parametrize("task", TASKS)
def test_neutral_values_leave_the_episode_as_it_is(task, plain):
    neutral = Randomisation(**dict.fromkeys(FACTORS, (1.0, 1.0)), action_delay=(0, 0), observation_noise=(0.0, 0.0))
    assert digest(play(randomise(load(task), neutral), 3, 6)) == plain[task]


@pytest.mark.parametrize("task", TASKS)
def test_a_seed_is_one_episode_on_a_fresh_and_on_a_used_instance(task, plain):
    fields = {"masses": (0.7, 1.3), "sizes": (0.8, 0.9, 1.1, 1.2), "friction": (0.5, 2.0), "damping": (0.5, 2.0)}
    randomisation = Randomisation(**fields, gear=(0.8, 1.2), action_delay=(0, 3), observation_noise=(0.001, 0.01))
    used, fresh = randomise(load(task), randomisation), randomise(load(task), randomisation)
    other = digest(play(used, 4, 6))
    drawn_before = used.variation
    episode = digest(play(used, 3, 6))
    assert episode == digest(play(fresh, 3, 6)) and used.variation == fresh.variation != drawn_before
    assert episode not in (other, plain[task])
    assert set(used.variation) == set(fields) | {"gear", "action_delay", "observation_noise"}
    for factor in used.variation["sizes"].values():
        assert 0.8 <= factor <= 0.9 or 1.1 <= factor <= 1.2


def _compiled_with(domain, factors):
    """Return a model of the suite that MuJoCo compiles with all sizes and densities scaled by {geom: factors}."""
    path = os.path.join(os.path.dirname(dm_control.suite.__file__), f"{domain}.xml")
    nominal, spec = mujoco.MjModel.from_xml_path(path), mujoco.MjSpec.from_file(path)
    for geom in spec.geoms:
        number = mujoco.mj_name2id(nominal, mujoco.mjtObj.mjOBJ_GEOM, geom.name)
        if number in factors:
            geom.fromto = np.full(6, np.nan)
            geom.pos, geom.quat = nominal.geom_pos[number], nominal.geom_quat[number]
            geom.size = nominal.geom_size[number] * factors[number][0]
            geom.density *= factors[number][1]
    return nominal, spec.compile()


@pytest.mark.parametrize("domain", ["finger", "hopper", "walker"])  # bodies of several geoms, and of one
def test_sizes_and_masses_are_those_that_mujoco_compiles(domain):
    path = os.path.join(os.path.dirname(dm_control.suite.__file__), f"{domain}.xml")
    model = mujoco.MjModel.from_xml_path(path)
    edits, generator = ModelEdits(model), np.random.default_rng(0)
    masses, sizes = (edits.quantities[name] for name in ("masses", "sizes"))
    density, size = (generator.uniform(0.7, 1.3, (len(part.labels), 1)) for part in (masses, sizes))
    by_body = dict(zip(masses.labels, density[:, 0], strict=True))
    factors = {}
    for label, factor in zip(sizes.labels, size[:, 0], strict=True):
        geom = model.geom(label) if not label.startswith("geom ") else model.geom(int(label[5:]))
        factors[geom.id] = (factor, by_body[model.body(model.geom_bodyid[geom.id]).name])
    nominal, expected = _compiled_with(domain, factors)
    edits.apply({"masses": density, "sizes": size})
    for field in ("body_mass", "body_inertia", "body_ipos", "geom_size", "geom_rbound", "geom_aabb", "dof_invweight0"):
        np.testing.assert_allclose(getattr(model, field), getattr(expected, field), rtol=1e-6, atol=1e-9, err_msg=field)
    ours, theirs = mujoco.MjData(model), mujoco.MjData(expected)
    for _ in range(30):
        ours.ctrl[:] = theirs.ctrl[:] = generator.uniform(-1, 1, model.nu)
        mujoco.mj_step(model, ours)
        mujoco.mj_step(expected, theirs)
    np.testing.assert_allclose(ours.qpos, theirs.qpos, atol=1e-6)
    edits.restore()
    for field in ("body_mass", "body_inertia", "body_iquat", "geom_aabb", "dof_M0", "geom_sameframe"):
        np.testing.assert_array_equal(getattr(model, field), getattr(nominal, field), err_msg=field)


def test_late_actions_move_late():
    delayed = randomise(load("dm_control/point_mass/easy"), Randomisation(action_delay=(2, 2)))
    plain = load("dm_control/point_mass/easy")
    idle, push = ({"action": np.full(2, value, np.float32)} for value in (0.0, 1.0))
    delayed.reset(), plain.reset()
    late = [delayed.step(push).observation["position"] for _ in range(4)]
    punctual = [plain.step(action).observation["position"] for action in (idle, idle, push, push)]
    np.testing.assert_array_equal(late, punctual)
    assert delayed.variation == {"action_delay": 2}


def test_noise_has_its_deviation_and_leaves_the_state():
    noisy = randomise(load("modular_rl/cheetah_7_full"), Randomisation(observation_noise=(0.1, 0.1)))
    plain = load("modular_rl/cheetah_7_full")
    seen, true = (
        np.stack([timestep.observation["limbs"] for timestep in play(environment, 0, 40)])
        for environment in (noisy, plain)
    )
    assert np.std(seen - true) == pytest.approx(0.1, rel=0.05)


def test_colours_and_cameras_change_the_image_alone():
    looks = {
        "dm_control/cheetah/run": Randomisation(
            textures=(0.3, 0.6), camera_positions=(0.2, 0.3), camera_angles=(5.0, 9.0)
        ),
        "modular_rl/hopper_4": Randomisation(colours=(0.3, 0.6)),
    }
    for task, randomisation in looks.items():
        seen, plain = randomise(load(task), randomisation), load(task)
        assert digest(play(seen, 1, 6)) == digest(play(plain, 1, 6))
        assert np.max(np.abs(seen.render().astype(float) - plain.render())) > 30


def test_lights_move_and_return():
    model = load("dm_control/cheetah/run").mujoco_model
    edits, before = ModelEdits(model), model.light_pos.copy()
    position, colour = (edits.quantities[name] for name in ("light_positions", "light_colours"))
    edits.apply({"light_positions": np.full((len(position.labels), 3), 0.5)})
    np.testing.assert_allclose(model.light_pos, before + 0.5)
    edits.restore()
    edits.apply({"light_colours": np.full((len(colour.labels), 3), 0.5)})
    np.testing.assert_array_equal(model.light_pos, before)
    assert np.all(model.light_diffuse < 0.6)


def test_an_expert_plays_a_randomised_task():
    from gato_jax.experts import ExpertActor
    from gato_jax.rollouts import play as play_episodes

    (episode,) = play_episodes(
        ExpertActor,
        [("fetch/pick_and_place", 0)],
        load=lambda name: randomise(load(name), Randomisation(masses=(0.8, 1.2), friction=(0.9, 1.1))),
    )
    assert episode.success and '"masses"' in episode.provenance.variation


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"masses": (1.2, 0.8)}, r"masses is \(1.2, 0.8\), expected the lower and upper end"),
        ({"sizes": (0.8, 0.9, 1.1)}, "sizes is"),
        ({"gear": (0.0, 1.0)}, r"randomisation.gear\[0\] is 0.0, expected a positive number"),
        ({"action_delay": (-1, 2)}, r"action_delay\[0\] is -1"),
        ({"masses": "heavy"}, "randomisation.masses is 'heavy'"),
        ({"weights": (0.8, 1.2)}, "unknown key 'weights'"),
    ],
)
def test_bad_intervals_are_named(fields, message):
    with pytest.raises(RandomisationError, match=message):
        Randomisation.from_mapping(fields)


@pytest.mark.parametrize("task", ["babyai/GoToLocal-v0", "dm_control/lqr/lqr_2_1"])
def test_a_task_without_a_model_of_its_own_is_refused(task):
    with pytest.raises(RandomisationError, match=f"{task} cannot be randomised: it has no MuJoCo model"):
        randomise(load(task), Randomisation(masses=(0.8, 1.2)))


@pytest.mark.parametrize(
    ("task", "field", "message"),
    [
        ("fetch/pick_and_place", "camera_positions", "its images are not those of the model's cameras"),
        ("modular_rl/hopper_4", "light_positions", "only images by OpenGL show the lights"),
    ],
)
def test_a_look_that_no_image_shows_is_refused(task, field, message):
    with pytest.raises(RandomisationError, match=f"{field} has an interval, but {message}"):
        randomise(load(task), Randomisation(**{field: (-0.1, 0.1)}))


def test_a_task_is_randomised_once():
    with pytest.raises(RandomisationError, match="dm_control_random_small/pendulum/swingup cannot be randomised"):
        randomise(load("dm_control_random_small/pendulum/swingup"), Randomisation(masses=(0.8, 1.2)))


def test_a_model_without_the_part_is_refused():
    with pytest.raises(RandomisationError, match="reacher/easy cannot be randomised: it has no stiffness"):
        randomise(load("dm_control/reacher/easy"), Randomisation(stiffness=(0.8, 1.2)))
