"""RGB stacking: objects that are exchanged are as compiled ones, and only a stack that nothing holds succeeds."""

# mujoco has no stubs:
# pyright: reportAttributeAccessIssue=false

import mujoco
import numpy as np
import pytest

from configs import randomisation_rgb_stacking
from gato_jax.environments import ActionError, Randomisation, load, randomise
from gato_jax.environments.rendering.raycast import RayCaster
from gato_jax.environments.suites.rgb_stacking import MAX_STEPS
from gato_jax.environments.worlds.stacking import objects, scene
from gato_jax.environments.worlds.stacking.arm import WORKSPACE
from gato_jax.environments.worlds.stacking.images import StillBackgroundRayCaster

SIDE_BY_SIDE = ("mesh_graph", "mesh_graphadr", "mesh_polyvert")  # hulls are made only for meshes in use, or reordered
SIMPLE = ("body_simple", "dof_simplenum")  # choice of a faster formula with the same result
STILL = {"velocity": np.zeros(4), "close": 0}


@pytest.fixture(scope="module")
def environment():
    return load("rgb_stacking/test_triplet4")  # the red object is a cube


def _put(environment, colour, position):
    environment.data.joint(colour).qpos[:] = (*position, 1, 0, 0, 0)
    environment.data.joint(colour).qvel[:] = 0


def test_the_sets_have_the_published_numbers_of_objects_and_none_twice():
    sizes = {name: len(objects.object_set(name)) for name in ("train", "heldout", "test_triplets")}
    assert sizes == {"train": 103, "heldout": 36, "test_triplets": 13}
    assert len(objects.mesh_files()) == 152
    assert {name for triplet in objects.TEST_TRIPLETS.values() for name in triplet} == set(
        objects.object_set("test_triplets")
    )


def test_an_exchanged_object_is_the_one_that_is_compiled():
    triplet = ("s0", "y23", "r6")  # a cube, whose inertia is diagonal, an odd one and the longest one
    exchanged = scene.build()
    scene.put_triplet(exchanged, mujoco.MjData(exchanged), triplet)
    compiled = scene.compile_scene(triplet)
    arrays = [name for name in dir(compiled) if isinstance(getattr(compiled, name), np.ndarray) and name[0] != "_"]
    assert len(arrays) > 300
    for name in arrays:
        if name not in SIDE_BY_SIDE + SIMPLE:
            np.testing.assert_allclose(getattr(exchanged, name), getattr(compiled, name), rtol=1e-12, err_msg=name)

    exchanged.body("red").mass *= 2.0  # a randomised mass
    scene.put_triplet(exchanged, mujoco.MjData(exchanged), triplet)
    assert exchanged.body("red").mass == 2.0 * objects.MASS
    np.testing.assert_allclose(exchanged.body("red").inertia, 2.0 * compiled.body("red").inertia, rtol=1e-12)


def test_the_seed_determines_objects_and_episode_in_a_used_and_a_new_instance():
    def episode(environment, seed):
        environment.seed(seed)
        timesteps = [
            environment.reset(),
            *(environment.step({"velocity": [0.05, 0, -0.05, 0.5], "close": 1}) for _ in "ab"),
        ]
        return [{key: value.tobytes() for key, value in timestep.observation.items()} for timestep in timesteps]

    used = load("rgb_stacking/skill_generalisation")
    episode(used, 3)
    objects_of_3 = dict(used.variation)
    first, objects_of_8 = episode(used, 8), dict(used.variation)
    assert objects_of_3 != objects_of_8 and set(objects_of_8) == set(objects.COLOURS)
    assert set(objects_of_8.values()) <= set(objects.object_set("train")) and len(set(objects_of_8.values())) == 3
    new = load("rgb_stacking/skill_generalisation")
    assert episode(new, 8) == first and dict(new.variation) == objects_of_8


def test_mastery_draws_each_test_triplet_and_no_other():
    environment = load("rgb_stacking/skill_mastery")
    drawn = {environment._draw(np.random.default_rng(seed)) for seed in range(40)}
    assert drawn == set(objects.TEST_TRIPLETS.values())


def test_the_config_of_sim_to_real_changes_the_drawn_objects_and_is_undone():
    config = randomisation_rgb_stacking.get_config()
    intervals = Randomisation.from_mapping(config.randomisation)
    plain = load("rgb_stacking/skill_generalisation")
    plain.observed = False
    plain.seed(5)
    plain.reset()
    triplet, names = dict(plain.variation), objects.COLOURS
    model = plain.mujoco_model
    nominal = [(model.body(name).mass[0], *model.geom(name).friction, *model.geom(name).rgba) for name in names]
    environment = randomise(plain, intervals)
    environment.observed = False
    environment.seed(5)
    environment.reset()
    changed = [(model.body(name).mass[0], *model.geom(name).friction, *model.geom(name).rgba) for name in names]
    assert {name: environment.variation[name] for name in names} == triplet
    for row, (mass, *_) in zip(changed, nominal, strict=True):
        assert row[0] != mass and row[0] == pytest.approx(mass, rel=0.2)
    assert not np.allclose(np.array(changed)[:, 1:4], np.array(nominal)[:, 1:4])
    assert environment.variation["action_delay"] in range(3)
    environment.step(STILL)


def test_images_of_all_renderers_show_the_same_scene(environment):
    environment.seed(1)
    environment.reset()
    environment.arm.place(np.array([0.6, 0.0, 0.12]), 0.4)  # the gripper is in both images
    mujoco.mj_forward(environment.mujoco_model, environment.data)
    for key, camera in scene.CAMERAS.items():
        index = environment.mujoco_model.camera(camera).id
        plain, fast = (
            kind(environment.mujoco_model, index, height=128, width=128)
            for kind in (RayCaster, StillBackgroundRayCaster)
        )
        expected, image = plain.render(environment.data), fast.render(environment.data)
        np.testing.assert_array_equal(image, expected)
        observed = environment._observe()[
            key
        ]  # by the renderer of the process, which lights and smooths in another way
        assert np.mean(np.abs(observed.astype(int) - expected).max(axis=-1) > 90) < 0.03
        colours = expected.reshape(-1, 3).astype(int)
        for channel in range(3):  # each object is seen
            others = np.delete(colours, channel, axis=1).max(axis=1)
            assert np.sum(colours[:, channel] > others + 60) > 20


def test_only_the_last_step_is_rewarded_and_only_for_a_free_stack(environment):
    environment.seed(0)
    environment.max_steps = 4
    environment.reset()
    floor = scene.BASKET_CENTRE[2]
    _put(environment, "green", (0.5, -0.1, floor + 0.05))
    _put(environment, "blue", (0.62, 0.05, floor + 0.049))
    blue_height = np.ptp(environment.object_vertices("blue")[:, 2])
    _put(environment, "red", (0.62, 0.05, floor + 0.001 + blue_height + 0.026))
    timesteps = [environment.step(STILL) for _ in range(4)]
    environment.max_steps = environment.task_spec.max_steps
    assert environment.success is True and environment.score(0.0) == 1.0
    assert [timestep.reward for timestep in timesteps] == [0, 0, 0, 1] and timesteps[-1].last()
    assert environment.criteria.stacked()

    stacked = environment.data.qpos.copy()
    for colour, offset in (("red", (0.06, 0, 0)), ("red", (0, 0, 0.01)), ("blue", (0, 0.06, 0))):
        environment.data.qpos[:] = stacked
        environment.data.joint(colour).qpos[:3] += offset  # beside, above and without support
        mujoco.mj_forward(environment.mujoco_model, environment.data)
        assert not environment.criteria.stacked()
    environment.data.qpos[:] = stacked
    environment.arm.place(environment.object_pose("red")[:3] + [0, 0, 0.02], 0.0)  # the open hand is around red
    environment.data.joint("red").qpos[1] += 0.035
    mujoco.mj_forward(environment.mujoco_model, environment.data)
    assert not environment.criteria.stacked()


def test_the_gripper_moves_as_commanded_within_the_workspace(environment):
    environment.seed(2)
    environment.reset()
    before = environment.arm.pinch_pose
    environment.arm.command(np.zeros(4), close=False)
    mujoco.mj_step(environment.mujoco_model, environment.data, 1000)
    np.testing.assert_allclose(environment.arm.pinch_pose, before, atol=2e-3)  # it holds still
    for _ in range(40):
        environment.arm.command(np.array([0.07, 0.0, 0.0, 0.0]), close=True)
        mujoco.mj_step(environment.mujoco_model, environment.data, 100)
    after = environment.arm.pinch_pose
    assert after[0] == pytest.approx(min(before[0] + 0.14, WORKSPACE[1, 0]), abs=0.015)
    np.testing.assert_allclose(after[1:3], before[1:3], atol=3e-3)
    np.testing.assert_allclose(after[3:], before[3:], atol=1e-2)  # neither tilted nor turned
    assert environment.arm.gripper > 250


def test_actions_out_of_limits_are_refused(environment):
    environment.reset()
    with pytest.raises(ActionError, match="outside the limits"):
        environment.step({"velocity": np.array([0.08, 0, 0, 0]), "close": 0})
    with pytest.raises(ActionError, match="'close'"):
        environment.step({"velocity": np.zeros(4), "close": 2})


@pytest.mark.slow
def test_moves_written_by_hand_stack_a_cylinder_on_a_cube():
    environment = load("rgb_stacking/test_triplet5")
    environment.observed = False
    environment.seed(3)
    environment.reset()
    timesteps = []

    def move(target, turn=0.0, close=0, steps=60):
        for _ in range(steps):
            error = target - environment.arm.pinch_pose[:3]
            velocity = np.append(error * min(5.0, 0.07 / np.abs(error).max()), turn)
            if len(timesteps) < MAX_STEPS:
                timesteps.append(environment.step({"velocity": velocity.clip(-0.07, 0.07), "close": close}))

    red, blue = environment.object_pose("red")[:3], environment.object_pose("blue")[:3]
    move([*red[:2], 0.2], steps=90)
    move(red)
    assert not environment.criteria.grasped()
    move(red, close=1, steps=20)
    assert environment.criteria.grasped() and environment.criteria.shaped_reward() == pytest.approx(0.2, abs=1e-3)
    move([*red[:2], 0.2], close=1, steps=45)
    move([*blue[:2], 0.2], close=1, steps=60)
    assert environment.criteria.grasped() and 0.4 < environment.criteria.shaped_reward() <= 0.6
    move([*blue[:2], blue[2] + 0.052], close=1, steps=35)
    assert not environment.criteria.stacked()  # it is still held
    move([*blue[:2], 0.25], steps=100)
    assert timesteps[-1].last() and timesteps[-1].reward == 1.0 and environment.success is True
    assert sum(timestep.reward for timestep in timesteps) == 1.0 and environment.criteria.shaped_reward() > 0.8
