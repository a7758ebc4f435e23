"""Tests of the steps of RLDS datasets: whether the last one has an action, how they are counted, and their images."""

import dataclasses
import io
import json
import logging

import numpy as np
import PIL.Image
import pytest

from gato_jax.episodes import Continuous, Discrete, Episode, Image, Provenance, write_dataset
from gato_jax.episodes.tfds_writer import atomic_dataset, write_examples
from gato_jax.sources import SourceError, open_rlds
from gato_jax.sources.fields import Fields
from gato_jax.sources.reader import EpisodeRejected
from gato_jax.sources.rlds.tables import RLDS_DATASETS

ACTIONS = [2, 2, 2, 1, 1, 2, 2, 2, 0]
FIELDS = Fields(
    suite="lab",
    task="turn",
    observation={"state": ("observation/state", Continuous(shape=(2,)))},
    action={"turn": ("action", Discrete(n=3))},
    provenance=Provenance(source="a test", licence="MIT", kind="simulated"),
    reward="reward",
)


def steps_of(actions, flags=("is_first", "is_last", "is_terminal"), **changes):
    last = len(actions) - 1
    known = {"is_first": lambda t: t == 0, "is_last": lambda t: t == last, "is_terminal": lambda t: t == last}
    return [
        {
            "observation": {"state": np.array([t, -t], np.float32)},
            "action": np.int64(action),
            "reward": np.float32(t),
            **{flag: known[flag](t) for flag in flags},
            **{name: values[t] for name, values in changes.items()},
        }
        for t, action in enumerate(actions)
    ]


def write(tmp_path, episodes, name="turns", flags=("is_first", "is_last", "is_terminal"), **more):
    """Write a dataset of episodes, and return its folder; `more` are further features of the steps."""
    import tensorflow_datasets as tfds

    steps = {
        "observation": {"state": tfds.features.Tensor(shape=(2,), dtype=np.float32)},
        "action": np.int64,
        "reward": np.float32,
        **dict.fromkeys(flags, np.bool_),
        **more,
    }
    directory = tmp_path / name / "1.0.0"
    with atomic_dataset(directory) as staging:
        features = tfds.features.FeaturesDict({"steps": tfds.features.Dataset(steps)})
        write_examples(staging, directory, features, {"train": [{"steps": one} for one in episodes]})
    return directory


def test_the_last_step_has_no_action_as_rlds_defines_it(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    reader = open_rlds(write(tmp_path, [steps_of(ACTIONS)]), fields=FIELDS)
    episode = reader[0]
    assert episode.final_observation and episode.acting_steps == 8 and reader.lengths.tolist() == [9]
    assert episode.action["turn"].tolist() == ACTIONS and episode.observation["state"][-1].tolist() == [8.0, -8.0]
    assert "the last step of an episode holds an observation without an action (the meaning of is_last" in caplog.text


def test_fields_and_named_entries_say_otherwise(tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    directory = write(tmp_path, [steps_of(ACTIONS)])
    acting = open_rlds(directory, fields=dataclasses.replace(FIELDS, final_observation=False))
    assert not acting[0].final_observation and acting[0].acting_steps == 9
    assert "has an action like the others (the fields say so)" in caplog.text
    assert acting.fingerprint != open_rlds(directory, fields=FIELDS).fingerprint
    caplog.clear()
    monkeypatch.setitem(RLDS_DATASETS, "turns", dataclasses.replace(RLDS_DATASETS["bridge"], fields=FIELDS))
    assert not open_rlds(directory)[0].final_observation and "(assumed, as the converters of Open X" in caplog.text
    said = dataclasses.replace(FIELDS, final_observation=True)
    assert open_rlds(directory, fields=said)[0].final_observation


@pytest.mark.parametrize("final", [True, False])
def test_a_dataset_of_ours_says_itself_whether_its_last_step_has_an_action(tmp_path, final):
    said = Episode(
        task="lab/turn",
        observation={"state": np.zeros((3, 2), np.float32)},
        action={"turn": np.array([1, 2, 0])},
        reward=np.zeros(3, np.float32),
        discount=np.ones(3, np.float32),
        is_first=np.arange(3) == 0,
        is_last=np.arange(3) == 2,
        is_terminal=np.zeros(3, bool),
        provenance=FIELDS.provenance,
        final_observation=final,
    )
    directory = write_dataset(tmp_path, FIELDS.spec, {"train": [said]})
    action = {"turn": ("action/turn", Discrete(n=3))}
    episode = open_rlds(directory, fields=dataclasses.replace(FIELDS, action=action))[0]
    assert episode.final_observation == final and episode.action["turn"].tolist() == [1, 2, 0]


def test_an_episode_that_was_cut_has_an_action_at_its_last_step(tmp_path):
    reader = open_rlds(write(tmp_path, [steps_of([1, 2, 0], is_last=[False] * 3)]), fields=FIELDS)
    assert not reader[0].final_observation and reader[0].acting_steps == 3


def test_an_action_that_was_not_taken_may_be_anything(tmp_path):
    episodes = [steps_of([1, 2, -1]), steps_of([1, 7, 0])]
    reader = open_rlds(write(tmp_path, episodes), fields=FIELDS)
    assert reader[0].action["turn"].tolist() == [1, 2, 0]
    with pytest.raises(EpisodeRejected, match=r"is 7 at step 1, expected a value in \[0, 3\)"):
        reader[1]
    with pytest.raises(EpisodeRejected, match=r"is -1 at step 2, expected a value in \[0, 3\)"):
        open_rlds(write(tmp_path, episodes, "more"), fields=dataclasses.replace(FIELDS, final_observation=False))[0]


def test_an_episode_of_its_final_observation_alone_is_refused(tmp_path):
    reader = open_rlds(write(tmp_path, [steps_of([1])]), fields=FIELDS)
    with pytest.raises(EpisodeRejected, match="its only step is its final observation.*Set final_observation to false"):
        reader[0]


@pytest.mark.parametrize("flags", [(), ("is_last",), ("is_terminal",)])
def test_steps_without_is_first(tmp_path, flags, caplog):
    caplog.set_level(logging.INFO)
    episodes = [steps_of(ACTIONS, flags), steps_of(ACTIONS[:4], flags)]
    reader = open_rlds(write(tmp_path, episodes, flags=flags), fields=FIELDS)
    assert reader.lengths.tolist() == [9, 4] and not reader.rejected
    assert reader[1].action["turn"].tolist() == ACTIONS[:4] and reader[1].is_first.tolist() == [True] + [False] * 3
    assert reader[1].final_observation == ("is_last" in flags)
    assert flags or "has an action like the others (the steps have no is_last)" in caplog.text


def test_steps_are_counted_by_a_vector_if_there_is_nothing_else(tmp_path):
    import tensorflow_datasets as tfds

    directory = tmp_path / "vectors" / "1.0.0"
    state = {"state": tfds.features.Tensor(shape=(2,), dtype=np.float32)}
    with atomic_dataset(directory) as staging:
        features = tfds.features.FeaturesDict({"steps": tfds.features.Dataset(state)})
        episodes = [{"steps": [{"state": np.full(2, t, np.float32)} for t in range(count)]} for count in (3, 5)]
        write_examples(staging, directory, features, {"train": episodes})
    observed = {"state": ("state", Continuous(shape=(2,)))}
    reader = open_rlds(directory, fields=dataclasses.replace(FIELDS, observation=observed, action={}, reward=None))
    assert reader.lengths.tolist() == [3, 5] and len(reader[1]) == 5
    with atomic_dataset(tmp_path / "none" / "1.0.0") as staging:
        features = tfds.features.FeaturesDict({"state": np.float32})
        write_examples(staging, tmp_path / "none" / "1.0.0", features, {"train": [{"state": np.float32(1)}]})
    with pytest.raises(SourceError, match="it has no steps, only state. Give a dataset of episodes in RLDS"):
        open_rlds(tmp_path / "none" / "1.0.0", fields=FIELDS)


def test_d4rl_appends_a_step_to_some_episodes_only(tmp_path, monkeypatch):
    ended, cut = [1.0, 0.0, 0.0], [1.0, 1.0, 1.0]
    episodes = [steps_of([1, 2, 0], discount=np.array(discounts, np.float32)) for discounts in (ended, cut)]
    directory = write(tmp_path, episodes, discount=np.float32)
    entry = dataclasses.replace(RLDS_DATASETS["d4rl_mujoco_hopper/v2-medium"], fields=FIELDS)
    monkeypatch.setitem(RLDS_DATASETS, "turns", entry)
    ended, cut = open_rlds(directory)
    assert (ended.acting_steps, cut.acting_steps) == (2, 3)


def test_a_placeholder_reward_does_not_count(tmp_path, monkeypatch):
    directory = write(tmp_path, [steps_of(ACTIONS)])
    name = "rlu_rwrl/walker_walk_combined_challenge_none_1_percent"
    monkeypatch.setitem(RLDS_DATASETS, "turns", dataclasses.replace(RLDS_DATASETS[name], fields=FIELDS))
    assert open_rlds(directory)[0].reward.tolist() == [*range(8), 0]
    monkeypatch.setitem(RLDS_DATASETS, "turns", dataclasses.replace(RLDS_DATASETS["bridge"], fields=FIELDS))
    assert open_rlds(directory)[0].reward.tolist() == [*range(9)]


def png(pixels: np.ndarray, **settings) -> io.BytesIO:
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "PNG", **settings)
    return io.BytesIO(file.getvalue())


def test_images_are_read_as_tfds_reads_them_or_refused(tmp_path):
    import tensorflow_datasets as tfds

    random = np.random.default_rng(0)
    metres = random.uniform(0.3, 5, (6, 8, 1)).astype(np.float32)
    millimetres, colours = random.integers(300, 5000, (6, 8), np.uint16), random.integers(0, 256, (6, 8, 3), np.uint8)
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    images = {
        "metres": png(metres.view(np.uint8).reshape(6, 8, 4)),  # as TFDS encodes an image of float32
        "millimetres": png(millimetres),
        "turned": png(colours, exif=exif.tobytes()),
        "grey": png(colours[..., 0]),
    }
    features = {
        "metres": tfds.features.Image(shape=(6, 8, 4)),  # declared as float32 below; its encoder would start TensorFlow
        "millimetres": tfds.features.Image(shape=(6, 8, 1), dtype=np.uint16),
        "turned": tfds.features.Image(shape=(6, 8, 3)),
        "grey": tfds.features.Image(shape=(6, 8, 3)),
    }
    episode = steps_of(
        [1, 2], **{name: [io.BytesIO(file.getvalue()) for _ in range(2)] for name, file in images.items()}
    )
    directory = write(tmp_path, [episode], **features)
    declared = json.loads((directory / "features.json").read_text())
    steps = declared["featuresDict"]["features"]["steps"]["sequence"]["feature"]["featuresDict"]["features"]
    steps["metres"]["image"] |= {"shape": {"dimensions": ["6", "8", "1"]}, "dtype": "float32"}
    (directory / "features.json").write_text(json.dumps(declared))
    by_tfds = next(iter(tfds.builder_from_directory(directory).as_data_source("train")))["steps"]
    by_tfds = list(by_tfds)[0]

    def read(path, channels=3):
        observed = {"camera": (path, Image(height=6, width=8, channels=channels))}
        return open_rlds(directory, fields=dataclasses.replace(FIELDS, observation=observed))[0].observation["camera"][
            0
        ]

    np.testing.assert_array_equal(read("turned"), by_tfds["turned"])
    np.testing.assert_array_equal(read("turned"), colours)  # not turned: the features declare its size
    np.testing.assert_array_equal(read("grey"), np.repeat(colours[..., :1], 3, 2))
    for name, depth, near, far in (("metres", metres, 0.5, 4), ("millimetres", millimetres[..., None], 500, 4000)):
        np.testing.assert_array_equal(by_tfds[name], depth)
        expected = np.rint(255 * np.clip((depth.astype(float) - near) / (far - near), 0, 1))
        np.testing.assert_array_equal(read(f"depth({name}, {near}, {far})", 1), expected)
        with pytest.raises(EpisodeRejected, match=rf"is {depth.dtype} of shape \(6, 8, 1\), expected uint8"):
            read(name)
