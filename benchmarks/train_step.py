"""Benchmark of the whole training step in tokens per second, beside PyTorch with the same shape in the same run.

    python -m benchmarks.train_step --torch_python=VENV/bin/python               # on this machine's CPU
    python -m benchmarks.train_step --torch_python=VENV/bin/python --isa=AVX2    # as on a CPU without AVX-512
    python -m benchmarks.train_step --device=gpu --profile=/tmp/profiles         # on one GPU, within eight minutes
    python -m benchmarks.train_step --device=gpu --tiny                          # the same at a tiny size, anywhere

The step is the one that `gato train` runs (forward pass, backward pass, AdamW), on random tokens. Each measurement runs
in a process of its own with a time limit of its own. All of them compile first, several at a time. Then they measure
one after the other, and in each round ours alternate with PyTorch's, so that ratios hold on a machine that others use
too. Each result is printed and the file of results written as soon as there is one.

--isa limits the loops that XLA generates, and PyTorch's. XLA's library of matrix products chooses instructions by the
CPU alone, so products keep all of them; where AVX-512 is two halves of 256 bits, they are as fast either way.

FLOPs are counted by PaLM's convention, 6 N + 12 L D T per token (arXiv 2204.02311), with all parameters counted once.
They are compared with the peak of the chip, or on a CPU with a large matrix product of NumPy. Profiles are written raw;
`python -m benchmarks.read_profile FOLDER` reads them.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.case_record import PYTORCH, CaseRecord
from benchmarks.measuring_process import MeasurementError, MeasuringProcess, prepare_all
from benchmarks.record import write_result
from benchmarks.train_step_cases import CPU, GPU, SMALL, TORCH, Case, tiny
from gato_jax.model.sizes import SIZES
from gato_jax.runtime.host_memory import HUGE_PAGES, huge_pages_are_useful

PEAK = {"NVIDIA H100": 989e12, "NVIDIA H200": 989e12, "NVIDIA A100": 312e12}  # dense bfloat16, from the data sheets
DEVICE = "limits of the device"
_PACKAGES = ["jax", "jaxlib", "flax", "optax"]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure every case on one device, PyTorch beside it, write the results and return 1 if any case failed."""
    given = arguments(argv)
    started = time.monotonic()
    processes = make_processes(given)
    if not processes:
        raise SystemExit(f"--only is {given.only}, expected a part of a case's name. Leave it out to measure all.")
    # On a GPU, PyTorch allocates while it prepares, so it starts when ours have ended.
    later = [p for p in processes if given.device == "gpu" and not given.tiny and p.name.startswith(PYTORCH)]
    ours = [process for process in processes if process not in later]
    record = Record(given)
    prepare_all(ours, given.parallel, given.prepare_limit)
    for process in ours:
        print(f"{process.name:60} {_preparation(process)}", flush=True)
    _measure(ours, record, given, started)
    for process in later:
        process.prepare(min(given.prepare_limit, given.budget - (time.monotonic() - started)))
        _measure([process], record, given, started)
    record.print_summary()
    return 1 if record.failed else 0


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu", help="Device to measure on.")
    parser.add_argument("--tiny", action="store_true", help="Measure the cases at a tiny size, on any device.")
    parser.add_argument("--only", default="", help="Regular expression for the names of cases to measure.")
    parser.add_argument("--torch_python", help="Python interpreter of an environment with torch and transformers.")
    parser.add_argument("--isa", choices=("AVX2",), help="Instructions that a CPU may use. Default: all it has.")
    parser.add_argument("--steps", type=int, default=5, help="Number of steps to measure.")
    parser.add_argument("--rounds", type=int, help="Number of times to measure everything. Default: 3, 1 on a GPU.")
    parser.add_argument(
        "--parallel", type=int, default=os.cpu_count(), help="Number of processes that compile at once."
    )
    parser.add_argument("--prepare_limit", type=float, default=270, help="Seconds in which a process must be ready.")
    parser.add_argument("--limit", type=float, help="Seconds of a measurement. Default: 45 on a GPU, 300 on a CPU.")
    parser.add_argument(
        "--budget", type=float, help="Seconds of the whole run. Default: 480 on a GPU, one day on a CPU."
    )
    parser.add_argument("--profile", help="Folder for raw profiles of two more steps of each case. Default: none.")
    parser.add_argument("--output", type=pathlib.Path, help="File of the results. Default: one in benchmarks/results.")
    given = parser.parse_args(argv)
    on_gpu = given.device == "gpu"
    given.rounds = given.rounds or (1 if on_gpu else 3)
    given.limit = given.limit or (45.0 if on_gpu else 300.0)
    given.budget = given.budget or (480.0 if on_gpu else 86_400.0)
    if given.tiny and given.output is None:
        given.output = pathlib.Path(tempfile.gettempdir()) / "train_step_tiny.json"
    return given


def make_processes(given: argparse.Namespace) -> list[MeasuringProcess]:
    """Return the processes of all measurements, in the order in which they measure."""
    cases = CPU if given.device == "cpu" else GPU
    if given.tiny:
        cases = list({case.name: case for case in map(tiny, cases)}.values())
    environment = {"JAX_PLATFORMS": "cuda" if given.device == "gpu" and not given.tiny else "cpu"}
    environment |= HUGE_PAGES if huge_pages_are_useful(environment["JAX_PLATFORMS"]) else {}  # as `gato train` does
    environment |= {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}  # the processes share the memory of a GPU
    worker = [sys.executable, "-m", "benchmarks.train_step_worker"]
    processes, models = [], set()
    if given.device == "gpu":
        processes.append(MeasuringProcess(DEVICE, [*worker, "--case=device"], environment))
    for case in cases:
        command = [*worker, f"--case={json.dumps(dataclasses.asdict(case))}", f"--steps={given.steps}"]
        command += [f"--profile={given.profile}"] if given.profile else []
        processes.append(MeasuringProcess(case.name, command, environment | _xla_flags(case, given.isa)))
        if given.torch_python and case.model not in models:
            models.add(case.model)
            processes += _torch_processes(case, given)
    return [process for process in processes if re.search(given.only, process.name)]


def _xla_flags(case: Case, isa: str | None) -> dict[str, str]:
    flags = [os.environ.get("XLA_FLAGS", ""), case.xla_flags, f"--xla_cpu_max_isa={isa}" if isa else ""]
    limits = {"ONEDNN_MAX_CPU_ISA": isa} if isa else {}
    return {"XLA_FLAGS": " ".join(filter(None, flags)), **limits}


def _torch_processes(case: Case, given: argparse.Namespace) -> list[MeasuringProcess]:
    shape = dict(SMALL[case.model] if case.model in SMALL else SIZES[case.model])
    shape.pop("patch_channels", None)
    settings = {
        **shape, "vocabulary": 33_152, "context": case.context, "steps": given.steps, "warmup": 2, "position": "rope",
        "dtype": case.compute.get("dtype", "float32"), "device": "cpu" if given.tiny else given.device,
    }  # fmt: skip
    flags = [f"--{name}={'cuda' if value == 'gpu' else value}" for name, value in settings.items()]
    flags += [f"--isa={given.isa}"] if given.isa else []
    processes = []
    for batch, compiled in TORCH["tiny" if given.tiny else given.device][case.model]:
        command = [given.torch_python, "benchmarks/torch_train_step.py", "--wait", f"--batch={batch}", *flags]
        name = f"{PYTORCH}{case.model}, {'compiled' if compiled else 'eager'}, {batch} x {case.context}"
        environment = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"} if given.isa else {}
        environment |= HUGE_PAGES if huge_pages_are_useful(given.device) else {}  # its fastest options, too
        command.append("--compile" if compiled else "--no-compile")
        processes.append(MeasuringProcess(name, command, environment))
    return processes


def _preparation(process: MeasuringProcess) -> str:
    if process.ready is None:
        return f"failed: {process.failure}"
    if "compile_seconds" not in process.ready:
        return "ready"
    return f"traced in {process.ready['trace_seconds']} s, compiled in {process.ready['compile_seconds']} s"


def _measure(processes: Sequence[MeasuringProcess], record: Record, given: argparse.Namespace, started: float):
    """Measure all processes in each round, within the time limits, and end each after the last round."""
    for round_ in range(given.rounds):
        for process in processes:
            left = given.budget - (time.monotonic() - started)
            try:
                if left <= 0:
                    raise MeasurementError(f"{process.name}: the budget of {given.budget:.0f} s is spent")
                record.add(process, process.measure(min(given.limit, left)))
            except MeasurementError as error:
                record.fail(process.name, str(error))
            if round_ == given.rounds - 1:
                process.stop()


class Record(CaseRecord):
    """Results of all cases; PyTorch is compared with the cases of the same model."""

    def __init__(self, given: argparse.Namespace):
        super().__init__(given)
        self._peak = matrix_product() if given.device == "cpu" or given.tiny else None

    def add(self, process: MeasuringProcess, result: dict[str, Any]):
        """Add a measurement of a case, print it and write the file."""
        case = self._entry(process)
        case["rounds"].append(result)
        if "tokens_per_second" in result:
            peak = self._peak or PEAK[case["device"][:11]]
            case["tokens_per_second"] = max(each["tokens_per_second"] for each in case["rounds"])
            case["share_of_peak"] = round(case["tokens_per_second"] * case["flops_per_token"] / peak, 3)
        self.write()
        print(_line(process.name, result, case.get("share_of_peak")), flush=True)

    def write(self) -> pathlib.Path:
        """Write the file of results and return its path."""
        measured = {
            "convention": "6 N + 12 L D T", "peak_flops_per_second": self._peak, "isa": self._given.isa,
            "xla_flags": os.environ.get("XLA_FLAGS"), "ratios_to_pytorch": self.ratios(), "failed": self.failed,
            "cases": self._cases,
        }  # fmt: skip
        name = f"train_step_{self._given.device}" + (f"_{self._given.isa.lower()}" if self._given.isa else "")
        return write_result(name, measured, _PACKAGES, module="train_step", path=self._given.output, announce=False)

    def _group(self, name: str, case: dict[str, Any]) -> str:
        return case.get("model") or name.partition(",")[0]

    def _speeds(self, case: dict[str, Any]) -> list[float]:
        return [result["tokens_per_second"] for result in case["rounds"] if "tokens_per_second" in result]


def _line(name: str, result: dict[str, Any], share: float | None) -> str:
    if "tokens_per_second" not in result:
        return f"{name:60} {json.dumps(result)}"
    milliseconds = 1e3 * result["seconds_per_step"]
    return f"{name:60} {result['tokens_per_second']:>10,.0f} tokens/s {milliseconds:>8,.0f} ms a step, {share:.1%}"


def matrix_product(side: int = 3000) -> float:
    """Return the FLOPs per second of NumPy's product of two large float32 matrices, the best of five."""
    a = np.random.default_rng(0).random((side, side), np.float32)
    product = np.empty_like(a)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        np.matmul(a, a, out=product)
        seconds.append(time.perf_counter() - started)
    return 2 * side**3 / min(seconds)


if __name__ == "__main__":
    sys.exit(main())
