"""The identity of a process that writes a folder, as a lock file names it: host, process, start and command."""

from __future__ import annotations

import datetime
import json
import os
import pathlib
import socket
import sys
from collections.abc import Mapping
from typing import Any, TypedDict, cast

_BOOT_ID = pathlib.Path("/proc/sys/kernel/random/boot_id")


class Writer(TypedDict):
    """The description of a writer in JSON.

    Attributes:
      host: name of the machine.
      process: id of the process.
      started: time at which it began to write, ISO 8601.
      command: words of its command line.
      birth: boot of the machine and time since then at which the process began, which tells it from a later process of
        the same id; empty where the system does not say.
    """

    host: str
    process: int
    started: str
    command: list[str]
    birth: str


def this_writer() -> Writer:
    """Return the description of this process as a writer that begins now."""
    return Writer(
        host=socket.gethostname(),
        process=os.getpid(),
        started=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        command=sys.argv or [""],
        birth=_birth(os.getpid()),
    )


def read_writer(path: pathlib.Path) -> Writer | None:
    """Return the writer that a file names; None if the file is missing or not complete yet."""
    try:
        writer = json.loads(path.read_text())
        complete = Writer.__annotations__.keys() <= writer.keys() and len(writer["command"]) > 0
    except (OSError, ValueError, AttributeError, TypeError):
        return None
    return cast(Writer, writer) if complete else None


def has_ended(writer: Mapping[str, Any]) -> bool:
    """Return whether a writer has certainly ended; False for one on another machine, which cannot be seen from here.

    `writer` is a description that may lack any field.
    """
    process = writer.get("process")
    if writer.get("host") != socket.gethostname() or not isinstance(process, int):
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # it runs, under another user
        pass
    return bool(writer.get("birth")) and writer.get("birth") != _birth(process)


def _birth(process: int) -> str:
    """Return the boot of the machine and the clock ticks since then at which a process began; empty if not known."""
    try:
        after_name = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return f"{_BOOT_ID.read_text().strip()} {after_name[19]}"
    except (OSError, IndexError):
        return ""
