"""Any RLDS user opens what we write; we read it where there is no TensorFlow. Each in a process of its own."""

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from gato_jax.episodes import (
    Continuous,
    Discrete,
    Episode,
    Image,
    TaskSpec,
    Text,
    open_dataset,
    rlds_format,
    write_dataset,
)
from gato_jax.episodes.keys import look_up
from gato_jax.episodes.record_files import FILE_FORMATS
from gato_jax.sources import chatterbot_dialogues
from tests.warm_python import TENSORFLOW, run_warm

# What plain TFDS and TensorFlow's own parser make of the first episode of each dataset: leaves of each step, as lists.
# `tf.data`, which needs TFRecord files, reads the third way.
RLDS_USER = """
import json, sys
import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

def plain(tree):
    if isinstance(tree, dict):
        return {key: plain(value) for key, value in tree.items()}
    return tree.decode() if isinstance(tree, bytes) else np.asarray(tree).tolist()

def read(directory):
    builder = tfds.builder_from_directory(directory)
    splits = {name: split.num_examples for name, split in builder.info.splits.items()}
    if builder.info.file_format.value == "tfrecord":
        (episode,) = builder.as_dataset(split="train").take(1)
        steps = [plain(step) for step in episode["steps"].as_numpy_iterator()]
        return {"splits": splits, "tf.data": steps, "metadata": plain(tfds.as_numpy(episode["episode_metadata"]))}
    numpy_path = builder.as_data_source("train")
    raw = builder.as_data_source("train", deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES)
    tensors = builder.info.features.deserialize_example(raw[0])
    return {
        "splits": splits,
        "numpy": [plain(step) for step in numpy_path[0]["steps"]],
        "tensorflow": [plain(step) for step in tensors["steps"].as_numpy_iterator()],
        "metadata": plain(numpy_path[0]["episode_metadata"]),
    }

print(json.dumps({directory: read(directory) for directory in sys.argv[1:]}))
"""

# A machine without TensorFlow: every import of it fails, and nothing may have asked.
NO_TENSORFLOW = """
import importlib.machinery, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        return importlib.machinery.ModuleSpec(name, self) if name.split(".")[0] == "tensorflow" else None
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        raise ImportError("TensorFlow is not installed")

sys.meta_path.insert(0, Absent())
import numpy as np
from gato_jax.episodes import open_dataset, write_dataset
assert "tensorflow_datasets" not in sys.modules
dataset = open_dataset(sys.argv[1])
arrays = {}
for key, values in {**dataset[0].observation, **dataset[0].action}.items():
    arrays[key] = values.astype(str) if values.dtype == object else values
np.savez(sys.argv[2], **arrays)
write_dataset(sys.argv[3], dataset.spec, {"train": dataset})
assert "tensorflow" not in sys.modules
print(open_dataset(sys.argv[1]).fingerprint)
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory, spec, make_episode):
    root = tmp_path_factory.mktemp("rlds")
    return write_dataset(
        root, spec, {"train": [make_episode(spec, 3), make_episode(spec, 4)], "val": [make_episode(spec)]}
    )


IMAGE, TEXT = Image(height=8, width=8), Text()
KINDS = {
    "control": ({"state": Continuous(shape=(3,))}, {"action": Continuous(shape=(2,), low=-1.0, high=1.0)}),
    "pixels": ({"image": IMAGE}, {"action": Discrete(n=4)}),
    "text": ({}, {"text": TEXT}),
    "captions": ({"image": IMAGE}, {"caption": TEXT}),
    "vqa": ({"image": IMAGE, "question": TEXT}, {"answer": TEXT}),
    "watching": ({"image": IMAGE, "state": Continuous(shape=())}, {}),
}


def test_plain_tfds_and_tensorflow_read_the_same_numbers_of_every_kind(directory, make_episode, tmp_path):
    directories = [directory]
    for kind, (observation, action) in KINDS.items():
        spec = TaskSpec(suite="kinds", task=kind, observation=observation, action=action)
        episodes = {"train": [make_episode(spec, 3), make_episode(spec, 4, 1)], "val": [make_episode(spec)]}
        for file_format in FILE_FORMATS if kind == "text" else FILE_FORMATS[:1]:
            directories.append(write_dataset(tmp_path / file_format, spec, episodes, file_format=file_format))
    dialogues = chatterbot_dialogues("train")
    episodes = {"train": [dialogues[0], dialogues[1]], "val": [dialogues[2]]}
    directories.append(write_dataset(tmp_path, dialogues.spec, episodes))
    result = run_warm(["-c", RLDS_USER, *directories], TENSORFLOW)
    assert result.returncode == 0, result.stderr[-2000:]
    read = json.loads(result.stdout.strip().splitlines()[-1])
    assert list(read) == [str(directory) for directory in directories]
    for directory, seen in read.items():
        require_same(open_dataset(directory)[0], seen)


def require_same(episode: Episode, seen: dict[str, Any]):
    """Assert that each way in which TensorFlow users read an episode gives the numbers that we read."""
    assert seen["splits"] == {"train": 2, "val": 1}
    metadata = seen["metadata"]
    assert metadata["seed"] == (-1 if episode.seed is None else episode.seed) and metadata["success"] == -1
    assert metadata["kind"] == episode.provenance.kind and metadata["final_observation"] is False
    ways = [seen[name] for name in ("numpy", "tensorflow", "tf.data") if name in seen]
    assert ways and all(len(steps) == len(episode) for steps in ways)
    for t, step in ((t, step) for steps in ways for t, step in enumerate(steps)):
        assert step["is_first"] == (t == 0) and step["is_last"] == (t == len(episode) - 1)
        assert step["reward"] == pytest.approx(float(episode.reward[t]), abs=0)
        for side in ("observation", "action"):
            assert (side in step) == bool(getattr(episode, side))
            for key, values in getattr(episode, side).items():
                leaf = look_up(step[side], key)
                np.testing.assert_array_equal(leaf, values[t] if isinstance(leaf, str) else values[t].tolist())


def test_datasets_with_an_empty_feature_stay_readable(make_episode, tmp_path, monkeypatch):
    spec = TaskSpec(suite="kinds", task="text", observation={}, action={"text": TEXT})
    episode = make_episode(spec, 3)
    new = open_dataset(write_dataset(tmp_path / "new", spec, {"train": [episode]}))
    sides = {"observation": {}, "action": spec.action}  # as written by earlier versions
    monkeypatch.setattr(rlds_format, "_stored_sides", lambda spec: sides)
    old = open_dataset(write_dataset(tmp_path / "old", spec, {"train": [episode]}))
    assert (old.directory / "features.json").read_text() != (new.directory / "features.json").read_text()
    assert old.fingerprint == new.fingerprint
    for dataset in (old, new):
        assert dict(dataset[0].observation) == {}
        np.testing.assert_array_equal(dataset[0].action["text"], episode.action["text"])


def test_reads_and_writes_where_there_is_no_tensorflow(directory, tmp_path):
    arguments = [sys.executable, "-c", NO_TENSORFLOW, directory, tmp_path / "read.npz", tmp_path / "copy"]
    result = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr[-2000:]
    dataset = open_dataset(directory)
    assert result.stdout.strip() == dataset.fingerprint
    assert open_dataset(tmp_path / "copy" / directory.parent.name / "1.0.0").fingerprint == dataset.fingerprint
    with np.load(tmp_path / "read.npz") as read:
        for key, values in {**dataset[0].observation, **dataset[0].action}.items():
            np.testing.assert_array_equal(read[key], values.astype(str) if values.dtype == object else values)
