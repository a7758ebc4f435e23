"""Mutations in a process of their own, which may crash, hang or ask for all memory without harm to the tests."""

from __future__ import annotations

import faulthandler
import importlib
import multiprocessing
import os
import resource
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.sources.mutations.harness import Format, Outcome, try_mutation, write_original

# Format: module that defines it in its FORMATS.
MODULES = {
    **dict.fromkeys(("robomimic", "aloha", "hdf5_flat"), "hdf5_formats"),
    **dict.fromkeys(("parquet", "parquet_rows"), "parquet_formats"),
    **dict.fromkeys(
        ("lerobot_v2_image", "lerobot_v2_video", "lerobot_v3_image", "lerobot_v3_video"), "lerobot_formats"
    ),
    "mcap": "mcap_formats",
    **dict.fromkeys(("minari_hdf5", "minari_arrow"), "minari_formats"),
    **dict.fromkeys(("rlds_array_record", "rlds_tfrecord"), "rlds_formats"),
    **dict.fromkeys(("documents", "dialogue"), "text_formats"),
    **dict.fromkeys(("imagefolder", "coco", "webdataset", "vqa"), "image_formats"),
}
_START_S, _LIMIT_S, _MEMORY = 900, 300, 6 << 30


def load(name: str) -> Format:
    """Return a format by its name."""
    return importlib.import_module(f"tests.sources.mutations.{MODULES[name]}").FORMATS[name]


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
        with tempfile.TemporaryDirectory(prefix="mutations_") as folder:
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(there, name, todo, folder))
            process.start()
            there.close()
            ended = "hangs"
            try:
                if not here.poll(_START_S):
                    raise TimeoutError(f"{name}: the worker did not begin within {_START_S} s")
                here.recv()
                while todo and here.poll(_LIMIT_S):
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
            fault = f"the process {ended}"
            yield todo.pop(0), Outcome(done="see the seed", kind="refused", fault=fault)


def _serve(pipe: Any, name: str, seeds: list[int], folder: str):
    """Send a word when all is imported, then the outcome of each seed.

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
    pipe.send("ready")
    for result in run_here(name, seeds, Path(folder)):
        pipe.send(result)
    pipe.close()


def main():
    """Run mutations from the command line: `python -m tests.sources.mutations.worker FORMAT FIRST COUNT`."""
    import collections
    import sys

    name, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    kinds = collections.Counter()
    for seed, outcome in run_apart(name, range(first, first + count)):
        kinds[outcome.kind] += 1
        if outcome.fault:
            kinds["FAULT"] += 1
            print(f"{name} {seed}: {outcome.done}\n    {outcome.fault}", flush=True)
    print(name, dict(kinds), flush=True)


if __name__ == "__main__":
    main()
