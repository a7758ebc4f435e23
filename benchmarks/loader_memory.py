"""Benchmark of the loader's memory over ten minutes, on a dataset ten times as large as the memory it may use.

    python -m benchmarks.loader_memory            # as root, because it makes a control group

A control group (memory.limit_in_bytes of version 1, memory.max of version 2) limits all memory of the process,
including its share of the page cache, to --ram. The dataset consists of token records of random images, written outside
of the group. The result compares the anonymous and shared memory of the process, without mapped files, at minute 1 and
at minute 10. The same is measured on a dataset of a tenth of the size.
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

from benchmarks.loader import ROWS
from benchmarks.record import write_result

SAMPLE_EVERY = 10.0  # seconds between two samples of the memory
SIDE, STEPS = 64, 400


def main():
    """Write two datasets, and load each in a process of its own with limited memory."""
    parser = argparse.ArgumentParser(description="Benchmark of the loader's memory.")
    parser.add_argument("--ram", type=int, default=640, help="Memory limit of the loading process in MiB.")
    parser.add_argument("--times", type=float, default=10.0, help="Size of the dataset as a multiple of --ram.")
    parser.add_argument("--minutes", type=float, default=10.0, help="Duration in minutes.")
    parser.add_argument("--folder", help="Folder to make the datasets in. Default: the system's temporary folder.")
    parser.add_argument("--job", help="JSON of one measurement to run in this process; used by the script itself.")
    given = parser.parse_args()
    if given.job:
        print(json.dumps(watch(**json.loads(given.job))))
        return
    results = {}
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        for key, times, minutes in (("small", given.times / 10, 1.5), ("large", given.times, given.minutes)):
            folder = pathlib.Path(name) / key
            make(folder, int(times * given.ram * 2**20))
            job = json.dumps({"folder": str(folder), "minutes": minutes, "ram": given.ram * 2**20})
            command = [sys.executable, "-m", "benchmarks.loader_memory", f"--job={job}"]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
            results[key] = json.loads(done.stdout.strip().split("\n")[-1])
            print(key, {name: value for name, value in results[key].items() if name != "held"}, flush=True)
    write_result("loader_memory", {"ram_bytes": given.ram * 2**20, **results}, ["grain", "array-record", "numpy"])


def make(folder: pathlib.Path, size: int):
    """Write token records of at least `size` bytes, of episodes of random 64 x 64 images."""
    from benchmarks.generated_episodes import GeneratedEpisodes
    from gato_jax.batching import write_records
    from gato_jax.episodes import Discrete, Episode, Image, Provenance, TaskSpec
    from gato_jax.tokenization import Tokenization

    spec = TaskSpec(
        suite="benchmark", task="images", observation={"image": Image(height=SIDE, width=SIDE)},
        action={"action": Discrete(n=18)},
    )  # fmt: skip
    last = np.arange(STEPS) == STEPS - 1

    def make_episode(rng: np.random.Generator) -> Episode:
        return Episode(
            task=spec.name, observation={"image": rng.integers(256, size=(STEPS, SIDE, SIDE, 3), dtype=np.uint8)},
            action={"action": rng.integers(18, size=STEPS)}, reward=np.zeros(STEPS, np.float32),
            discount=np.ones(STEPS, np.float32), is_first=np.arange(STEPS) == 0, is_last=last, is_terminal=last,
            provenance=Provenance(source="random numbers", licence="CC0-1.0", kind="synthetic"),
        )  # fmt: skip

    episodes = GeneratedEpisodes(size // (STEPS * SIDE * SIDE * 3) + 1, make_episode)
    write_records(folder, spec, episodes, "benchmark", Tokenization())


def watch(folder: str, minutes: float, ram: int) -> dict[str, Any]:
    """Load batches with limited memory and sample the memory of this process.

    Args:
      folder: folder of the token records.
      minutes: duration of the measurement in minutes.
      ram: memory limit in bytes.
    """
    group = _limit_memory(ram)
    from gato_jax.batching import Loader, Mixture, TokenRecords

    records = TokenRecords.open(pathlib.Path(folder))
    loader = Loader(Mixture.uniform({"images": records}, batch_size=ROWS, context=1024, seed=0), steps=10**9)
    held, batches, started = [], 0, time.monotonic()
    while (passed := time.monotonic() - started) < 60 * minutes + 1:
        next(loader)
        batches += 1
        if passed >= len(held) * SAMPLE_EVERY:
            held.append(_held())
    at = [held[min(round(60 * minute / SAMPLE_EVERY), len(held) - 1)] for minute in (1, minutes)]
    return {
        "dataset_bytes": sum(file.stat().st_size for file in pathlib.Path(folder).iterdir()),
        "minutes": minutes, "batches": batches, "epochs": loader.mixture.epochs(batches)[0],
        "held_at_minute_1": at[0], "held_at_the_end": at[1], "growth": at[1] / at[0] - 1, "held": held,
        "cap": str(group),
    }  # fmt: skip


def _held() -> int:
    """Return the resident memory of this process without mapped files, in bytes."""
    lines = pathlib.Path("/proc/self/status").read_text().split("\n")
    sizes = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith(("RssAnon", "RssShmem"))}
    return sum(map(int, sizes.values())) * 1024


def _limit_memory(ram: int) -> pathlib.Path:
    """Move this process into a new control group with this memory limit in bytes, and return the limit's file."""
    for root, limit in ((pathlib.Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
                        (pathlib.Path("/sys/fs/cgroup"), "memory.max")):  # fmt: skip
        group = root / f"gato_loader_{os.getpid()}"
        try:
            group.mkdir()
            (group / limit).write_text(str(ram))
            (group / "cgroup.procs").write_text(str(os.getpid()))
            return group / limit
        except OSError:
            continue
    raise SystemExit("no control group can be made here. Run as root, or in a container with a memory limit.")


if __name__ == "__main__":
    main()
