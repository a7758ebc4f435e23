"""Writer of benchmark results, with the machine, the package versions and the command that produced them."""

from __future__ import annotations

import importlib.metadata
import json
import pathlib
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from gato_jax.runtime.sessions import machine

RESULTS = pathlib.Path(__file__).parent / "results"


def write_result(name: str, measured: Mapping[str, Any], packages: Sequence[str]) -> pathlib.Path:
    """Write results/NAME.json, print its path and return it.

    Args:
      name: name of the benchmark's module.
      measured: the measurements.
      packages: pip packages whose versions are written beside them.
    """
    path = RESULTS / f"{name}.json"
    origin = {
        "command": shlex.join(["python", "-m", f"benchmarks.{name}", *sys.argv[1:]]),
        "machine": machine(),
        "versions": {"python": platform.python_version()} | {p: importlib.metadata.version(p) for p in packages},
    }
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**origin, **measured}, indent=2) + "\n")
    print(f"results in {path}")
    return path
