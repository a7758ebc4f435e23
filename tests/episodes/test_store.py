"""What is written is read back; what is damaged says so."""

import dataclasses
import pickle
import shutil

import hypothesis
import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import numpy as np
import pytest

from gato_jax.episodes import (
    Continuous,
    DatasetError,
    Discrete,
    Episode,
    Image,
    TaskSpec,
    Text,
    dataset_name,
    find_dataset,
    list_datasets,
    open_dataset,
    write_dataset,
)
from gato_jax.episodes.errors import describe_error
from gato_jax.episodes.store import INDEX_FILE


def assert_equal(read: Episode, written: Episode):
    for field in dataclasses.fields(Episode):
        left, right = getattr(read, field.name), getattr(written, field.name)
        if field.name in ("observation", "action"):
            assert set(left) == set(right)
            for key in left:
                assert left[key].dtype == right[key].dtype
                np.testing.assert_array_equal(left[key], right[key])
        elif isinstance(left, np.ndarray):
            assert left.dtype == right.dtype
            np.testing.assert_array_equal(left, right)
        else:
            assert left == right, field.name


@pytest.fixture(scope="module")
def written(tmp_path_factory, spec, make_episode):
    episodes = [
        make_episode(spec, seed, steps=3 + seed, success=seed % 2 == 0, final_observation=True) for seed in range(40)
    ]
    episodes[7] = dataclasses.replace(episodes[7], success=None, seed=None, final_observation=False)
    root = tmp_path_factory.mktemp("store")
    return episodes, write_dataset(root, spec, {"train": iter(episodes), "test": episodes[:2]})


@pytest.fixture
def copy(written, tmp_path):
    """The dataset once more, to be damaged."""
    return shutil.copytree(written[1], tmp_path / written[1].parent.name / "1.0.0")


def test_round_trip_of_every_modality(written, spec):
    episodes, directory = written
    dataset = open_dataset(directory)
    assert dataset.spec == spec and dataset.split == "train" and len(dataset) == 40
    for read, episode in zip(dataset, episodes, strict=True):
        assert_equal(read, episode)
    assert_equal(dataset[-1], episodes[-1])
    assert_equal(dataset[np.int64(3)], episodes[3])
    assert_equal(open_dataset(directory, "test")[1], episodes[1])
    with pytest.raises(IndexError):
        dataset[40]


def test_sidecar_knows_the_episodes_without_reading_them(written):
    episodes, directory = written
    dataset = open_dataset(directory)
    np.testing.assert_array_equal(dataset.lengths, [len(episode) for episode in episodes])
    np.testing.assert_array_equal(dataset.acting_lengths, [episode.acting_steps for episode in episodes])
    np.testing.assert_array_equal(dataset.returns, [episode.episode_return for episode in episodes])
    np.testing.assert_array_equal(dataset.index.offset, np.cumsum([0, *dataset.lengths[:-1]]))
    assert dataset.index.success.tolist()[6:9] == [1, -1, 1] and dataset.index.seed[7] == -1
    assert dataset.total_steps == sum(map(len, episodes))
    assert "_reader" not in vars(dataset)


values = {
    "number": arrays.arrays(np.float32, (4, 3), elements=st.floats(width=32)),
    "choice": arrays.arrays(np.int64, (4,), elements=st.integers(0, 2**40)),
    "pixels": arrays.arrays(np.uint8, (4, 5, 6, 3)),
    "words": st.lists(st.text(), min_size=4, max_size=4).map(lambda said: np.array(said, dtype=object)),
}
modalities = {
    "number": Continuous(shape=(3,)),
    "choice": Discrete(n=2**40 + 1),
    "pixels": Image(height=5, width=6),
    "words": Text(),
}


@hypothesis.settings(max_examples=25, deadline=None)
@hypothesis.given(data=st.data())
def test_round_trip_of_any_mix_and_value(tmp_path_factory, make_episode, data):
    keys = data.draw(st.sets(st.sampled_from(sorted(values)), min_size=1))
    acts = data.draw(st.sets(st.sampled_from(["choice", "number", "words"])))
    spec = TaskSpec(
        suite="any",
        task="mix",
        observation={f"deep/{key}": modalities[key] for key in keys},
        action={key: modalities[key] for key in acts},
    )
    episode = dataclasses.replace(
        make_episode(spec, steps=4),
        observation={f"deep/{key}": data.draw(values[key]) for key in keys},
        action={key: data.draw(values[key]) for key in acts},
        success=data.draw(st.sampled_from([None, True, False])),
        final_observation=data.draw(st.booleans()),
        seed=data.draw(st.none() | st.integers(0, 2**63 - 1)),
    )
    root = tmp_path_factory.mktemp("any")
    assert_equal(open_dataset(write_dataset(root, spec, {"train": [episode]}))[0], episode)


def test_fingerprint_follows_the_content(tmp_path, written, spec, make_episode):
    episodes, directory = written
    fingerprint = open_dataset(directory).fingerprint
    again = write_dataset(tmp_path / "again", spec, {"train": episodes})
    assert open_dataset(again).fingerprint == fingerprint
    changed = dataclasses.replace(
        episodes[0], action=dict(episodes[0].action, torque=episodes[0].action["torque"] + np.float32(1))
    )
    other = write_dataset(tmp_path / "other", spec, {"train": [changed, *episodes[1:]]})
    assert open_dataset(other).fingerprint != fingerprint


def test_pickles_as_its_path(written):
    dataset = open_dataset(written[1])
    dataset[0]
    payload = pickle.dumps(dataset)
    assert len(payload) < 1000
    assert_equal(pickle.loads(payload)[2], written[0][2])


def test_names():
    assert dataset_name("babyai/GoToRedBallGrey-v0") == "babyai__go_to_red_ball_grey_v0"
    assert dataset_name("dm_control/cartpole/balance") == "dm_control__cartpole__balance"
    assert dataset_name("meta_world/reach-v3") == "meta_world__reach_v3"


def test_finds_by_task_name(written):
    root = written[1].parent.parent
    assert list_datasets(root) == {"babyai/GoToRedBall-v0": written[1]}
    assert find_dataset(root, "babyai/GoToRedBall-v0") == written[1]
    with pytest.raises(DatasetError, match="nearest there: babyai/GoToRedBall-v0"):
        find_dataset(root, "babyai/GoToRedBox-v0")


def test_missing_names_the_nearest(written):
    root = written[1].parent.parent
    with pytest.raises(DatasetError, match="nearest in .*babyai__go_to_red_ball_v0/1.0.0"):
        open_dataset(root / "babyai__go_to_red_bal_v0" / "1.0.0")
    with pytest.raises(DatasetError, match="no split 'val'; it has test, train"):
        open_dataset(written[1], "val")
    with pytest.raises(DatasetError, match="gato collect"):
        open_dataset("/nowhere/at/all")


def test_truncated_records(copy):
    (file,) = copy.glob("*-train.array_record*")
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(DatasetError, match=r"train.array_record-00000: holds \d+ bytes, was written with \d+: trunc"):
        open_dataset(copy)
    file.unlink()
    with pytest.raises(DatasetError, match="train.array_record-00000: missing; copy"):
        open_dataset(copy)


def test_corrupt_records_of_the_same_size(copy):
    (file,) = copy.glob("*-train.array_record*")
    content = bytearray(file.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 4000] = bytes(4000)
    file.write_bytes(content)
    dataset = open_dataset(copy)
    with pytest.raises(DatasetError, match=r"babyai__go_to_red_ball_v0/1.0.0: episode \d+ of split 'train'"):
        list(dataset)


def test_sidecar_that_contradicts_the_records(copy):
    with np.load(copy / INDEX_FILE) as kept:
        index = dict(kept)
    np.savez(copy / INDEX_FILE, **index | {"train/length": index["train/length"] + 1})
    with pytest.raises(DatasetError, match="says 4 steps for episode 0 of split 'train', its record holds 3"):
        open_dataset(copy)[0]
    np.savez(copy / INDEX_FILE, **index | {"train/length": index["train/length"][:-1]})
    with pytest.raises(DatasetError, match="lists 39 episodes of split 'train', dataset_info.json counts 40"):
        open_dataset(copy)


@pytest.mark.parametrize("name", ["task.json", "episode_index.npz", "dataset_info.json"])
def test_damaged_descriptions(copy, name):
    (copy / name).write_bytes((copy / name).read_bytes()[:50])
    with pytest.raises(DatasetError, match=f"{name}: not a"):
        open_dataset(copy)
    (copy / name).unlink()
    with pytest.raises(DatasetError, match=name):
        open_dataset(copy)


@pytest.mark.parametrize("name", ["features.json", "dataset_info.json"])
def test_a_stray_byte_in_the_description_by_tfds_names_the_file_and_no_episode(copy, name):
    file = copy / name
    content = file.read_bytes()
    file.write_bytes(content[:60] + b"\xa2" + content[60:])
    with pytest.raises(DatasetError, match=name) as said:
        open_dataset(copy)[0]
    assert "episode 0" not in str(said.value)


def test_an_error_of_a_look_up_is_a_phrase_on_the_content():
    assert describe_error(IndexError("list index out of range")) == "it lacks a part that its format requires"
    assert describe_error(KeyError("steps")) == "it lacks 'steps'"
    assert describe_error(EOFError()) == "EOFError" and describe_error(ValueError("two\nlines")) == "two lines"


def test_the_error_of_a_relative_path_names_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = f"runs/a/data: no dataset in the working directory {tmp_path}; record one with `gato collect`"
    with pytest.raises(DatasetError, match=f"^{message}$"):
        open_dataset("runs/a/data")


def test_the_folder_above_a_single_dataset_opens_it(written, tmp_path):
    root = shutil.copytree(written[1].parent.parent, tmp_path / "data")
    (folder,) = root.glob("*/*")
    for above in (folder.parent, root):
        assert open_dataset(above).directory == folder
    other = shutil.copytree(folder, folder.with_name("1.0.1"))
    with pytest.raises(DatasetError, match=f"is a folder of 2 datasets, open one of {folder}, {other}"):
        open_dataset(root)
