"""Tests of the Minari reader on datasets that Minari's own collector wrote, intact and damaged."""

import dataclasses
import json
import pickle
import warnings

import gymnasium
import h5py
import minari
import numpy as np
import pytest
from gymnasium import spaces
from minari.data_collector.episode_buffer import EpisodeBuffer

from gato_jax.episodes import Continuous, Discrete, Image, Provenance, Text
from gato_jax.sources import EpisodeReader, SourceError
from gato_jax.sources.fields import Fields
from gato_jax.sources.minari.reader import open_minari
from gato_jax.sources.reader import EpisodeRejected

OBSERVATION = spaces.Dict(
    {
        "camera": spaces.Box(0, 255, (48, 64, 3), np.uint8),
        "arm": spaces.Dict({"joints": spaces.Box(-np.inf, np.inf, (3,), np.float64), "closed": spaces.Discrete(2)}),
        "mission": spaces.Text(30),
    }
)
ACTION = spaces.Box(np.array([1.0, -1.0], np.float32), np.array([3.0, 1.0], np.float32))


class Reach(gymnasium.Env):
    """Environment that terminates, or is truncated, after `length` steps."""

    observation_space, action_space = OBSERVATION, ACTION

    def __init__(self, length=4, terminates=True):
        self.length, self.terminates = length, terminates

    def _observe(self):
        joints = np.full(3, self.time + 0.5)
        arm = {"joints": joints, "closed": np.int64(self.time % 2)}
        return {"camera": np.full((48, 64, 3), 20 * self.time, np.uint8), "arm": arm, "mission": "reach it"}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self._observe(), {"success": False, "time": 0.0}

    def step(self, action):
        self.time += 1
        last = self.time == self.length
        info = {"success": last and self.terminates, "time": 0.1 * self.time}
        return self._observe(), float(self.time), last and self.terminates, last and not self.terminates, info


@pytest.fixture(params=["hdf5", "arrow"])
def folder(request, tmp_path, monkeypatch):
    """Write a dataset of three episodes: 4 steps, 4 steps with termination, and 2 steps with truncation."""
    return collect(tmp_path, monkeypatch, request.param)


def collect(tmp_path, monkeypatch, data_format="hdf5"):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))
    environment = Reach()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        collector = minari.DataCollector(environment, record_infos=True, data_format=data_format)
        for seed, (length, terminates) in enumerate(((4, True), (4, True), (2, False))):
            environment.length, environment.terminates = length, terminates
            collector.reset(seed=100 + seed)
            for step in range(length):
                collector.step(np.array([1 + step / 4, seed / 4], np.float32))
        collector.create_dataset(
            "arm/reach-v0", algorithm_name="scripted", author={"B", "A"}, code_permalink="https://example.org/reach"
        )
    return tmp_path / "datasets" / "arm" / "reach-v0"


def test_spaces_become_modalities_and_metadata_provenance(folder):
    reader = open_minari(folder)
    assert isinstance(reader, EpisodeReader) and reader.lengths.tolist() == [5, 5, 3] and not reader.rejected
    assert reader.spec.name == "minari/arm/reach-v0" and reader.spec.control_rate_hz is None
    assert reader.spec.observation == {
        "arm/closed": Discrete(n=2),
        "arm/joints": Continuous(shape=(3,)),
        "camera": Image(height=48, width=64),
        "mission": Text(),
    }
    assert reader.spec.action == {"action": Continuous(shape=(2,), low=(1.0, -1.0), high=(3.0, 1.0))}
    provenance = reader[0].provenance
    assert provenance.kind == "simulated" and provenance.agent == "scripted" and provenance.collector == "A, B"
    assert provenance.source == "Minari, arm/reach-v0, https://example.org/reach"
    assert open_minari("arm/reach-v0").fingerprint == open_minari(folder / "data").fingerprint == reader.fingerprint


def test_the_last_observation_is_kept_and_its_action_is_a_placeholder(folder):
    reader = open_minari(folder)
    first, _, cut = reader
    assert first.final_observation and len(first) == 5 and first.acting_steps == 4
    np.testing.assert_array_equal(first.observation["arm/joints"][:, 0], np.arange(5) + 0.5)
    assert first.observation["arm/closed"].tolist() == [0, 1, 0, 1, 0]
    assert first.observation["mission"].tolist() == ["reach it"] * 5
    assert np.abs(first.observation["camera"].mean((1, 2, 3)) - 20 * np.arange(5)).max() < 2  # JPEG
    np.testing.assert_array_equal(first.action["action"][:, 0], [1.0, 1.25, 1.5, 1.75, 1.0])  # zero is below its limit
    np.testing.assert_array_equal(first.action["action"][-1], [1.0, 0.0])
    assert first.reward.tolist() == [1, 2, 3, 4, 0] and first.discount.tolist() == [1, 1, 1, 0, 0]
    assert first.is_terminal.tolist() == first.is_last.tolist() == [False] * 4 + [True]
    assert (first.seed, first.success) == (100, True)
    assert (cut.seed, cut.success) == (102, False) and not cut.is_terminal.any() and cut.is_last[-1]
    assert cut.discount.tolist() == [1, 1, 0]
    assert pickle.loads(pickle.dumps(reader))[-1].action["action"].shape == (3, 2)


def test_fields_choose_parts_and_limits(folder):
    fields = dataclasses.replace(
        inferred(folder),
        observation={"x": ("observations/arm/joints[0:1]", Continuous(shape=(1,)))},
        action={"action": ("actions[1:2]", Continuous(shape=(1,), low=0.5, high=2.0))},
        timestamps="infos/time",
    )
    episode = open_minari(folder, fields=fields)[1]
    assert set(episode.observation) == {"x"} and episode.action["action"].ravel().tolist() == [0.25] * 4 + [0.5]
    with pytest.raises(EpisodeRejected, match="episode 1: it has no field 'observations/leg'"):
        missing = dataclasses.replace(fields, observation={"leg": ("observations/leg", Continuous(shape=(1,)))})
        open_minari(folder, fields=missing)[1]


def inferred(folder):
    from gato_jax.sources.minari.spaces import infer_fields

    return infer_fields(minari.MinariDataset(folder / "data").storage, "here")


def buffer(observations, actions, steps=2):
    flags = [False] * steps
    return EpisodeBuffer(
        observations=observations, actions=actions, rewards=[0.0] * steps, terminations=flags, truncations=flags
    )


@pytest.mark.parametrize(
    ("observation", "action", "message"),
    [
        (
            spaces.Box(-1, 1, (2,)),
            spaces.Box(-np.inf, np.inf, (2,)),
            "action 'action' has limits -inf.*expected finite limits. Pass fields",
        ),
        (
            spaces.Box(0, 255, (4, 32, 32), np.uint8),
            spaces.Discrete(3),
            r"observations is a box of uint8 and shape \(4, 32, 32\), expected an image of shape",
        ),
        (
            spaces.Box(0, 255, (32, 32, 2), np.uint8),
            spaces.Discrete(3),
            r"shape \(32, 32, 2\), expected an image.*declare its number of channels",
        ),
        (
            spaces.Box(-1, 1, (2,)),
            spaces.MultiDiscrete([[2, 3], [2, 2]]),
            "actions is MultiDiscrete.*expected one axis, or elements that all have the same values",
        ),
    ],
)
def test_spaces_without_a_modality_name_the_remedy(tmp_path, monkeypatch, observation, action, message):
    create(tmp_path, monkeypatch, [], observation, action)
    with pytest.raises(SourceError, match=message):
        open_minari("odd-v0")


def create(tmp_path, monkeypatch, buffers, observation, action):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        minari.create_dataset_from_buffers(
            "odd-v0", buffers, observation_space=observation, action_space=action, jpeg_encoding=False
        )
    return tmp_path / "odd-v0"


def test_tuples_and_multi_discrete_spaces(tmp_path, monkeypatch):
    observation = spaces.Tuple((spaces.Box(0, 255, (32, 40), np.uint8), spaces.MultiBinary(3)))
    seen = (np.arange(3 * 32 * 40, dtype=np.uint8).reshape(3, 32, 40), np.ones((3, 3), np.int8))
    done = np.array([[0, 3], [2, 1]])
    create(tmp_path, monkeypatch, [buffer(seen, done)], observation, spaces.MultiDiscrete([4, 4]))
    reader = open_minari("odd-v0")
    assert reader.spec.observation == {"0": Image(height=32, width=40, channels=1), "1": Discrete(n=2, shape=(3,))}
    assert reader.spec.action == {"action": Discrete(n=4, shape=(2,))}
    np.testing.assert_array_equal(reader[0].observation["0"][..., 0], seen[0])
    assert reader[0].action["action"].tolist() == [[0, 3], [2, 1], [0, 0]] and reader[0].success is None


@pytest.mark.parametrize(
    ("space", "taken", "modalities", "expected"),
    [
        (spaces.Discrete(3, start=5), [5, 7], {"action": Discrete(n=3)}, {"action": [0, 2, 0]}),
        (spaces.Discrete(3, start=-1), [-1, 1], {"action": Discrete(n=3)}, {"action": [0, 2, 1]}),
        (
            spaces.MultiDiscrete([2, 3]),
            [[0, 1], [1, 2]],
            {"action/0": Discrete(n=2, shape=(1,)), "action/1": Discrete(n=3, shape=(1,))},
            {"action/0": [[0], [1], [0]], "action/1": [[1], [2], [0]]},
        ),
        (
            spaces.MultiDiscrete([3, 4], start=[1, 2]),
            [[1, 2], [3, 5]],
            {"action/0": Discrete(n=3, shape=(1,)), "action/1": Discrete(n=4, shape=(1,))},
            {"action/0": [[0], [2], [0]], "action/1": [[0], [3], [0]]},
        ),
        (
            spaces.MultiBinary(2),
            [[0, 1], [1, 1]],
            {"action": Discrete(n=2, shape=(2,))},
            {"action": [[0, 1], [1, 1], [0, 0]]},
        ),
    ],
)
def test_spaces_of_integers(tmp_path, monkeypatch, space, taken, modalities, expected):
    taken = np.array(taken, np.int8 if isinstance(space, spaces.MultiBinary) else np.int64)
    create(tmp_path, monkeypatch, [buffer(np.zeros((3, 2), np.float32), taken)], spaces.Box(-1, 1, (2,)), space)
    reader = open_minari("odd-v0")
    assert reader.spec.action == modalities
    assert {key: values.tolist() for key, values in reader[0].action.items()} == expected
    assert reader[0].final_observation and reader[0].acting_steps == 2
    wrong = inferred_of(reader, tmp_path)
    with pytest.raises(SourceError, match="final_observation is false, expected true or none"):
        open_minari("odd-v0", fields=dataclasses.replace(wrong, final_observation=False))


def inferred_of(reader, root):
    from gato_jax.sources.minari.spaces import infer_fields

    return infer_fields(minari.MinariDataset(root / "odd-v0" / "data").storage, "here")


def test_an_image_of_two_channels_by_fields(tmp_path, monkeypatch):
    seen = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 2), np.uint8)
    create(
        tmp_path, monkeypatch, [buffer(seen, np.array([0, 1]))], spaces.Box(0, 255, (4, 4, 2), np.uint8),
        spaces.Discrete(3),
    )  # fmt: skip
    fields = Fields(
        suite="minari",
        task="odd",
        observation={
            "both": ("observations", Image(height=2, width=2, channels=2)),
            "first": ("drop_alpha(observations)", Image(height=4, width=4, channels=1)),
        },
        action={"action": ("actions", Discrete(n=3))},
        provenance=Provenance(source="a test", licence="MIT", kind="simulated"),
    )
    observation = open_minari("odd-v0", fields=fields)[0].observation
    np.testing.assert_array_equal(observation["first"], seen[..., :1])
    mean = seen.reshape(3, 2, 2, 2, 2, 2).mean((2, 4))
    assert np.abs(observation["both"] - mean).max() <= 1  # each channel is averaged by itself


def nan_actions(episode):
    episode["actions"][1, 0] = np.nan


def missing_field(episode):
    del episode["observations/arm/joints"]


def other_dtype(episode):
    del episode["observations/arm/joints"]
    episode["observations/arm/joints"] = np.full((5, 3), b"x")


def time_backwards(episode):
    episode["infos/time"][2] = 0.0


def too_few(episode):
    del episode["rewards"]
    episode["rewards"] = np.zeros(3)


def ends_early(episode):
    episode["terminations"][1] = True


def torn_picture(episode):
    images = episode["observations/camera"]
    images[1] = images[1][:100]


def other_size(episode):
    del episode["observations/arm/joints"]
    episode["observations/arm/joints"] = np.zeros((5, 4))


def link(episode):
    del episode["infos/success"]
    episode["infos/success"] = h5py.ExternalLink("/etc/passwd", "/")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (nan_actions, "action 'action' .* is nan at step 1"),
        (missing_field, "no field 'observations/arm/joints'"),
        (other_dtype, "has type .S1, expected numbers"),
        (time_backwards, "time goes from 0.1 to 0.0 at step 2"),
        (too_few, "it has 3 rewards, expected 4 by its metadata"),
        (ends_early, "is_terminal is true at step 2 of 5"),
        (torn_picture, "it cannot be read and may be damaged"),
        (other_size, r"has shape \(4,\) at each step, expected \(3,\)"),
        (link, "'episode_0/infos/success' is a link to another file, '/etc/passwd'"),
    ],
)
def test_a_damaged_episode_is_refused_and_the_others_stay(tmp_path, monkeypatch, damage, message):
    folder = collect(tmp_path, monkeypatch)
    with h5py.File(folder / "data" / "main_data.hdf5", "a") as root:
        damage(root["episode_0"])
    reader = open_minari(folder, fields=dataclasses.replace(inferred(folder), timestamps="infos/time"))
    with pytest.raises(EpisodeRejected, match=f"data: episode 0: .*{message}"):
        reader[0]
    assert len(reader[1]) == 5


def test_damage_that_is_seen_at_opening(tmp_path, monkeypatch):
    folder = collect(tmp_path, monkeypatch)
    file = folder / "data" / "main_data.hdf5"
    with h5py.File(file, "a") as root:
        root["episode_0"].attrs["total_steps"] = 0
        del root["episode_1"]
    reader = open_minari(folder)
    assert reader.lengths.tolist() == [3] and reader.addresses == (2,)
    assert [rejection.location.rpartition(": ")[2] for rejection in reader.rejected] == ["episode 0", "episode 1"]
    assert reader.rejected[0].reason == "it has no steps" and "episode_1" in reader.rejected[1].reason
    with h5py.File(file, "a") as root:
        root["episode_1"] = h5py.ExternalLink("/etc/passwd", "/")
    with pytest.raises(SourceError, match="'episode_1' is a link to another file"):
        open_minari(folder)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(SourceError, match="main_data.hdf5: it cannot be read and may be damaged.*truncated"):
        open_minari(folder)
    file.unlink()
    file.symlink_to("/etc/passwd")
    with pytest.raises(SourceError, match="outside of its folder"):
        open_minari(folder)


def test_a_flipped_byte_and_a_cut_file_in_arrow(tmp_path, monkeypatch):
    folder = collect(tmp_path, monkeypatch, "arrow")
    flipped, cut = (next((folder / "data" / str(number)).glob("*.arrow")) for number in (0, 1))
    content = bytearray(flipped.read_bytes())
    content[content.index(b"\xff\xd8\xff")] ^= 0xFF  # of a picture
    flipped.write_bytes(content)
    cut.write_bytes(cut.read_bytes()[:-300])
    (folder / "data" / "2" / "metadata.json").write_text("{")
    reader = open_minari(folder)
    assert reader.addresses == (0, 1) and "damaged" in reader.rejected[0].reason
    for position in (0, 1):
        with pytest.raises(EpisodeRejected, match=f"episode {position}: it cannot be read and may be damaged"):
            reader[position]


def test_what_is_no_dataset(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    with pytest.raises(SourceError, match="absent-v0: no Minari dataset.*minari download absent-v0"):
        open_minari("absent-v0")
    folder = collect(tmp_path, monkeypatch)
    with pytest.raises(SourceError, match="no split 'test'; it has train"):
        open_minari(folder, "test")
    file = folder / "data" / "metadata.json"
    metadata = json.loads(file.read_text())
    other = tmp_path / "other"
    for change, message in (({"minari_version": "9.9"}, "does not support"), ({"action_space": None}, "damaged")):
        (other / str(len(message))).mkdir(parents=True)
        (other / str(len(message)) / "metadata.json").write_text(json.dumps(metadata | change))
        (other / str(len(message)) / "main_data.hdf5").write_bytes((folder / "data" / "main_data.hdf5").read_bytes())
        with pytest.raises(SourceError, match=message):
            open_minari(other / str(len(message)))
    del metadata["observation_space"]
    file.write_text(json.dumps(metadata))
    with pytest.raises(SourceError, match="lack observation_space"):
        open_minari(folder)
