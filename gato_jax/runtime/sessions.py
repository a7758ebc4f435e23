"""The record of the processes that made a run: when, with which command, software and devices each of them worked.

WORKDIR/sessions.jsonl    one line of JSON for each process, in the order of their starts
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import shlex
import subprocess
from collections.abc import Sequence
from typing import Any

from gato_jax.runtime.appended_files import AppendedFile

FILE = "sessions.jsonl"
_PACKAGES = ("gato_jax", "jax", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


def record_session(workdir: pathlib.Path, argv: Sequence[str], devices: str):
    """Add a line on this process to the sessions of a run.

    Args:
      workdir: folder of the run.
      argv: the words of the command line; the first may be the program with its verb, "gato train".
      devices: the line of `describe_devices`, such as "devices: 8 x TPU v5e (tpu)".
    """
    file = AppendedFile(workdir / FILE)
    try:
        file.write(json.dumps(describe_session(argv, devices)).encode() + b"\n")
    finally:
        file.close()


def describe_session(argv: Sequence[str], devices: str) -> dict[str, Any]:
    """Return facts about this process as JSON, for the arguments of `record_session`.

    These are `started` (UTC, ISO 8601), `command`, `machine`, `devices`, `commit`, see `commit`, and `versions`,
    {package: version}.
    """
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": shlex.join([*argv[0].split(), *argv[1:]]),
        "machine": machine(),
        "devices": devices.removeprefix("devices: "),
        "commit": commit(),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Return {package: version} of Python and of the installed packages that decide what training computes."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # a package that is not there decides nothing
    return found


def commit() -> str | None:
    """Return the commit of the source of gato_jax, with " with changes" if tracked files were changed since.

    The result is None if the source is not a checkout of git, as for an installed package.
    """
    folder = pathlib.Path(__file__).parents[1]
    try:
        # The repository around an environment may be another project's, which does not track this file.
        _git(folder, "ls-files", "--error-unmatch", "__init__.py")
        changes = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".")
        return _git(folder, "rev-parse", "HEAD")[:12] + (" with changes" if changes else "")
    except (OSError, subprocess.SubprocessError):
        return None


def machine() -> str:
    """Return the processor's model, the number of cores and the operating system, in one line."""
    cpu = pathlib.Path("/proc/cpuinfo")
    lines = cpu.read_text().split("\n") if cpu.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, {platform.system()}"


def _git(folder: pathlib.Path, *words: str) -> str:
    command = ["git", "-C", os.fspath(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
