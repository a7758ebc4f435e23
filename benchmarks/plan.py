"""Benchmark of `gato plan` for the 1.18B model with batch size 512, on TPU pods that are not attached.

    python -m benchmarks.plan

The result holds the duration of each plan and what it found. The first topology is the paper's own pod, which must
compile in two minutes on two cores. Each plan runs in a process of its own.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import tempfile
import time

from benchmarks.record import write_result

TOPOLOGIES = {"v3:16x16": 16, "v4:8x8x4": 4, "v5e:16x16": 16, "v5p:4x4x8": 4, "v6e:16x16": 16}  # {topology: mesh.fsdp}
CONFIG = "configs/gato_1_18b.py"
REPORTED = ("fits", "hbm_bytes_per_device", "hbm_limit", "compile_seconds", "days", "tokens_per_second_at_mfu")


def main():
    """Run `gato plan` for every topology, one after the other, and write the results."""
    plans = {}
    with tempfile.TemporaryDirectory() as folder:
        for topology, fsdp in TOPOLOGIES.items():
            path = pathlib.Path(folder) / f"{topology}.json"
            command = [sys.executable, "-m", "gato_jax.cli", "plan", f"--config={CONFIG}", f"--topology={topology}"]
            started = time.perf_counter()
            subprocess.run([*command, f"--config.mesh.fsdp={fsdp}", f"--json={path}"], check=True)
            seconds = round(time.perf_counter() - started, 1)
            found = json.loads(path.read_text())
            plans[topology] = {"fsdp": fsdp, "command_seconds": seconds, **{name: found[name] for name in REPORTED}}
    write_result("plan", {"config": CONFIG, "plans": plans}, ["jax", "jaxlib", "libtpu"])


if __name__ == "__main__":
    main()
