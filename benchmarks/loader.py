"""Benchmark of the loader beside LeRobot's own DataLoader and a tf.data pipeline over RLDS, on the same episodes.

    python -m benchmarks.loader --lerobot_python=VENV/bin/python

`gato collect` records the episodes of a simulated arm with two cameras of 64 x 64 pixels. LeRobot writes the same
episodes in its own format, once with images and once with videos. Each loader uses all cores, and its speed is the
number of timesteps per second that arrive in batches with both images decoded. Our loader yields rows of 1,024 tokens;
the timesteps in these rows are counted. The tf.data pipeline follows the outline of the Octo paper: it parses records,
draws timesteps from a shuffle buffer, decodes their images and batches them.

Three further measurements: rows of a state-based task, the time until a mixture of 100,000 episodes yields its first
batch, and the tokenization of raw image episodes on one core.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np

from benchmarks.record import write_result

TASK = "fetch/pick_and_place"
CONTEXT, ROWS = 1024, 16
STATE = {"state": 39, "action": 4}  # sizes of Meta-World's vectors


def main():
    """Run every measurement in a process of its own and write the results."""
    parser = argparse.ArgumentParser(description="Benchmark of the loader.")
    parser.add_argument("--lerobot_python", help="Python interpreter of an environment with lerobot.")
    parser.add_argument("--episodes", type=int, default=60, help="Number of episodes to record.")
    parser.add_argument("--seconds", type=float, default=15.0, help="Duration of each measurement in seconds.")
    parser.add_argument("--job", help="JSON of one measurement to run in this process; used by the script itself.")
    given = parser.parse_args()
    if given.job:
        job = json.loads(given.job)
        print(json.dumps(JOBS[job.pop("name")](**job)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        subprocess.run(
            [sys.executable, "-m", "gato_jax.cli", "collect", f"--tasks={TASK}", f"--episodes={given.episodes}",
             f"--output={folder / 'data'}"], check=True,
        )  # fmt: skip
        results = _image_episodes(folder, given)
        seconds = given.seconds
        results["rows_of_states"] = _job("states", folder=str(folder / "states"), seconds=seconds, threads=1)
        results["start_up"] = _job("start_up", folder=str(folder / "many"))
    for key, result in results.items():
        shown = {name: round(value, 2) if isinstance(value, float) else value for name, value in result.items()}
        print(f"{key:28} {shown}")
    write_result("loader", results, ["grain", "array-record", "numpy", "tensorflow-cpu", "tensorflow-datasets"])


def _image_episodes(folder: pathlib.Path, given) -> dict[str, Any]:
    from gato_jax.episodes import find_dataset

    dataset = find_dataset(folder / "data", TASK)
    results = {
        "ours_raw_to_tokens_one_core": _job("tokenize", dataset=str(dataset), folder=str(folder / "tokens")),
        "ours_images": _job("images", folder=str(folder / "tokens"), seconds=given.seconds, threads=2),
        "tf_data_images": _job("tf_data", dataset=str(_as_tfrecord(dataset, folder)), seconds=given.seconds),
    }
    if given.lerobot_python:
        save_columns(dataset, folder / "episodes.npz")
        for kind, flags in (("images", []), ("videos", ["--videos"])):
            script = [given.lerobot_python, "benchmarks/lerobot_loader.py"]
            target = folder / f"lerobot_{kind}"
            subprocess.run([*script, "write", str(folder / "episodes.npz"), str(target), *flags], check=True)
            results[f"lerobot_{kind}"] = _run([*script, "read", str(target), f"--seconds={given.seconds}"])
            ratio = results["ours_images"]["steps_per_second"] / results[f"lerobot_{kind}"]["steps_per_second"]
            results[f"lerobot_{kind}"]["ours_is_faster_by"] = ratio
    return results


def _as_tfrecord(dataset: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """Write the dataset again as TFRecord files, which tf.data reads, and return its folder."""
    from gato_jax.episodes import open_dataset, write_dataset

    episodes = open_dataset(dataset)
    return write_dataset(folder / "tfrecord", episodes.spec, {"train": episodes}, file_format="tfrecord")


def save_columns(dataset: str | pathlib.Path, file: pathlib.Path):
    """Write the episodes of a dataset as concatenated columns into an .npz file, from which LeRobot writes its own."""
    from gato_jax.episodes import open_dataset

    episodes = list(open_dataset(dataset))
    columns = {}
    for name, key in (("observation.images.image_0", "image_0"), ("observation.images.image_1", "image_1"),
                      ("observation.state", "state")):  # fmt: skip
        columns[name] = np.concatenate([episode.observation[key][: episode.acting_steps] for episode in episodes])
    columns["action"] = np.concatenate([episode.action["action"][: episode.acting_steps] for episode in episodes])
    texts = np.array([str(episode.observation["instruction"][0]) for episode in episodes])
    lengths = np.array([episode.acting_steps for episode in episodes])
    np.savez(file, **columns, lengths=lengths, instruction=texts)


def tokenize(dataset: str, folder: str) -> dict[str, Any]:
    """Measure the tokenization of raw image episodes from RLDS into token records, on one core."""
    _pin_to_one_core()
    from gato_jax.batching import write_records
    from gato_jax.episodes import open_dataset
    from gato_jax.tokenization import Tokenization

    episodes = open_dataset(dataset)
    episodes[0]
    started = time.perf_counter()
    records = write_records(pathlib.Path(folder), episodes.spec, episodes, "benchmark", Tokenization())
    seconds = time.perf_counter() - started
    return {"tokens_per_second": records.tokens / seconds, "steps_per_second": records.steps / seconds, "cores": 1}


def images(folder: str, seconds: float, threads: int) -> dict[str, Any]:
    """Measure the loading of batches of image episodes from token records."""
    from gato_jax.batching import TokenRecords

    return _batches(TokenRecords.open(pathlib.Path(folder)), seconds, threads)


def states(folder: str, seconds: float, threads: int) -> dict[str, Any]:
    """Measure the loading of batches of a task with 39 observed and 4 action values, from token records."""
    return _batches(_made_records(folder, episodes=400, steps=200), seconds, threads)


def start_up(folder: str) -> dict[str, Any]:
    """Measure the time from records of 100,000 episodes on disk to the first batch."""
    from gato_jax.batching import Loader, TokenRecords

    _made_records(folder, episodes=100_000, steps=10)
    started = time.perf_counter()
    records = TokenRecords.open(pathlib.Path(folder))
    next(Loader(_mixture(records), steps=1000))
    return {"episodes": records.episodes, "steps": records.steps, "seconds": time.perf_counter() - started}


def tf_data(dataset: str, seconds: float) -> dict[str, Any]:
    """Measure a tf.data pipeline that shuffles the timesteps of an RLDS dataset, decodes and batches them."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    builder: Any = tfds.builder_from_directory(dataset)
    skip = {"steps": {"observation": {key: tfds.decode.SkipDecoding() for key in ("image_0", "image_1")}}}
    episodes: Any = builder.as_dataset(split="train", decoders=skip)

    def decode(step):
        observation = dict(step["observation"])
        for key in ("image_0", "image_1"):
            observation[key] = tf.io.decode_png(observation[key], channels=3)
        return {"observation": observation, "action": step["action"]}

    auto = tf.data.AUTOTUNE
    steps = episodes.repeat().interleave(lambda episode: episode["steps"], cycle_length=8, num_parallel_calls=auto)
    batches = steps.shuffle(10_000).map(decode, auto).batch(64).prefetch(auto).as_numpy_iterator()
    for _ in range(10):
        next(batches)
    return _count(lambda: len(next(batches)["action"]["action"]), seconds)


def _batches(records, seconds: float, threads: int) -> dict[str, Any]:
    from gato_jax.batching import Loader

    loader = Loader(_mixture(records), steps=10**9, threads=threads)
    for _ in range(3):
        next(loader)
    counted = _count(lambda: int((next(loader).segment_ids > 0).sum()), seconds)
    tokens = counted.pop("steps_per_second")
    return {**counted, "tokens_per_second": tokens, "steps_per_second": tokens * records.steps / records.tokens}


def _count(take, seconds: float) -> dict[str, Any]:
    steps, started = 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < seconds:
        steps += take()
    return {"steps_per_second": steps / passed, "seconds": passed, "cores": len(os.sched_getaffinity(0))}


def _mixture(records):
    from gato_jax.batching import Mixture

    return Mixture.uniform({"benchmark": records}, batch_size=ROWS, context=CONTEXT, seed=0)


def _made_records(folder: str, *, episodes: int, steps: int):
    from benchmarks.generated_episodes import GeneratedEpisodes
    from gato_jax.batching import write_records
    from gato_jax.episodes import Continuous, Episode, Provenance, TaskSpec
    from gato_jax.tokenization import Tokenization

    spec = TaskSpec(
        suite="benchmark", task="states", observation={"state": Continuous(shape=(STATE["state"],))},
        action={"action": Continuous(shape=(STATE["action"],), low=-1.0, high=1.0)},
    )  # fmt: skip
    provenance = Provenance(source="random numbers", licence="CC0-1.0", kind="synthetic")
    last = np.arange(steps) == steps - 1

    def make_episode(rng: np.random.Generator) -> Episode:
        return Episode(
            task=spec.name, observation={"state": rng.normal(size=(steps, STATE["state"])).astype(np.float32)},
            action={"action": rng.uniform(-1, 1, (steps, STATE["action"])).astype(np.float32)},
            reward=np.zeros(steps, np.float32), discount=np.ones(steps, np.float32),
            is_first=np.arange(steps) == 0, is_last=last, is_terminal=last, provenance=provenance,
        )  # fmt: skip

    made = GeneratedEpisodes(episodes, make_episode)
    return write_records(pathlib.Path(folder), spec, made, "benchmark", Tokenization())


def _pin_to_one_core():
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def _job(name: str, **arguments) -> dict[str, Any]:
    return _run([sys.executable, "-m", "benchmarks.loader", f"--job={json.dumps({'name': name, **arguments})}"])


def _run(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    result = json.loads(done.stdout.strip().split("\n")[-1])
    print(" ".join(command[1:])[:100], result, flush=True)
    return result


JOBS = {job.__name__: job for job in (tokenize, images, states, start_up, tf_data)}

if __name__ == "__main__":
    main()
