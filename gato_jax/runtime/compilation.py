"""Compilation of programs: JAX's cache on the disk, and messages that say how long a compilation took last time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import pathlib
import platform
import time
from collections.abc import Iterator
from typing import Any

from gato_jax.runtime.atomic_writes import atomic_file
from gato_jax.runtime.paths import CACHE_VARIABLE, BucketError, cache_folder, is_bucket

CACHE = "JAX_COMPILATION_CACHE_DIR"

_SWITCH = "JAX_ENABLE_COMPILATION_CACHE"  # JAX's own
_LARGEST = 4 * 2**30  # bytes of the cache, beyond which JAX removes the programs that were used longest ago
_REMEMBERED = 200  # programs whose duration is kept
_log = logging.getLogger(__name__)


def enable_cache():
    """Turn on JAX's cache of compiled programs, in a folder of the user for machines of this kind.

    JAX_COMPILATION_CACHE_DIR names another folder, JAX_ENABLE_COMPILATION_CACHE=false turns the cache off. Call it
    before JAX is imported.
    """
    if CACHE in os.environ or is_bucket(os.environ.get(CACHE_VARIABLE, "")):
        return
    os.environ[CACHE] = str(cache_folder() / "compiled" / _machine())
    os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(_LARGEST))


@contextlib.contextmanager
def announced_compilation(program: str, identity: Any) -> Iterator[None]:
    """Log that a program is compiled in this block, with the seconds it took last time, and then how long it took.

    Args:
      program: Name of the program, such as `training step`.
      identity: JSON of all that the duration depends on: config, shapes, devices. Values that are not JSON count by
        their `repr`.
    """
    text = json.dumps([program, identity], sort_keys=True, default=repr)
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    last = _durations().get(key)
    usual = "it may take minutes" if last is None else f"it took {last:.0f} s last time"
    _log.info("compiling the %s; %s", program, usual)
    started = time.monotonic()
    yield
    seconds = time.monotonic() - started
    _log.info("compiled the %s in %.0f s", program, seconds)
    _remember(key, seconds)


def _file() -> pathlib.Path:
    return cache_folder() / "compile_seconds.json"


def _durations() -> dict[str, float]:
    """Return {key of a program: seconds}, the program that was compiled last at the end; {} without a valid file."""
    try:
        durations = json.loads(_file().read_text())
    except (OSError, ValueError):
        return {}
    return durations if isinstance(durations, dict) else {}


def _remember(key: str, seconds: float):
    """Write the duration of one program; do nothing where the cache cannot be written, since it only serves a message.

    Of two processes that write at the same time, one is forgotten.
    """
    durations = {name: value for name, value in _durations().items() if name != key} | {key: round(seconds, 1)}
    with contextlib.suppress(OSError, BucketError), atomic_file(_file(), shared=True) as partial:
        partial.write_text(json.dumps(dict(list(durations.items())[-_REMEMBERED:])))


def _machine() -> str:
    """Return a name for machines that run the same programs: the architecture, with a hash of the CPU's features.

    A program that was compiled for the CPU of another machine may use instructions that this one lacks.
    """
    flags = ""
    with contextlib.suppress(OSError):
        lines = pathlib.Path("/proc/cpuinfo").read_text().split("\n")
        flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return f"{platform.machine()}-{hashlib.sha256(flags.encode()).hexdigest()[:8]}"
