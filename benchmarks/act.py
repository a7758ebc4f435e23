"""Benchmark of `act`: milliseconds of a step with a nearly full context, beside the bandwidth limit and PyTorch.

    python -m benchmarks.act --torch_python=VENV/bin/python     # on this machine's CPU
    python -m benchmarks.act --device=gpu                       # on one GPU
    python -m benchmarks.act --tiny                             # all cases of a GPU at a tiny size, anywhere

A step has 39 observation tokens and 7 action tokens, or 16 image patches and 1 action token, and a separator. It is
measured from the tokens of the observation on the host to the ids of the action on the host, device time included. The
limit is the time of reading weights and cache as often as the network is run, at the bandwidth of reading the weights
that is measured in the same process.

The peer is a transformer of the same shape in transformers, with a static cache (benchmarks/torch_act.py), eager and
compiled; the faster one counts. For the step with patches it embeds tokens in their place. Each measurement runs in a
process of its own with a time limit. The cases of one step and batch size are measured in turn, a few steps in each of
several rounds, so that ratios hold on a machine that others use too. The file of results is written after each one.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import pathlib
import re
import statistics
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.act_cases import CPU, GPU, STEPS, Case, shape, tiny
from benchmarks.case_record import PYTORCH, CaseRecord
from benchmarks.measuring_process import MeasurementError, MeasuringProcess, prepare_all
from benchmarks.record import write_result


def main(argv: Sequence[str] | None = None) -> int:
    """Measure every group of cases, write the results and return 1 if any case failed."""
    given = arguments(argv)
    cases = [case for case in make_cases(given) if re.search(given.only, case.name)]
    if not cases:
        raise SystemExit(f"--only is {given.only}, expected a part of a case's name. Leave it out to measure all.")
    record = Record(given)
    for _, group in itertools.groupby(cases, lambda case: case.group):
        processes = make_processes(list(group), given)
        prepare_all(processes, given.parallel, given.limit)
        for _ in range(given.rounds):
            for process in processes:
                try:
                    record.add(process, process.measure(given.limit))
                except MeasurementError as error:
                    record.fail(process.name, str(error))
        for process in processes:
            process.stop()
    record.print_summary()
    return 1 if record.failed else 0


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu", help="Device to measure on.")
    parser.add_argument("--tiny", action="store_true", help="Measure the cases of a GPU at a tiny size, on a CPU.")
    parser.add_argument("--only", default="", help="Regular expression for the names of cases to measure.")
    parser.add_argument("--torch_python", help="Python interpreter of an environment with torch and transformers.")
    parser.add_argument("--steps", type=int, help="Number of steps in each round. Default: 40, 8 on a CPU.")
    parser.add_argument("--rounds", type=int, default=5, help="Number of times to measure each case.")
    parser.add_argument("--parallel", type=int, default=2, help="Number of processes that compile at once.")
    parser.add_argument("--limit", type=float, default=240, help="Seconds to prepare a case, and of each measurement.")
    parser.add_argument("--output", type=pathlib.Path, help="File of the results. Default: one in benchmarks/results.")
    given = parser.parse_args(argv)
    given.steps = given.steps or (40 if given.device == "gpu" else 8)
    if given.tiny and given.output is None:
        given.output = pathlib.Path(tempfile.gettempdir()) / "act_tiny.json"
    return given


def make_cases(given: argparse.Namespace) -> list[Case]:
    """Return the cases of the device, those of one group one after the other."""
    if given.tiny:
        cases = list({case.name: case for case in map(tiny, GPU)}.values())
    else:
        cases = CPU if given.device == "cpu" else GPU
    return sorted(cases, key=lambda case: [other.group for other in cases].index(case.group))


def make_processes(cases: Sequence[Case], given: argparse.Namespace) -> list[MeasuringProcess]:
    """Return the processes of one group of cases, and those of PyTorch."""
    on_gpu = given.device == "gpu" and not given.tiny
    environment = {"JAX_PLATFORMS": "cuda" if on_gpu else "cpu", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    processes = []
    for case in cases:
        command = [sys.executable, "-m", "benchmarks.act_worker", f"--case={json.dumps(dataclasses.asdict(case))}"]
        flags = " ".join(filter(None, [os.environ.get("XLA_FLAGS", ""), case.xla_flags]))
        processes.append(
            MeasuringProcess(case.name, [*command, f"--steps={given.steps}"], environment | {"XLA_FLAGS": flags})
        )
    if given.torch_python:
        case, step = cases[0], STEPS[cases[0].step]
        settings = {
            **shape(case.model), "vocabulary": 33_152, "context": case.context, "batch": case.batch,
            "observed": step.observed, "actions": step.actions, "threads": len(os.sched_getaffinity(0)),
            "steps": given.steps, "dtype": case.dtype, "device": "cuda" if on_gpu else "cpu",
        }  # fmt: skip
        command = [
            given.torch_python,
            "benchmarks/torch_act.py",
            *(f"--{key}={value}" for key, value in settings.items()),
        ]
        for kind, flags in (("eager", []), ("compiled", ["--compile"]))[: 1 if given.tiny else 2]:
            processes.append(MeasuringProcess(f"{PYTORCH}{case.group}, {kind}", [*command, *flags]))
    return processes


class Record(CaseRecord):
    """Results of all cases; PyTorch is compared with the cases of the same model, step and batch size."""

    def add(self, process: MeasuringProcess, result: dict[str, Any]):
        """Add a measurement of a case, print it and write the file."""
        case = self._entry(process)
        seconds = result.pop("seconds")
        case["rounds"].append({"median": statistics.median(seconds), "seconds": seconds, **result})
        everything = [second for each in case["rounds"] for second in each["seconds"]]
        case["milliseconds"] = {
            "median": 1e3 * statistics.median(everything), "p99": 1e3 * float(np.percentile(everything, 99)),
            "steps": len(everything),
        }  # fmt: skip
        self.write()
        limit = f", bandwidth limit {1e3 * result['bandwidth_limit_seconds']:.2f} ms" if len(result) else ""
        print(f"{process.name:70} {1e3 * case['rounds'][-1]['median']:>9.2f} ms a step{limit}", flush=True)

    def write(self) -> pathlib.Path:
        """Write the file of results and return its path."""
        measured = {"ratios_to_pytorch": self.ratios(), "failed": self.failed, "cases": self._cases}
        name = f"act_{self._given.device}"
        packages = ["jax", "jaxlib", "flax"]
        return write_result(name, measured, packages, module="act", path=self._given.output, announce=False)

    def _group(self, name: str, case: dict[str, Any]) -> str:
        return ", ".join(name.split(", ")[:2])  # model and step, batch size

    def _speeds(self, case: dict[str, Any]) -> list[float]:
        return [1 / each["median"] for each in case["rounds"]]


if __name__ == "__main__":
    sys.exit(main())
