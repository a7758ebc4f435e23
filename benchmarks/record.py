"""How a benchmark's result is written down: with the machine, the versions and the command that made it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import pathlib
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

RESULTS = pathlib.Path(__file__).parent / "results"


def write_result(name: str, measured: Mapping[str, Any], packages: Sequence[str]) -> pathlib.Path:
    """Writes results/NAME.json and says where it lies."""
    path = RESULTS / f"{name}.json"
    about = {
        "command": shlex.join(["python", "-m", f"benchmarks.{name}", *sys.argv[1:]]),
        "machine": machine(),
        "versions": {"python": platform.python_version()} | {p: importlib.metadata.version(p) for p in packages},
    }
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**about, **measured}, indent=2) + "\n")
    print(f"results in {path}")
    return path


def machine() -> str:
    """Processor, cores, system."""
    cpu = pathlib.Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, {platform.system()}"
