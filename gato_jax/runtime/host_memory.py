"""Huge pages for the memory of a process that computes on the CPU.

XLA allocates the temporaries of a program anew for each call, hundreds of megabytes in a training step, and the kernel
maps them page by page when they are written. With pages of 2 MiB instead of 4 KiB these page faults nearly vanish, and
so do most misses of the table of page addresses. The C library asks for such pages if GLIBC_TUNABLES says so when a
process starts.
"""

from __future__ import annotations

import os
import pathlib
import platform
import sys
from collections.abc import Callable
from typing import Any

from gato_jax.runtime.devices import PLATFORMS

VARIABLE = "GLIBC_TUNABLES"
HUGE_PAGES = {VARIABLE: "glibc.malloc.hugetlb=1"}  # environment of a process that is to have them

_MODE = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")
_OLDEST = (2, 35)  # glibc


def huge_pages_are_useful(platforms: str) -> bool:
    """Return whether a process on these platforms of JAX computes on a CPU alone that gives huge pages to who asks.

    A value of GLIBC_TUNABLES that is set, an empty one included, is the user's own, and the answer is no.
    """
    if platforms != "cpu" or VARIABLE in os.environ:
        return False
    library, version = platform.libc_ver()
    if library != "glibc" or tuple(int(part) for part in version.split(".")[:2]) < _OLDEST:
        return False
    return _MODE.is_file() and "[madvise]" in _MODE.read_text()


def restart_with_huge_pages(execute: Callable[..., Any] = os.execv):
    """Replace this process by the same command with huge pages if they are useful on JAX_PLATFORMS; otherwise return.

    Call it before anything is opened or printed. The process keeps its number. One that was forked and runs other words
    than those it was started with is left as it is.

    Args:
      execute: function of the path of a program and of its words that replaces the process.
    """
    words = sys.argv[1:]
    started_with_words = sys.orig_argv[len(sys.orig_argv) - len(words) :] == words
    if started_with_words and huge_pages_are_useful(os.environ.get(PLATFORMS, "")):
        os.environ.update(HUGE_PAGES)
        execute(sys.executable, [sys.executable, *sys.orig_argv[1:]])
