"""An orderly end of a long job on SIGINT (Ctrl-C) or SIGTERM (a scheduler's request to end).

    with interruptible("Run the same command again to go on.") as interruption:
        while not interruption.requested:
            one_step()
        with interruption.at_once():
            compile_for_minutes()

A signal asks the job to end at its next safe point. Within `at_once`, where nothing can be lost, it ends the process
without waiting, even while the main thread is in C++ code. A second signal, a second or more after the first one, ends
it without waiting anywhere. (GNU `timeout` and batch systems send each signal twice: to the process and to its group.)
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator

GO_ON = "Run the same command again to go on."  # the farewell of a job that is resumable
SIGNALS = (signal.SIGINT, signal.SIGTERM)
REPEAT_SECONDS = 1.0  # signals within this time of the first one are taken for the same request
_FLUSH_SECONDS = 1.0


class Interruption:
    """The state of the request to end a job.

    Attributes:
      requested: name of the signal that asked the job to end, e.g. `SIGTERM`; None while none did.
      farewell: how to go on, which is printed if a signal ends the process at once. The job may change it as it goes.
      resumable: whether the same command goes on with the job. If not, an end at once has the status of a signal.
    """

    def __init__(self, farewell: str, *, resumable: bool = True):
        self.requested: str | None = None
        self.farewell, self.resumable = farewell, resumable
        self._number, self._since = 0, 0.0
        self._at_once = 0  # the number of blocks around the present statement that may end at once
        self._work: str | None = None  # the work of the present block that is finished first
        self._lock = threading.Lock()

    def request(self, number: int):
        """Ask the job to end as a signal does; end the process if it may end at once or was asked before."""
        with self._lock:
            if self.requested is None:
                self.requested, self._number, self._since = signal.Signals(number).name, number, time.monotonic()
            elif time.monotonic() - self._since >= REPEAT_SECONDS:
                self._exit(128 + number)
            if self._at_once:
                self._exit(self._status)
            self._say_delay()

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Let a signal end the process at once during the block, because the block has nothing to lose.

        The exit status is 0 if the job is resumable, and otherwise 128 plus the number of the signal, as the shell has
        it. A signal that came before the block ends the process when the block begins.
        """
        with self._lock:
            if self.requested:
                self._exit(self._status)
            self._at_once += 1
        try:
            yield
        finally:
            with self._lock:
                self._at_once -= 1

    @contextlib.contextmanager
    def after(self, work: str) -> Iterator[None]:
        """Say, if a signal asks the job to end during the block or before it, that the block is finished first.

        Args:
          work: the work of the block, such as `the evaluation of step 100`.
        """
        with self._lock:
            self._work = work
            self._say_delay()
        try:
            yield
        finally:
            with self._lock:
                self._work = None

    def _say_delay(self):
        if self.requested and self._work:
            print(
                f"\n{self.requested}: {self._work} is finished first. A second signal ends the process at once.",
                file=sys.stderr, flush=True,
            )  # fmt: skip

    @property
    def _status(self) -> int:
        return 0 if self.resumable else 128 + self._number

    def _exit(self, status: int):
        _flush_stdout()
        print(f"\n{self.requested}: ended at once. {self.farewell}", file=sys.stderr, flush=True)
        os._exit(status)  # no other end is possible from a thread while the main thread is in C++ code


@contextlib.contextmanager
def interruptible(farewell: str, *, resumable: bool = True) -> Iterator[Interruption]:
    """Turn SIGINT and SIGTERM into requests to end during the block, and yield the Interruption that they change.

    The handlers from before are set again after the block. In a thread other than the main one, which cannot set
    handlers, and where a signal is ignored (as SIGINT under nohup), the signals keep their meaning.

    Args:
      farewell: how to go on, in one or two sentences, which is printed if a signal ends the process at once.
      resumable: whether the same command goes on with the job, see `Interruption`.
    """
    interruption = Interruption(farewell, resumable=resumable)
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    numbers = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    # Python runs handlers between two bytecodes of the main thread. The number of a signal is written to the socket
    # before that, in C, so the thread below sees it even while the main thread compiles.
    listener = threading.Thread(target=_listen, args=(reader, interruption), daemon=True, name="signals")
    listener.start()
    handlers = {number: signal.signal(number, _leave_to_listener) for number in numbers}
    wakeup = signal.set_wakeup_fd(writer.fileno())
    try:
        yield interruption
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        writer.close()  # ends the listener
        listener.join()
        reader.close()


def _leave_to_listener(number: int, frame: object):
    pass


def _listen(reader: socket.socket, interruption: Interruption):
    """Pass on the signals whose numbers arrive, one byte each, until the other end of the socket is closed."""
    while numbers := reader.recv(64):
        for number in numbers:
            if number in SIGNALS:
                interruption.request(number)


def _flush_stdout():
    """Write what was printed, unless the main thread holds stdout, e.g. because nobody reads a pipe any more."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        flushing = threading.Thread(target=sys.stdout.flush, daemon=True)
        flushing.start()
        flushing.join(_FLUSH_SECONDS)
