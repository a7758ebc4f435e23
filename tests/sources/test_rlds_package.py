"""Tests that the rlds package reads our datasets and we read its. It has an environment of its own, made by pip."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gato_jax.episodes import Continuous, Discrete, Episode, Image, Provenance, TaskSpec, Text, write_dataset
from gato_jax.sources import open_rlds
from gato_jax.sources.fields import Fields

PACKAGES = (
    "rlds==0.1.8",
    "tensorflow-cpu==2.15.*",
    "dm-reverb==0.14.0",
    "tensorflow-datasets==4.9.4",
    "numpy<2",
    "setuptools<80",
    "tensorflow-metadata<1.16",  # newer ones need a newer protobuf than TensorFlow 2.15 has
)
PROVENANCE = Provenance(source="tests 1.0", licence="MIT", kind="simulated")
SPEC = TaskSpec(
    suite="dm_control",
    task="made/reach",
    observation={
        "camera/front": Image(height=8, width=12),
        "mission": Text(),
        "state": Continuous(shape=(3,)),
    },
    action={"torque": Continuous(shape=(2,), low=-1.0, high=1.0), "button": Discrete(n=3)},
)
# Reads the dataset in sys.argv[1] with the rlds package, prints statistics, and writes its episodes to sys.argv[2].
RLDS_USER = """
import json, os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import rlds
import tensorflow as tf
import tensorflow_datasets as tfds
from rlds import transformations

builder = tfds.builder_from_directory(sys.argv[1])
episodes = builder.as_dataset(split="train", shuffle_files=False)

def fields(step):
    valid = tf.logical_not(step[rlds.IS_LAST])
    return {"state": step[rlds.OBSERVATION]["state"], "torque": step[rlds.ACTION]["torque"]}, \\
        {"state": True, "torque": valid}

mean, std = transformations.mean_and_std(episodes, fields)
steps = episodes.flat_map(lambda episode: episode[rlds.STEPS])
total = transformations.sum_dataset(steps, lambda step: step[rlds.REWARD])
returns = [float(transformations.episode_length(episode[rlds.STEPS])) for episode in episodes]
pairs = next(iter(episodes))[rlds.STEPS]
pairs = transformations.batch(pairs, size=2, shift=1, drop_remainder=True)
pairs = list(pairs.as_numpy_iterator())

plain = lambda tree: {key: np.asarray(value).tolist() for key, value in tree.items()}
print(json.dumps({
    "mean": plain(mean), "std": plain(std), "total": float(total), "lengths": returns,
    "states": [pair[rlds.OBSERVATION]["state"].tolist() for pair in pairs],
    "first": [pair[rlds.IS_FIRST].tolist() for pair in pairs],
    "missions": [[text.decode() for text in pair[rlds.OBSERVATION]["mission"]] for pair in pairs],
    "pixels": [int(pair[rlds.OBSERVATION]["camera"]["front"].sum()) for pair in pairs],
}))

os.makedirs(sys.argv[2])
identity = tfds.core.DatasetIdentity(
    name="theirs", version=tfds.core.Version("1.0.0"), data_dir=sys.argv[2], module_name="")
info = tfds.core.DatasetInfo(builder=identity, description="theirs", disable_shuffling=True,
    features=builder.info.features)
writer = tfds.core.SequentialWriter(info, 10)
writer.initialize_splits(["train"])
for episode in tfds.as_numpy(episodes):
    writer.add_examples({"train": [{**episode, "steps": list(episode["steps"])}]})
writer.close_all()
"""


def make_episode(seed: int, steps: int) -> Episode:
    random, last = np.random.default_rng(seed), np.arange(steps) == steps - 1
    return Episode(
        task=SPEC.name,
        observation={
            "camera/front": random.integers(0, 256, (steps, 8, 12, 3), dtype=np.uint8),
            "mission": np.array(["naïve 机器人 🤖", *["go"] * (steps - 1)], dtype=object),
            "state": random.normal(size=(steps, 3)).astype(np.float32),
        },
        action={
            "torque": random.uniform(-1, 1, (steps, 2)).astype(np.float32),
            "button": random.integers(0, 3, steps),
        },
        reward=random.normal(size=steps).astype(np.float32),
        discount=np.ones(steps, np.float32),
        is_first=np.arange(steps) == 0,
        is_last=last,
        is_terminal=last,
        provenance=PROVENANCE,
        final_observation=True,
    )


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """Python interpreter of an environment with the rlds package and without gato_jax."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([folder / "bin" / "pip", "install", "-q", *PACKAGES], check=True, capture_output=True, timeout=1500)
    return folder / "bin" / "python"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_rlds_package_reads_our_export_and_we_what_it_writes(python, tmp_path):
    episodes = [make_episode(seed, 4 + seed) for seed in range(3)]
    ours = write_dataset(tmp_path, SPEC, {"train": episodes}, file_format="tfrecord")
    command = [python, "-c", RLDS_USER, ours, tmp_path / "theirs" / "1.0.0"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr[-3000:]
    said = json.loads(result.stdout.strip().splitlines()[-1])
    state = np.concatenate([episode.observation["state"] for episode in episodes])
    torque = np.concatenate([episode.action["torque"][:-1] for episode in episodes])
    for key, values in {"state": state, "torque": torque}.items():
        np.testing.assert_allclose(said["mean"][key], values.mean(0, np.float64), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(said["std"][key], values.std(0, np.float64, ddof=1), rtol=1e-5)
    assert said["total"] == pytest.approx(sum(episode.episode_return for episode in episodes), rel=1e-5)
    assert said["lengths"] == [4.0, 5.0, 6.0]
    first = episodes[0]
    pairs = np.stack([np.arange(3), np.arange(1, 4)], 1)
    np.testing.assert_array_equal(np.array(said["states"], np.float32), first.observation["state"][pairs])
    assert said["first"] == first.is_first[pairs].tolist()
    assert said["missions"] == first.observation["mission"][pairs].tolist()
    assert said["pixels"] == [int(first.observation["camera/front"][pair].sum()) for pair in pairs]
    fields = Fields(
        suite="theirs",
        task="reach",
        observation={key: (f"observation/{key}", modality) for key, modality in SPEC.observation.items()},
        action={key: (f"action/{key}", modality) for key, modality in SPEC.action.items()},
        provenance=PROVENANCE,
        reward="reward",
    )
    for read, written in zip(open_rlds(tmp_path / "theirs" / "1.0.0", fields=fields), episodes, strict=True):
        for side in ("observation", "action"):
            for key, values in getattr(written, side).items():
                np.testing.assert_array_equal(getattr(read, side)[key], values)
        np.testing.assert_array_equal(read.reward, written.reward)
        np.testing.assert_array_equal(read.is_last, written.is_last)
