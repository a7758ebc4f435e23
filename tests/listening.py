"""Processes that SIGINT ends, even where these tests run in the background.

A shell has its background jobs ignore SIGINT, and the processes that they start inherit that.
"""

import sys

_LISTEN = """import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"""


def listening(*arguments: object) -> list[str]:
    """Return the command of a Python process with these arguments that does not ignore SIGINT."""
    return [sys.executable, "-c", _LISTEN, *map(str, arguments)]
