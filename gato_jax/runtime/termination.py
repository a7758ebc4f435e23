"""An end of a command by an exception on SIGINT (Ctrl-C) or SIGTERM, so that what it has opened is closed and removed.

    with terminable():
        run_the_command()

No exception is raised within an import: a library may swallow it there, and the process crashes if C++ code is being
loaded. It is raised when the import is done. A command that can go on later uses `interruption` instead.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

from gato_jax.runtime.interruption import REPEAT_SECONDS, SIGNALS

_POLL_SECONDS = 0.02


class Terminated(KeyboardInterrupt):
    """A SIGTERM that ends a block in the same way as Ctrl-C, by an exception."""


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Let SIGINT raise KeyboardInterrupt and SIGTERM raise Terminated during the block, but not within an import.

    A second signal, a second or more after the first one, ends the process within an import, too. The handlers from
    before are set again after the block. Nothing changes in a thread other than the main one, and for a signal that is
    ignored.
    """
    numbers = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    if threading.current_thread() is not threading.main_thread() or not numbers:
        yield
        return
    handler = _Handler(imports=_count_imports(sys._getframe()))
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
        handler.raise_deferred()
    finally:
        handler.close()
        for number, earlier in before.items():
            signal.signal(number, earlier)


class _Handler:
    """Handler of signals that raises an exception now, or as soon as the import that is under way is done.

    Args:
      imports: number of imports, one within the other, that are under way around the block.
    """

    def __init__(self, *, imports: int):
        self._imports = imports
        self._deferred: int | None = None  # the number of the signal
        self._since = 0.0
        self._sent = threading.Event()  # the next signal is that of the thread, not another one of the user
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def __call__(self, number: int, frame: FrameType | None):
        again, _ = not self._sent.is_set(), self._sent.clear()
        if _count_imports(frame) <= self._imports:
            self._deferred = number
            self.raise_deferred()
        if self._deferred is None:
            self._deferred, self._since = number, time.monotonic()
        elif again and time.monotonic() - self._since >= REPEAT_SECONDS:
            os._exit(128 + number)
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._send_after_import, daemon=True, name="deferred signal")
            self._thread.start()

    def raise_deferred(self):
        """Raise the exception of a signal that came within an import and has not been raised yet, if there is one."""
        number, self._deferred = self._deferred, None
        if number is not None:
            raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    def close(self):
        """End the thread, so that it sends no signal to the handlers from before."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def _send_after_import(self):
        """Send the deferred signal to this process when the main thread is in no import any more."""
        main = threading.main_thread().ident
        while not self._closed.wait(_POLL_SECONDS):
            number = self._deferred
            if number is None:
                return
            if _count_imports(sys._current_frames().get(main or 0)) <= self._imports:
                self._sent.set()
                os.kill(os.getpid(), number)
                return


def _count_imports(frame: FrameType | None) -> int:
    """Return the number of imports, one within the other, that a frame is called from."""
    count = 0
    while frame is not None:
        count += frame.f_code.co_name == "_find_and_load" and frame.f_globals.get("__name__") == "importlib._bootstrap"
        frame = frame.f_back
    return count
