"""The part of a worker process in an orderly end: it leaves signals to its parent, and never outlives it."""

from __future__ import annotations

import functools
import multiprocessing
import multiprocessing.connection
import os
import select
import signal
import threading
import time

_GRACE_SECONDS = 1.0  # between a SIGTERM to a whole process group and the end of its workers
_POLL_SECONDS = 1.0  # where the system cannot tell when a process ends


def begin_worker(parent: int | None = None):
    """Prepare a worker process, in its main thread, as its first statement.

    From then on the worker ends when its parent ends in any way, also in the middle of its work. Ctrl-C reaches its
    parent too, which decides. So does a SIGTERM to the process group, after which the worker goes on for a second, so
    that its parent does not take its end for a failure.

    Args:
      parent: id of the process to end with. Default: the process that started this one by `multiprocessing`.

    Raises:
      RuntimeError: `parent` is None and `multiprocessing` did not start this process.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_soon)
    if parent is None:
        started_by = multiprocessing.parent_process()
        if started_by is None:
            raise RuntimeError("begin_worker: this process has no parent in multiprocessing. Pass the parent's id.")
        wait = functools.partial(multiprocessing.connection.wait, [started_by.sentinel])
    else:
        wait = functools.partial(wait_for_end, parent)

    def end_with_parent():
        wait()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True, name="parent watch").start()


def wait_for_end(process: int, seconds: float | None = None) -> bool:
    """Wait until a process has ended, which need not be a child of this one, and return whether it has.

    Args:
      process: id of the process.
      seconds: time after which to return in any case; None for no limit.
    """
    try:
        handle = os.pidfd_open(process)
    except ProcessLookupError:
        return True
    except (AttributeError, OSError):  # an old kernel, or not Linux
        deadline = time.monotonic() + (float("inf") if seconds is None else seconds)
        while (alive := _is_alive(process)) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        return not alive
    try:
        ended = select.poll()
        ended.register(handle, select.POLLIN)
        return bool(ended.poll(None if seconds is None else seconds * 1000))
    finally:
        os.close(handle)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _end_soon(number: int, frame: object):
    signal.signal(number, signal.SIG_IGN)
    end = threading.Timer(_GRACE_SECONDS, os._exit, (128 + number,))
    end.daemon = True  # a worker that is done does not wait for it
    end.start()
