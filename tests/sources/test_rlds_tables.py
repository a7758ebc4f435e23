"""Tests of the table of RLDS datasets against the features in TFDS's catalogue and builders."""

import json

import numpy as np
import PIL.Image
import pytest

from gato_jax.episodes import Continuous, Discrete, Image, Text
from gato_jax.sources import open_rlds
from gato_jax.sources.field_paths import parse_path
from gato_jax.sources.rlds.tables import RLDS_DATASETS
from tests.sources import made_open_x as made
from tests.warm_python import TENSORFLOW, run_warm

# Datasets that TFDS writes with the features of its own builders, and their file formats.
WRITTEN = {
    "rlu_atari/Pong_run_1": "tfrecord",
    "rlu_control_suite/fish_swim": "array_record",
    "rlu_locomotion/humanoid_corridor": "tfrecord",
    "rlu_locomotion/rodent_mazes": "array_record",
    "rlu_dmlab_seekavoid_arena01/snapshot_1_eps_0.25": "tfrecord",
    "d4rl_mujoco_hopper/v2-medium": "array_record",
    "d4rl_mujoco_ant/v1-medium-replay": "tfrecord",
    "d4rl_antmaze/umaze-v0": "array_record",
    "d4rl_adroit_pen/v1-human": "tfrecord",
    "robomimic_ph/transport_ph_image": "array_record",
    "robomimic_mg/lift_mg_low_dim": "tfrecord",
    "robosuite_panda_pick_place_can/human_images_dc29b40a": "array_record",
    "mt_opt/rlds": "tfrecord",
}
OF_BUILDERS = [name for name in RLDS_DATASETS if "/" in name and not name.startswith("rlu_rwrl")]


def fields_of(entry):
    """Yield (path in the recording, modality) of each key."""
    for side in (entry.fields.observation, entry.fields.action):
        for path, modality in side.values():
            yield parse_path(path).name, modality


@pytest.fixture(scope="module")
def of_tfds(tmp_path_factory):
    """Folder of datasets that a subprocess writes with TFDS, and the features of TFDS's builders."""
    root = tmp_path_factory.mktemp("tfds")
    request = root / "request.json"
    request.write_text(json.dumps({"written": WRITTEN, "features": OF_BUILDERS}))
    result = run_warm(["-m", "tests.sources.write_with_tfds", request, root], TENSORFLOW)
    assert result.returncode == 0, result.stderr[-3000:]
    return root, json.loads((root / "features.json").read_text())


@pytest.mark.parametrize("name", made.FEATURES)
def test_an_open_x_dataset_reads_as_its_catalogue_lists_it(name, tmp_path):
    number = list(made.FEATURES).index(name)
    directory, examples = made.write_open_x(tmp_path, name, ("array_record", "tfrecord")[number % 2])
    dataset, entry = open_rlds(directory), RLDS_DATASETS[name]
    assert len(dataset) == 2 and dataset.lengths.tolist() == [3, 4] and not dataset.rejected
    episode, steps = dataset[0], examples[0]["steps"]
    assert episode.provenance.kind == "real" and episode.final_observation == (name == "language_table")
    assert episode.observation["instruction"].tolist() == [made.INSTRUCTION] * 3
    np.testing.assert_array_equal(episode.reward, [step["reward"] for step in steps])
    for side in ("observation", "action"):
        for key, (path, modality) in getattr(entry.fields, side).items():
            read, parsed = getattr(episode, side)[key], parse_path(path)
            plain, part = parsed.name, next((one for one in parsed.conversions if isinstance(one, slice)), None)
            recorded = []
            for step in steps:
                branch = step
                for part_of_path in (plain,) if plain in step else plain.split("/", 1):
                    branch = branch[part_of_path]
                recorded.append(branch)
            if isinstance(modality, Image):
                colour = np.asarray(PIL.Image.open(recorded[1]))[0, 0]
                expected = colour[::-1] if path.startswith("bgr_to_rgb") else colour
                assert read.shape == (3, 64, 64, 3) and (read[1] == expected).all()
            elif not isinstance(modality, Text):
                whole = np.stack([np.asarray(value) for value in recorded])
                np.testing.assert_array_equal(read, (whole if part is None else whole[:, part]).astype(read.dtype))


def test_success_of_an_episode_is_read_where_it_lies(tmp_path):
    for name, lies in (("kuka", lambda example: example["success"]),
                       ("bc_z", lambda example: example["steps"][-1]["observation"]["episode_success"])):  # fmt: skip
        directory, examples = made.write_open_x(tmp_path, name)
        assert [episode.success for episode in open_rlds(directory)] == [bool(lies(example)) for example in examples]


@pytest.mark.parametrize("name", WRITTEN)
def test_a_dataset_with_the_features_of_its_builder_is_read(name, of_tfds):
    root, _ = of_tfds
    (directory,) = (root / name).glob("*.*.*")
    with np.load(directory / "expected.npz") as expected:
        dataset, entry = open_rlds(directory), RLDS_DATASETS[name]
        assert dataset.spec.name == f"{entry.fields.suite}/{entry.fields.task}" and dataset.lengths.tolist() == [4, 4]
        episode = dataset[1]
        is_final = not entry.final_if_discount_is_zero or expected["discount"][-1] == 0
        assert episode.final_observation == (entry.final_observation and is_final)
        assert episode.is_last.tolist() == [False] * 3 + [True]
        for side in ("observation", "action"):
            for key, (path, modality) in getattr(entry.fields, side).items():
                if isinstance(modality, Text):
                    continue
                read, recorded = getattr(episode, side)[key], expected[parse_path(path).name]
                if not isinstance(modality, Image):
                    np.testing.assert_array_equal(read, recorded.astype(read.dtype))
                elif read.shape[1:3] == recorded.shape[1:3]:  # a grey channel is repeated
                    np.testing.assert_array_equal(read, np.broadcast_to(recorded, read.shape))
        reward = np.zeros(4) if entry.fields.reward is None else expected["reward"]
        np.testing.assert_array_equal(episode.reward, reward.astype(np.float32))


def test_every_field_is_one_of_its_builder(of_tfds):
    _, features = of_tfds
    for name, said in features.items():
        for path, modality in fields_of(RLDS_DATASETS[name]):
            shape, dtype = said[path.lstrip("/") if path.startswith("/") else f"steps/{path}"]
            where = f"{name}: {path}"
            if isinstance(modality, Image):
                assert dtype == "uint8" and len(shape) == 3, where
            elif not isinstance(modality, Text):
                assert tuple(shape) == modality.shape, where
                kinds = ("bool", "int") if isinstance(modality, Discrete) else ("float",)
                assert dtype.startswith(kinds), where


def test_every_configuration_of_a_builder_is_known(of_tfds):
    root, _ = of_tfds
    for suite, tasks in json.loads((root / "configurations.json").read_text()).items():
        known = {name.split("/", 1)[1] for name in RLDS_DATASETS if name.startswith(f"{suite}/")}
        assert known == set(tasks) - {"sd"}, suite  # mt_opt/sd holds no episodes


def test_every_entry_can_be_a_task():
    assert len(RLDS_DATASETS) > 600
    for name, entry in RLDS_DATASETS.items():
        spec = entry.fields.spec
        assert entry.action_meaning and entry.fields.provenance.licence, name
        for modality in spec.action.values():
            if isinstance(modality, Continuous):
                low, high = modality.limits
                assert np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all(), name
        assert (spec.suite == "open_x") == (entry.location is not None), name
