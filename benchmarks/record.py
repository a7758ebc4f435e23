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


def write_result(
    name: str,
    measured: Mapping[str, Any],
    packages: Sequence[str],
    *,
    module: str | None = None,
    path: pathlib.Path | None = None,
    announce: bool = True,
) -> pathlib.Path:
    """Write the file of results, print its path and return it. A run that is cut off leaves a whole file.

    Args:
      name: name of the file of results, without its ending.
      measured: the measurements.
      packages: pip packages whose versions are written beside them.
      module: name of the benchmark's module. Default: `name`.
      path: the file. Default: results/NAME.json.
      announce: whether to print the path.
    """
    path = path or RESULTS / f"{name}.json"
    origin = {
        "command": shlex.join(["python", "-m", f"benchmarks.{module or name}", *sys.argv[1:]]),
        "machine": machine(),
        "versions": {"python": platform.python_version()} | {p: importlib.metadata.version(p) for p in packages},
    }
    path.parent.mkdir(exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({**origin, **measured}, indent=2) + "\n")
    partial.replace(path)
    if announce:
        print(f"results in {path}")
    return path
