"""Errors of orbax and tensorstore, as one clause each, and without the tracebacks that orbax logs beside them."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from collections.abc import Iterator

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DISK_ERRORS = (*_NO_SPACE, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
_NOISY_LOGGERS = ("absl", "asyncio")


@contextlib.contextmanager
def without_logging() -> Iterator[None]:
    """Silence orbax during the block.

    It logs the tracebacks of errors that it also raises, and the content of damaged files that it does not need.
    """
    levels = {name: logging.getLogger(name).level for name in _NOISY_LOGGERS}
    for name in levels:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def disk_problem(error: Exception) -> str:
    """Return a clause with its remedy about a failure to write, of which tensorstore tells in hundreds of letters."""
    named = (code for code in _DISK_ERRORS if os.strerror(code) in str(error))
    code = error.errno if isinstance(error, OSError) else next(named, None)
    remedy = "free space and run again" if code in _NO_SPACE else "make it writable and run again"
    return f"{os.strerror(code) if code in _DISK_ERRORS else first_line(error)}; {remedy}"


def first_line(error: Exception) -> str:
    """Return the first line of the message of an error, or the name of its class if it has none."""
    return str(error).partition("\n")[0] if str(error) else type(error).__name__
