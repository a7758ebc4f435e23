"""Any RLDS user opens what we write; we read it where there is no TensorFlow. Each in a process of its own."""

import json
import subprocess
import sys

import numpy as np
import pytest

from gato_jax.episodes import open_dataset, write_dataset

# What plain TFDS and TensorFlow's own parser make of the first episode: leaves of each step, as lists.
RLDS_USER = """
import json, sys
import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

def plain(tree):
    if isinstance(tree, dict):
        return {key: plain(value) for key, value in tree.items()}
    return tree.decode() if isinstance(tree, bytes) else np.asarray(tree).tolist()

builder = tfds.builder_from_directory(sys.argv[1])
numpy_path = builder.as_data_source("train")
raw = builder.as_data_source("train", deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES)
tensors = builder.info.features.deserialize_example(raw[0])
print(json.dumps({
    "splits": {name: split.num_examples for name, split in builder.info.splits.items()},
    "numpy": [plain(step) for step in numpy_path[0]["steps"]],
    "tensorflow": [plain(step) for step in tensors["steps"].as_numpy_iterator()],
    "metadata": plain(numpy_path[0]["episode_metadata"]),
}))
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


def test_plain_tfds_and_tensorflow_read_the_same_numbers(directory, spec):
    result = subprocess.run([sys.executable, "-c", RLDS_USER, directory], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr[-2000:]
    seen = json.loads(result.stdout.strip().splitlines()[-1])
    assert seen["splits"] == {"train": 2, "val": 1}
    assert seen["metadata"]["seed"] == 3 and seen["metadata"]["success"] == -1
    assert seen["metadata"]["kind"] == "simulated" and seen["metadata"]["final_observation"] is False
    episode = open_dataset(directory)[0]
    for reader in ("numpy", "tensorflow"):
        assert len(seen[reader]) == len(episode)
        for t, step in enumerate(seen[reader]):
            assert step["is_first"] == (t == 0) and step["is_last"] == (t == len(episode) - 1)
            assert step["reward"] == pytest.approx(float(episode.reward[t]), abs=0)
            for side in ("observation", "action"):
                for key, values in getattr(episode, side).items():
                    leaf = step[side]
                    for part in key.split("/"):
                        leaf = leaf[part]
                    np.testing.assert_array_equal(leaf, values[t] if isinstance(leaf, str) else values[t].tolist())


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
