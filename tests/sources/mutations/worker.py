"""Mutations in a process of their own, which may crash, hang or ask for all memory without harm to the tests."""

from __future__ import annotations

import faulthandler
import importlib
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.sources.mutations.harness import Format, Outcome, read_mutation, try_mutation, write_original

# Format: module that defines it in its FORMATS.
MODULES = {
    **dict.fromkeys(("robomimic", "aloha", "hdf5_flat"), "hdf5_formats"),
    **dict.fromkeys(("hdf5_d4rl", "hdf5_groups", "hdf5_maniskill"), "hdf5_several_formats"),
    **dict.fromkeys(("parquet", "parquet_rows"), "parquet_formats"),
    **dict.fromkeys(
        ("lerobot_v2_image", "lerobot_v2_video", "lerobot_v3_image", "lerobot_v3_video"), "lerobot_formats"
    ),
    "mcap": "mcap_formats",
    "rosbag2": "rosbag2_formats",
    **dict.fromkeys(("minari_hdf5", "minari_arrow"), "minari_formats"),
    **dict.fromkeys(("rlds_array_record", "rlds_tfrecord"), "rlds_formats"),
    **dict.fromkeys(("documents", "dialogue"), "text_formats"),
    "dialogue_json": "dialogue_formats",
    **dict.fromkeys(("imagefolder", "coco", "webdataset", "vqa"), "image_formats"),
}
# Seeds of the slow tests. Another first seed continues a run.
_FIRST, _COUNT = (int(os.environ.get(f"GATO_MUTATIONS{end}", value)) for end, value in (("_FIRST", 0), ("", 10_000)))
SEEDS = range(_FIRST, _FIRST + _COUNT)
_MEMORY = 6 << 30
_HANGS_CPU_S, _HANGS_S = 120, 1800  # a loop without end is seen by the first, a deadlock by the second
_POLL_S = 5.0
_LIBRARY_S = 120  # a mutation takes milliseconds
_FOLDER = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # mutations write thousands of small files


def load(name: str) -> Format:
    """Return a format by its name."""
    return importlib.import_module(f"tests.sources.mutations.{MODULES[name]}").FORMATS[name]


def list_faults(name: str, outcomes: Iterable[tuple[int, Outcome]]) -> list[str]:
    """Return a line for each outcome that has a fault, with the seed that repeats it."""
    return [f"{name}, seed {seed}: {one.done}: {one.fault}" for seed, one in outcomes if one.fault is not None]


def run_here(name: str, seeds: Sequence[int], folder: Path) -> Iterator[tuple[int, Outcome]]:
    """Yield the outcome of each seed, in this process."""
    kind = load(name)
    original = write_original(kind, folder / "original")
    for seed in seeds:
        yield seed, try_mutation(kind, name, seed, original, folder / f"mutation_{seed}")


def run_apart(name: str, seeds: Sequence[int]) -> Iterator[tuple[int, Outcome]]:
    """Yield the outcome of each seed, in a worker process that is started again after a crash or a hang."""
    context, todo = multiprocessing.get_context("spawn"), list(seeds)
    while todo:
        with tempfile.TemporaryDirectory(prefix="mutations_", dir=_FOLDER) as folder:
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(there, name, todo, folder))
            process.start()
            there.close()
            ended = "hangs"
            try:
                while todo and _answers(here, process.pid or 0):
                    seed, outcome = here.recv()
                    yield seed, outcome
                    todo.remove(seed)
            except EOFError:
                process.join()
                trace = Path(folder, "trace").read_text(errors="replace") if Path(folder, "trace").exists() else ""
                ended = f"ends with {process.exitcode}: {trace:.1500}"
            finally:
                if todo:
                    process.kill()
                process.join()
        if todo:
            seed = todo.pop(0)
            fault = None if _library_fails(name, seed) else f"the process {ended}"
            yield seed, Outcome(done="see the seed", kind="refused", fault=fault)


def _library_fails(name: str, seed: int) -> bool:
    """Return whether the format's own library, without our reader, crashes or hangs on a mutation as well."""
    process = multiprocessing.get_context("spawn").Process(target=_read_by_library, args=(name, seed))
    process.start()
    process.join(_LIBRARY_S)
    if failed := process.exitcode != 0:
        process.kill()
        process.join()
    return failed


def _read_by_library(name: str, seed: int):
    with tempfile.TemporaryDirectory(prefix="mutations_", dir=_FOLDER) as folder:
        read_mutation(load(name), name, seed, Path(folder))


def _answers(pipe: Any, process: int) -> bool:
    """Wait for the next answer of a worker, and return False if it hangs, however busy the machine is."""
    begun, cpu = time.monotonic(), _cpu_seconds(process)
    while not pipe.poll(_POLL_S):
        if _cpu_seconds(process) - cpu > _HANGS_CPU_S or time.monotonic() - begun > _HANGS_S:
            return False
    return True


def _cpu_seconds(process: int) -> float:
    """Return the processor time that a process of Linux has used."""
    user, system = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _serve(pipe: Any, name: str, seeds: list[int], folder: str):
    """Send the outcome of each seed.

    The limit of memory is above what the libraries take when they are imported.
    """
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 2)  # the libraries in C print to it what they find
    trace = open(Path(folder, "trace"), "w")  # noqa: SIM115  open for the life of the process
    faulthandler.enable(trace)
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    load(name)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY, resource.RLIM_INFINITY))
    for result in run_here(name, seeds, Path(folder)):
        pipe.send(result)
    pipe.close()


def main():
    """Run mutations from the command line: `python -m tests.sources.mutations.worker FORMAT FIRST COUNT`.

    The seeds FIRST to FIRST + COUNT - 1 are a shard, so that a long run can be divided and continued. Faults are
    printed when they are found, and the numbers of outcomes every hundred mutations.
    """
    import collections
    import sys

    name, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    kinds = collections.Counter()
    for number, (seed, outcome) in enumerate(run_apart(name, range(first, first + count)), 1):
        kinds["fault" if outcome.fault else outcome.kind] += 1
        if outcome.fault:
            print(f"{name} {seed}: {outcome.done}\n    {outcome.fault}", flush=True)
        if number % 100 == 0 or number == count:
            print(f"{name} {first} to {seed}: {number} mutations, {dict(kinds)}", flush=True)


if __name__ == "__main__":
    main()
